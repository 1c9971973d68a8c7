//! The loops of functions of which few arguments need care, "far" ones: a look at the whole block comes first, and makes the
//! loop over a block without them one without branches.

use super::dispatch::tiered;
use super::element::Compute;
use super::lane::{Lane, Real};
use super::math;
use super::vector::Vector;

/// A number that has the function `F` of it and another, which may be ignored.
pub(super) trait Careful<F>: Compute {
    /// Whether the other number is not ignored.
    const OF_TWO: bool;
    /// True where the pair needs care.
    fn is_far(self, other: Self) -> bool;
    /// The function of a pair that is not far.
    fn near(self, other: Self) -> Self;
    /// The function of any pair; the same number as above where it is not far.
    fn any(self, other: Self) -> Self;
}

macro_rules! careful {
    ($($Name:ident $of_two:literal, $module:ident: |$a:ident, $b:ident| $is_far:expr, $near:expr, $any:expr;)*) => {
        $(
            pub(super) struct $Name;
            careful! { @of f32 $Name $of_two, $module: |$a, $b| $is_far, $near, $any; }
            careful! { @of f64 $Name $of_two, $module: |$a, $b| $is_far, $near, $any; }
        )*
    };
    (@of $t:ident $Name:ident $of_two:literal, $module:ident: |$a:ident, $b:ident| $is_far:expr, $near:expr, $any:expr;) => {
        #[allow(unused_variables, reason = "functions of one argument")]
        impl Careful<$Name> for $t {
            const OF_TWO: bool = $of_two;
            #[inline(always)]
            fn is_far(self, other: $t) -> bool {
                let ($a, $b) = (self, other);
                use math::$t::$module as of;
                $is_far
            }
            #[inline(always)]
            fn near(self, other: $t) -> $t {
                let ($a, $b) = (self, other);
                use math::$t::$module as of;
                $near
            }
            #[inline(always)]
            fn any(self, other: $t) -> $t {
                let ($a, $b) = (Vector([self]), Vector([other]));
                $any.0[0]
            }
        }
    };
}

careful! {
    Tangent false, trigonometric: |a, b| of::is_far(a), of::near_tangent(a), a.tan();
    Lgamma false, gamma: |a, b| of::is_far(a), of::near(a), a.lgamma();
    Fmod true, division: |a, b| of::is_far(a, b), of::near_fmod(a, b), a.fmod(b);
    Remainder true, division: |a, b| of::is_far(a, b), of::remainder_of(of::near_fmod(a, b), b), a.remainder(b);
    FloorDivide true, division: |a, b| of::is_far(a, b), of::quotient_of(of::near_fmod(a, b), a, b), a.floor_divide(b);
}

/// # Safety
/// `a`, and `b` for functions of two, have `n` readable elements, and `dst` `n` writable ones; `dst` is `a` or apart from
/// both.
#[inline(always)]
unsafe fn careful<T: Careful<F>, F>(dst: *mut T, a: *const T, b: *const T, _c: *const T, _d: *const T, n: usize) {
    let mut has_far = false;
    // An argument that is ignored need not be there.
    let b = if T::OF_TWO { b } else { a };
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        for i in 0..n {
            has_far |= Careful::<F>::is_far(*a.add(i), *b.add(i));
        }
        if has_far {
            for i in 0..n {
                dst.add(i).write(Careful::<F>::any(*a.add(i), *b.add(i)));
            }
        } else if dst.cast_const() == a {
            near::<T, F>(dst, dst, b, n)
        } else {
            near::<T, F>(dst, a, b, n)
        }
    }
}

/// The function of elements of which none is far.
///
/// # Safety
/// `a` and `b` have `n` readable elements and `dst` `n` writable ones.
#[inline(always)]
unsafe fn near<T: Careful<F>, F>(dst: *mut T, a: *const T, b: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        for i in 0..n {
            dst.add(i).write(Careful::<F>::near(*a.add(i), *b.add(i)));
        }
    }
}

tiered! { pub(super) fn careful_loop<T: Careful<F>, F: Sized>(dst: *mut T, a: *const T, b: *const T, c: *const T, d: *const T, n: usize) = careful::<T, F>; }

/// A number that has Hurwitz's zeta function.
pub(super) trait ZetaCompute: Compute<One: Real> + PartialOrd {
    /// The number as an exponent that [`Self::zeta_of`] is meant for, else 0.
    fn whole(self) -> usize;
    /// The function of that exponent and this number, which is above zero.
    fn zeta_of<const S: usize>(self) -> Self;
    /// The function of this exponent and any number.
    fn zeta(self, other: Self) -> Self;
}

macro_rules! zeta_computes {
    ($($t:ident),*) => {$(
        impl ZetaCompute for $t {
            #[inline(always)]
            fn whole(self) -> usize {
                math::$t::whole(self)
            }
            #[inline(always)]
            fn zeta_of<const S: usize>(self) -> $t {
                math::$t::zeta_of::<S>(self)
            }
            #[inline(always)]
            fn zeta(self, other: $t) -> $t {
                Vector([self]).zeta(Vector([other])).0[0]
            }
        }
    )*};
}
zeta_computes!(f32, f64);

/// Hurwitz's zeta function: without branches where the whole block has one small whole exponent, and positive numbers.
///
/// # Safety
/// `a` and `b` have `n` readable elements and `dst` `n` writable ones.
#[inline(always)]
unsafe fn zetas<T: ZetaCompute>(dst: *mut T, a: *const T, b: *const T, _c: *const T, _d: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks, which have at least one element where one is read.
    unsafe {
        let exponent = if n > 0 { *a } else { T::from_f64(0.0) };
        let mut is_quick = true;
        for i in 0..n {
            is_quick &= (*a.add(i) == exponent) & (*b.add(i) > T::from_f64(0.0));
        }
        math::for_exponent!(
            if is_quick { exponent.whole() } else { 0 },
            S => of_whole::<T, S>(dst, b, n),
            (0..n).for_each(|i| dst.add(i).write((*a.add(i)).zeta(*b.add(i))))
        )
    }
}

/// Of one whole exponent. The compiler makes no vectors where the target may be what is read.
///
/// # Safety
/// `b` has `n` readable elements and `dst` `n` writable ones; they are one block or two apart.
#[inline(always)]
unsafe fn of_whole<T: ZetaCompute, const S: usize>(dst: *mut T, b: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe { if dst.cast_const() == b { zetas_of::<T, S>(dst, dst, n) } else { zetas_of::<T, S>(dst, b, n) } }
}

/// # Safety
/// `b` has `n` readable elements and `dst` `n` writable ones.
#[inline(always)]
unsafe fn zetas_of<T: ZetaCompute, const S: usize>(dst: *mut T, b: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        for i in 0..n {
            dst.add(i).write((*b.add(i)).zeta_of::<S>());
        }
    }
}

tiered! { pub(super) fn zeta_loop<T: ZetaCompute>(dst: *mut T, a: *const T, b: *const T, c: *const T, d: *const T, n: usize) = zetas::<T>; }

#[cfg(test)]
mod tests {
    use super::super::dispatch::tier;
    use super::*;

    /// A loop over a block of quick elements, and over the same with one that is not.
    fn check(
        run: unsafe fn(*mut f32, *const f32, *const f32, *const f32, *const f32, usize),
        odd: (f32, f32),
        first: f32,
    ) {
        let a: Vec<f32> = (0..100).map(|i| if first > 0.0 { first } else { (i as f32 - 50.0) * 0.37 }).collect();
        let b: Vec<f32> = (0..100).map(|i| (i as f32 + 1.0) * 0.11).collect();
        let (mut x, mut y) = (a.clone(), b.clone());
        (x[50], y[50]) = odd;
        let (mut quick, mut slow) = ([0.0; 100], [0.0; 100]);
        // SAFETY: all blocks have 100 elements, and the tier is one that the machine has.
        unsafe {
            run(quick.as_mut_ptr(), a.as_ptr(), b.as_ptr(), b.as_ptr(), b.as_ptr(), 100);
            run(slow.as_mut_ptr(), x.as_ptr(), y.as_ptr(), y.as_ptr(), y.as_ptr(), 100);
        }
        for i in (0..100).filter(|&i| i != 50) {
            assert_eq!(quick[i].to_bits(), slow[i].to_bits(), "{} {}", a[i], b[i]);
        }
    }

    #[test]
    fn an_element_has_the_same_bits_whatever_stands_beside_it() {
        check(careful_loop::<f32, Tangent>(tier()), (1e30, 1.0), 0.0);
        check(careful_loop::<f32, Lgamma>(tier()), (-2.5, 1.0), 1.5);
        check(careful_loop::<f32, Fmod>(tier()), (1e30, 1e-3), 0.0);
        check(careful_loop::<f32, Remainder>(tier()), (1e30, 1e-3), 0.0);
        check(careful_loop::<f32, FloorDivide>(tier()), (1e30, 1e-3), 0.0);
        for exponent in [2.0, 3.0, 4.0, 5.0] {
            check(zeta_loop::<f32>(tier()), (2.5, 1.0), exponent);
        }
    }
}
