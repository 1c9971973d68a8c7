//! What the machine can do at most, as JSON: bytes a copy reads and writes in a second, and float32 operations of fused
//! multiply-adds in registers, on one core and on all: `cargo bench --bench peak`.

#![allow(missing_docs, reason = "a program")]

use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// Independent sums, enough to hide what a multiply-add takes.
const SUMS: usize = 10;
/// Rounds between two looks at the clock.
const ROUNDS: usize = 200_000;
/// Bytes of a copy: beyond every cache.
const BYTES: usize = 128 << 20;

/// Multiply-adds of `SUMS` vectors of `N` lanes; gives the operations done.
#[inline(always)]
fn multiply_adds<const N: usize>() -> f64 {
    let (factor, mut sums) = (black_box([0.999f32; N]), [[1.0f32; N]; SUMS]);
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            for (s, f) in sum.iter_mut().zip(factor) {
                *s = s.mul_add(f, f);
            }
        }
    }
    black_box(sums);
    (2 * N * SUMS * ROUNDS) as f64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512() -> f64 {
    multiply_adds::<16>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2() -> f64 {
    multiply_adds::<8>()
}

/// With the widest vectors there are.
fn compute() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F.
            return unsafe { with_avx512() };
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            return unsafe { with_avx2() };
        }
    }
    multiply_adds::<4>()
}

/// The best rate of several stretches: what all threads did over the time until the last was ready. `setup` is not timed.
fn rate<S: Send>(threads: usize, setup: impl Fn() -> S + Sync, work: impl Fn(&mut S) -> f64 + Sync) -> f64 {
    let mut states: Vec<S> = (0..threads).map(|_| setup()).collect();
    let mut stretch = || {
        let begun = Instant::now();
        let done: f64 = thread::scope(|scope| {
            let workers: Vec<_> = states.iter_mut().map(|state| scope.spawn(|| work(state))).collect();
            workers.into_iter().map(|worker| worker.join().expect("a thread that ends")).sum()
        });
        done / begun.elapsed().as_secs_f64()
    };
    (0..12).map(|_| stretch()).fold(0.0, f64::max)
}

fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let rows = [1, cores].map(|threads| {
        let buffers = || (vec![1u8; BYTES / threads], vec![2u8; BYTES / threads]);
        let bytes = rate(threads, buffers, |(from, to)| {
            to.copy_from_slice(black_box(from));
            (from.len() + black_box(to).len()) as f64
        });
        let operations = rate(threads, || (), |()| compute());
        format!(r#"{{"threads": {threads}, "bytes": {bytes:.4e}, "operations": {operations:.4e}}}"#)
    });
    println!("[{}]", rows.join(", "));
}
