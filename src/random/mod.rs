//! Random numbers: torch's own for the same seed.

pub mod generator;
mod state;

use parking_lot::Mutex;

pub use generator::Generator;
pub use state::STATE_BYTES;

/// torch's seed before any is given.
pub const DEFAULT_SEED: u64 = 67280421310721;

static DEFAULT: Mutex<Option<Generator>> = Mutex::new(None);

/// Runs `f` with the generator that functions draw from.
pub fn with_default<R>(f: impl FnOnce(&mut Generator) -> R) -> R {
    f(DEFAULT.lock().get_or_insert_with(|| Generator::new(DEFAULT_SEED)))
}

/// Seeds the default generator.
pub fn manual_seed(seed: u64) {
    with_default(|g| *g = Generator::new(seed));
}

/// Even numbers in `[0, 1)` from the default generator.
pub fn uniform_f32(out: &mut [f32]) {
    with_default(|g| out.iter_mut().for_each(|x| *x = g.uniform_f32()));
}

/// Even numbers in `[0, 1)` from the default generator.
pub fn uniform_f64(out: &mut [f64]) {
    with_default(|g| out.iter_mut().for_each(|x| *x = g.uniform_f64()));
}

/// Standard normal numbers from the default generator.
pub fn normal_f32(out: &mut [f32]) {
    with_default(|g| g.fill_normal_f32(out));
}

/// Standard normal numbers that become floats of 16 bits: torch draws these in blocks of 16, the last of which overlaps.
pub fn normal_narrow(out: &mut [f32]) {
    const BLOCK: usize = 16;
    let n = out.len();
    with_default(|g| {
        if n < BLOCK {
            return g.fill_normal_f32(out);
        }
        g.fill_normal_f32(&mut out[..n - n % BLOCK]);
        if !n.is_multiple_of(BLOCK) {
            g.fill_normal_f32(&mut out[n - BLOCK..]);
        }
    });
}

/// Standard normal numbers from the default generator.
pub fn normal_f64(out: &mut [f64]) {
    with_default(|g| g.fill_normal_f64(out));
}
