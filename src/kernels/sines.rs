//! The loops of sine and cosine, and of both at once: what they share is most of the work. And those of the incomplete gamma
//! functions, which go by vectors too.

use super::careful::{Careful, FloorDivide, Fmod, Lgamma, Remainder, Tangent, ZetaCompute};
use super::dispatch::tiered;
use super::element::Compute;
use super::lane::{Lane, Real};
use super::math;

/// A compute type with the functions of real numbers.
pub(super) trait RealCompute:
    ZetaCompute
    + Compute<V: Real, One: Real>
    + Careful<Tangent>
    + Careful<Lgamma>
    + Careful<Fmod>
    + Careful<Remainder>
    + Careful<FloorDivide>
{
    /// The sine so many quarter turns on, of an argument that is not far.
    fn near_sine(self, turn: u32) -> Self;
}

macro_rules! real_computes {
    ($($t:ident),*) => {$(
        impl RealCompute for $t {
            #[inline(always)]
            fn near_sine(self, turn: u32) -> $t {
                math::$t::trigonometric::near_sine(self, turn)
            }
        }
    )*};
}
real_computes!(f32, f64);

/// The sine `TURN` quarter turns on. Few blocks have an argument so far from zero that it needs care: a look at all of them
/// comes first, and makes the loop one without branches. Blocks that have go by vectors.
///
/// # Safety
/// `a` has `n` readable elements and `dst` `n` writable ones; they are one block or two apart.
#[inline(always)]
unsafe fn sine<T: RealCompute, const TURN: usize>(
    dst: *mut T,
    a: *const T,
    _b: *const T,
    _c: *const T,
    _d: *const T,
    n: usize,
) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        if has_far(a, n) {
            sines::<T, TURN>(dst, a, n)
        } else if dst.cast_const() == a {
            near_sines::<T, TURN>(dst, dst, n)
        } else {
            near_sines::<T, TURN>(dst, a, n)
        }
    }
}

/// True where some element is far: an angle that needs care for the tangent does for the sine.
///
/// # Safety
/// `a` has `n` readable elements.
#[inline(always)]
unsafe fn has_far<T: RealCompute>(a: *const T, n: usize) -> bool {
    let mut has_far = false;
    for i in 0..n {
        // SAFETY: the caller vouches for the block.
        has_far |= Careful::<Tangent>::is_far(unsafe { *a.add(i) }, T::from_f64(0.0));
    }
    has_far
}

/// Sines of elements of which none is far.
///
/// # Safety
/// `a` has `n` readable elements and `dst` `n` writable ones.
#[inline(always)]
unsafe fn near_sines<T: RealCompute, const TURN: usize>(dst: *mut T, a: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        for i in 0..n {
            dst.add(i).write((*a.add(i)).near_sine(TURN as u32));
        }
    }
}

/// Sines of any elements: vectors, and then one last vector padded with zeros.
///
/// # Safety
/// `a` has `n` readable elements and `dst` `n` writable ones; they are one block or two apart.
#[inline(always)]
unsafe fn sines<T: RealCompute, const TURN: usize>(dst: *mut T, a: *const T, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        by_vectors(
            dst,
            [a],
            0.0,
            n,
            #[inline(always)]
            |[x]: [T::V; 1]| if TURN == 0 { x.sin() } else { x.cos() },
        )
    }
}

/// Writes a function of vectors, the last of which is filled up with a number. The function is to be inlined: a call would
/// leave the instruction set.
///
/// # Safety
/// `from` have `n` readable elements each and `dst` `n` writable ones; `dst` is one of these or apart from all.
#[inline(always)]
unsafe fn by_vectors<T: RealCompute, const K: usize>(
    dst: *mut T,
    from: [*const T; K],
    filler: f64,
    n: usize,
    function: impl Fn([T::V; K]) -> T::V,
) {
    for start in (0..n).step_by(T::WIDTH) {
        let length = T::WIDTH.min(n - start);
        let mut vectors = [T::V::constant(filler); K];
        // SAFETY: the caller vouches for the blocks; vectors are plain arrays of elements.
        unsafe {
            for (vector, from) in vectors.iter_mut().zip(from) {
                std::ptr::copy_nonoverlapping(from.add(start), std::ptr::from_mut(vector).cast(), length);
            }
            let result = function(vectors);
            std::ptr::copy_nonoverlapping((&raw const result).cast(), dst.add(start), length);
        }
    }
}

/// The lower incomplete gamma function, or for `UPPER` = 1 the upper one: the elements of a vector take their steps together.
///
/// # Safety
/// `a` and `b` have `n` readable elements and `dst` `n` writable ones; `dst` is one of these or apart from both.
#[inline(always)]
unsafe fn incomplete<T: RealCompute, const UPPER: usize>(
    dst: *mut T,
    a: *const T,
    b: *const T,
    _c: *const T,
    _d: *const T,
    n: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        by_vectors(
            dst,
            [a, b],
            1.0,
            n,
            #[inline(always)]
            |[x, y]: [T::V; 2]| if UPPER == 0 { x.igamma(y) } else { x.igammac(y) },
        )
    }
}

/// Sine and cosine of the same elements.
///
/// # Safety
/// `a` has `n` readable elements, and `sine` and `cosine` have `n` writable ones each, apart from each other.
#[inline(always)]
unsafe fn both<T: RealCompute>(sine: *mut T, cosine: *mut T, a: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks, which lie apart.
    unsafe {
        if has_far(a, n) {
            sines::<T, 0>(sine, a, n);
            sines::<T, 1>(cosine, a, n);
        } else {
            for i in 0..n {
                let x = *a.add(i);
                sine.add(i).write(x.near_sine(0));
                cosine.add(i).write(x.near_sine(1));
            }
        }
    }
}

tiered! { pub(super) fn sine_loop<T: RealCompute; const TURN: usize>(dst: *mut T, a: *const T, b: *const T, c: *const T, d: *const T, n: usize) = sine::<T, TURN>; }
tiered! { pub(super) fn incomplete_loop<T: RealCompute; const UPPER: usize>(dst: *mut T, a: *const T, b: *const T, c: *const T, d: *const T, n: usize) = incomplete::<T, UPPER>; }
tiered! { pub(super) fn both_loop<T: RealCompute>(sine: *mut T, cosine: *mut T, a: *const T, n: usize) = both::<T>; }
