//! Conversions between half precision and float32 by the instructions for eight of them.

use std::arch::x86_64::{
    __m128i, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_cvtph_ps, _mm256_cvtps_ph,
    _mm256_loadu_ps, _mm256_storeu_ps,
};

/// Elements of an instruction.
const EIGHT: usize = 8;

/// Half precision as float32, side by side.
///
/// # Safety
/// The processor has these instructions; there are `n` elements to read and to write.
#[target_feature(enable = "avx,f16c")]
pub unsafe fn widen(from: *const u16, to: *mut f32, n: usize) {
    // SAFETY: the caller's.
    let eight = |from: *const u16, to: *mut f32| unsafe {
        _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(from.cast::<__m128i>())));
    };
    // SAFETY: the caller's; what is left is converted in rooms for eight.
    unsafe {
        let whole = n - n % EIGHT;
        for i in (0..whole).step_by(EIGHT) {
            eight(from.add(i), to.add(i));
        }
        if whole < n {
            let (mut some, mut wide) = ([0u16; EIGHT], [0f32; EIGHT]);
            std::ptr::copy_nonoverlapping(from.add(whole), some.as_mut_ptr(), n - whole);
            eight(some.as_ptr(), wide.as_mut_ptr());
            std::ptr::copy_nonoverlapping(wide.as_ptr(), to.add(whole), n - whole);
        }
    }
}

/// Float32 as half precision, rounded to the nearest, side by side.
///
/// # Safety
/// As [`widen`].
#[target_feature(enable = "avx,f16c")]
pub unsafe fn narrow(from: *const f32, to: *mut u16, n: usize) {
    // SAFETY: the caller's.
    let eight = |from: *const f32, to: *mut u16| unsafe {
        let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(from));
        _mm_storeu_si128(to.cast::<__m128i>(), halves);
    };
    // SAFETY: as in `widen`.
    unsafe {
        let whole = n - n % EIGHT;
        for i in (0..whole).step_by(EIGHT) {
            eight(from.add(i), to.add(i));
        }
        if whole < n {
            let (mut some, mut narrow) = ([0f32; EIGHT], [0u16; EIGHT]);
            std::ptr::copy_nonoverlapping(from.add(whole), some.as_mut_ptr(), n - whole);
            eight(some.as_ptr(), narrow.as_mut_ptr());
            std::ptr::copy_nonoverlapping(narrow.as_ptr(), to.add(whole), n - whole);
        }
    }
}
