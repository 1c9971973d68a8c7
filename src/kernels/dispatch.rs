//! Which vectors this machine has, found out once.

use std::sync::OnceLock;

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// What every machine of the architecture has: on aarch64 that includes NEON.
    Baseline,
    /// AVX2 with fused multiply-add and conversions of half precision.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// The widest tier that this machine runs, or the one that `FERROGRAD_SIMD` (`baseline`, `avx2`, `avx512`) names, if
/// the machine has it.
#[inline]
pub fn tier() -> Tier {
    static TIER: OnceLock<Tier> = OnceLock::new();
    *TIER.get_or_init(|| {
        let wanted = match std::env::var("FERROGRAD_SIMD").as_deref() {
            Ok("baseline") => Tier::Baseline,
            Ok("avx2") => Tier::Avx2,
            _ => Tier::Avx512,
        };
        widest(wanted)
    })
}

/// The widest tier up to the one that is wanted.
#[cfg(target_arch = "x86_64")]
pub(super) fn widest(wanted: Tier) -> Tier {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("f16c");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match wanted {
        Tier::Avx512 if avx512 => Tier::Avx512,
        Tier::Avx512 | Tier::Avx2 if avx2 => Tier::Avx2,
        _ => Tier::Baseline,
    }
}

/// The widest tier up to the one that is wanted.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn widest(_wanted: Tier) -> Tier {
    Tier::Baseline
}

/// Compiles a generic function once for each tier: `tiered!(fn name<T: Bound>(a: A) -> R = body_function::<T>;)` makes
/// a function `name(tier)` that gives the pointer for the tier. The body must be `#[inline(always)]`.
///
/// Behind the body, `avx512 if CONDITION` leaves the widest tier to the one before it where a constant is false, and
/// `small FUNCTION` names another body for the baseline of x86-64, which few machines have to be content with: what they lack
/// of instructions is long.
macro_rules! tiered {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$($g:ident: $bound:path),* $(; const $c:ident: usize)?>($($arg:ident: $t:ty),* $(,)?) $(-> $r:ty)? = $body:expr $(, avx512 if $wide:expr)? $(, small $small:expr)?;) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name<$($g: $bound,)* $(const $c: usize)?>(tier: $crate::kernels::dispatch::Tier) -> unsafe fn($($t),*) $(-> $r)? {
            /// # Safety
            /// The processor has these instructions, and the arguments are what the body asks for.
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_unsafe, reason = "some bodies are safe")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
            unsafe fn avx512<$($g: $bound,)* $(const $c: usize)?>($($arg: $t),*) $(-> $r)? {
                // SAFETY: the caller of the returned pointer vouches for the arguments.
                unsafe { $body($($arg),*) }
            }
            /// # Safety
            /// The processor has these instructions, and the arguments are what the body asks for.
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_unsafe, reason = "as above")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
            unsafe fn avx2<$($g: $bound,)* $(const $c: usize)?>($($arg: $t),*) $(-> $r)? {
                // SAFETY: as above.
                unsafe { $body($($arg),*) }
            }
            /// # Safety
            /// The arguments are what the body asks for.
            #[allow(unused_unsafe, reason = "as above")]
            unsafe fn baseline<$($g: $bound,)* $(const $c: usize)?>($($arg: $t),*) $(-> $r)? {
                // SAFETY: as above.
                unsafe { $crate::kernels::dispatch::on_baseline!($body $(, $small)?; $($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            match tier {
                $crate::kernels::dispatch::Tier::Avx512 $(if $wide)? => avx512::<$($g,)* $($c)?>,
                $crate::kernels::dispatch::Tier::Baseline => baseline::<$($g,)* $($c)?>,
                _ => avx2::<$($g,)* $($c)?>,
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = tier;
                baseline::<$($g,)* $($c)?>
            }
        }
    };
}

/// The call of the body for the baseline.
macro_rules! on_baseline {
    ($body:expr; $($arg:ident),*) => { $body($($arg),*) };
    ($body:expr, $small:expr; $($arg:ident),*) => {
        if cfg!(target_arch = "x86_64") { $small($($arg),*) } else { $body($($arg),*) }
    };
}

pub(crate) use {on_baseline, tiered};
