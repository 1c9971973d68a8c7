//! The element types of a product and the vectors they travel in.

use std::mem::transmute;

use super::{View, ViewMut, library, strips, tile};

/// A type whose matrices can be multiplied: `f32` and `f64` with fused multiply-add, integers wrapping.
pub trait Product: Copy + Send + Sync + 'static {
    /// A vector of 64 bytes (32 for bytes), which AVX2 and NEON cut into several registers.
    type Lanes: Copy;
    /// The number of elements in [`Self::Lanes`].
    const LANES: usize;
    /// The sum of nothing.
    const ZERO: Self;

    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The same number in every lane.
    fn splat(self) -> Self::Lanes;
    /// Lane by lane `a * b + c`, rounded once.
    fn fused(a: Self::Lanes, b: Self::Lanes, c: Self::Lanes) -> Self::Lanes;
    /// Lane by lane `a + b`.
    fn add(a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;

    /// `c = a b`, or `c += a b`, if the sizes are such that a kernel for thin products is the best; says whether.
    ///
    /// # Safety
    /// As [`super::matmul`]; no size is zero.
    unsafe fn thin(a: View<Self>, b: View<Self>, c: ViewMut<Self>, accumulate: bool, threads: usize) -> bool;

    /// `c = a b`, or `c += a b`, on one thread, by the kernel that suits large blocks.
    ///
    /// # Safety
    /// As [`super::matmul`]; `a.cols` is at least 1 and at most 512.
    unsafe fn block(a: View<Self>, b: View<Self>, c: ViewMut<Self>, accumulate: bool);
}

/// What only floats need: for them the kernels of thin products are worth their space.
pub trait Float: Product {
    /// `self * factor + term`, rounded once.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// False for infinities and NaN.
    fn is_finite(self) -> bool;
    /// Bit by bit `a & mask`.
    fn and(a: Self::Lanes, mask: Self::Lanes) -> Self::Lanes;
    /// Takes both vectors as segments of `WIDTH` lanes and adds the upper half of each to its lower half.
    fn fold<const WIDTH: usize>(a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
}

/// The vector types are the hardware's, so that the compiler keeps sums in whole registers; what is done with them is
/// written for arrays, and becomes single instructions in functions compiled for these.
#[cfg(target_arch = "x86_64")]
mod vectors {
    pub use std::arch::x86_64::{__m256i as Bytes, __m512 as Floats, __m512d as Doubles};
    pub use std::arch::x86_64::{__m512i as Ints, __m512i as Longs};
}
#[cfg(not(target_arch = "x86_64"))]
mod vectors {
    pub type Bytes = [u8; 32];
    pub type Floats = [f32; 16];
    pub type Doubles = [f64; 8];
    pub type Ints = [i32; 16];
    pub type Longs = [i64; 8];
}

macro_rules! product {
    ($($t:ty, $lanes:literal, $vector:ident: $mul_add:expr, $plus:expr, $thin:expr, $block:path $(, $float:ident)?;)*) => {$(
        const _: () = {
            type Lanes = vectors::$vector;
            type Array = [$t; $lanes];

            #[inline(always)]
            fn open(lanes: Lanes) -> Array {
                // SAFETY: both are the same bytes, and every bit pattern is a value.
                unsafe { transmute::<Lanes, Array>(lanes) }
            }

            #[inline(always)]
            fn lanes(value: impl Fn(usize) -> $t) -> Lanes {
                // SAFETY: as above.
                unsafe { transmute::<Array, Lanes>(std::array::from_fn(value)) }
            }

            impl Product for $t {
                type Lanes = Lanes;
                const LANES: usize = $lanes;
                const ZERO: Self = 0 as $t;

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    $plus(self, other)
                }

                #[inline(always)]
                fn splat(self) -> Lanes {
                    lanes(|_| self)
                }

                #[inline(always)]
                fn fused(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
                    let (a, b, c) = (open(a), open(b), open(c));
                    lanes(|i| $mul_add(a[i], b[i], c[i]))
                }

                #[inline(always)]
                fn add(a: Lanes, b: Lanes) -> Lanes {
                    let (a, b) = (open(a), open(b));
                    lanes(|i| $plus(a[i], b[i]))
                }

                unsafe fn thin(
                    a: View<Self>,
                    b: View<Self>,
                    c: ViewMut<Self>,
                    accumulate: bool,
                    threads: usize,
                ) -> bool {
                    // SAFETY: the caller's.
                    unsafe { $thin(a, b, c, accumulate, threads) }
                }

                unsafe fn block(a: View<Self>, b: View<Self>, c: ViewMut<Self>, accumulate: bool) {
                    // SAFETY: the caller's.
                    unsafe { $block(a, b, c, accumulate) }
                }
            }

            $(impl $float for $t {
                #[inline(always)]
                fn mul_add(self, factor: Self, term: Self) -> Self {
                    $mul_add(self, factor, term)
                }

                #[inline(always)]
                fn is_finite(self) -> bool {
                    <$t>::is_finite(self)
                }

                #[inline(always)]
                fn and(a: Lanes, mask: Lanes) -> Lanes {
                    let (a, mask) = (open(a), open(mask));
                    lanes(|i| <$t>::from_bits(a[i].to_bits() & mask[i].to_bits()))
                }

                #[inline(always)]
                fn fold<const WIDTH: usize>(a: Lanes, b: Lanes) -> Lanes {
                    let both = [open(a), open(b)];
                    lanes(|i| {
                        let (segment, lane) = (i / (WIDTH / 2) * WIDTH, i % (WIDTH / 2));
                        let (vector, from) = (&both[segment / $lanes], segment % $lanes + lane);
                        $plus(vector[from], vector[from + WIDTH / 2])
                    })
                }
            })?
        };
    )*};
}

/// Integers take the tiles for everything.
///
/// # Safety
/// None: nothing is read.
unsafe fn never<T>(_a: View<T>, _b: View<T>, _c: ViewMut<T>, _accumulate: bool, _threads: usize) -> bool {
    false
}

product! {
    f32, 16, Floats: f32::mul_add, |a, b| a + b, strips::product, library::f32, Float;
    f64, 8, Doubles: f64::mul_add, |a, b| a + b, strips::product, library::f64, Float;
    i64, 8, Longs: |a: i64, b, c| a.wrapping_mul(b).wrapping_add(c), i64::wrapping_add, never, tile::product;
    i32, 16, Ints: |a: i32, b, c| a.wrapping_mul(b).wrapping_add(c), i32::wrapping_add, never, tile::product;
    u8, 32, Bytes: |a: u8, b, c| a.wrapping_mul(b).wrapping_add(c), u8::wrapping_add, never, tile::product;
}
