//! Reductions over any dimensions of strided memory, in an order that depends only on the layout: blocks of a fixed size
//! in lanes of a fixed number, then a tree of the blocks.
//!
//! Two loops do all: where the nearest elements go into one result, its elements are read in blocks; where they go into
//! results side by side, whole rows are combined. Neither copies or turns its input.

mod buffer;
mod columns;
pub mod extreme;
pub mod kinds;
mod lanes;
mod rows;
pub mod space;

pub use kinds::{Accumulator, Reduction};
pub use space::{Axes, Axis, Space};

use super::parallel::Apart;
use super::source::Source;

/// Lanes that a long row is reduced in, whatever the machine's vectors are; twice as many where numbers are small.
const LANES: usize = 32;
/// Elements that are combined pairwise before they are combined with those before: a third of the roundings that a chain
/// of as many has in one result, and none where all are equal.
const ROWS: usize = 8;
/// Elements of a block.
const BLOCK: usize = 4096;
/// Elements from which threads share the work: about 5 us of adding.
const GRAIN: usize = 1 << 15;

/// Reduces `space` of `source` into `out`. Where there is a `centre`, laid out as `out`, the reduction is given its
/// element beside each element of the source.
///
/// # Safety
/// The source is readable over the space, `out` (and `centre`) over its results, and nobody else writes them meanwhile.
pub unsafe fn reduce<R: Reduction>(
    source: Source<R::In>,
    space: &Space,
    out: *mut R::Out,
    centre: Option<*const R::Out>,
) {
    let centre = centre.map(|c| Apart(c.cast_mut()));
    if space.results() == 0 {
        return;
    }
    // SAFETY: the caller's.
    unsafe {
        if space.length() == 0 {
            for i in 0..space.results() {
                *out.offset(space::offset(&space.kept, i).1) = R::IDENTITY;
            }
        } else if space.is_by_columns() {
            columns::reduce::<R>(source, space, Apart(out), centre);
        } else {
            rows::reduce::<R>(source, space, Apart(out), centre);
        }
    }
}

/// [`ROWS`] elements pairwise.
#[inline(always)]
fn pairwise<R: Reduction>(row: impl Fn(usize) -> R::Out) -> R::Out {
    let pair = |r: usize| R::combine(row(r), row(r + 1));
    R::combine(R::combine(pair(0), pair(2)), R::combine(pair(4), pair(6)))
}

/// Combines the upper half of so many lanes with the lower half, and again, until one is left: in loops of known lengths, which
/// become a few vectors.
macro_rules! halve {
    ($lanes:ident, $width:expr, $combine:path) => { $crate::kernels::reduce::halve!($lanes, $width, $combine; 32 16 8 4 2 1) };
    ($lanes:ident, $width:expr, $combine:path; $($half:literal)*) => {$(
        if $width > $half {
            for l in 0..$half {
                $lanes[l] = $combine($lanes[l], $lanes[l + $half]);
            }
        }
    )*};
}
pub(super) use halve;

/// Folds partial results pairwise.
pub(super) fn fold<T: Copy>(parts: &mut [T], combine: impl Fn(T, T) -> T) -> Option<T> {
    let mut n = parts.len();
    while n > 1 {
        let half = n.div_ceil(2);
        for i in 0..n / 2 {
            parts[i] = combine(parts[i], parts[i + half]);
        }
        n = half;
    }
    parts.first().copied()
}

#[cfg(test)]
mod tests {
    use super::kinds::{Product, Sum};
    use super::*;
    use crate::kernels::parallel;
    use crate::tensor::dtype::DType;

    fn sum(data: &[f32], shape: &[usize], steps: &[isize], mask: &[bool]) -> Vec<f32> {
        let mut strides = vec![0; shape.len()];
        let mut total = 1;
        for d in (0..shape.len()).rev().filter(|&d| !mask[d]) {
            strides[d] = total as isize;
            total *= shape[d];
        }
        let mut out = vec![f32::NAN; total];
        let source = Source::new("sum", data.as_ptr().cast(), DType::F32).unwrap();
        let space = Space::new(shape, steps, mask, &strides);
        // SAFETY: the arrays have these shapes.
        unsafe { reduce::<Sum<f32, f32>>(source, &space, out.as_mut_ptr(), None) };
        out
    }

    /// The same sums in float64, one index after another.
    fn plain(data: &[f32], shape: &[usize], steps: &[isize], mask: &[bool]) -> Vec<f64> {
        let kept: usize = (0..shape.len()).filter(|&d| !mask[d]).map(|d| shape[d]).product();
        let mut out = vec![0.0; kept];
        for number in 0..shape.iter().product() {
            let (mut rest, mut at, mut to, mut scale) = (number, 0, 0, 1);
            for d in (0..shape.len()).rev() {
                let index = rest % shape[d];
                rest /= shape[d];
                at += index as isize * steps[d];
                if !mask[d] {
                    to += index * scale;
                    scale *= shape[d];
                }
            }
            out[to] += data[at as usize] as f64;
        }
        out
    }

    #[test]
    fn sums_are_right_and_do_not_depend_on_threads() {
        let data: Vec<f32> = (0..300_000u64).map(|i| ((i * 7919) % 1000) as f32 * 0.01 - 4.0).collect();
        let cases: [(&[usize], &[isize], &[bool]); 12] = [
            (&[300_000], &[1], &[true]),
            (&[300, 1000], &[1000, 1], &[false, true]),
            (&[3001, 99], &[99, 1], &[false, true]),
            (&[300, 1000], &[1000, 1], &[true, false]),
            (&[1000, 300], &[1, 1000], &[true, false]),
            (&[1000, 300], &[1, 1000], &[true, true]),
            (&[3, 1000, 100], &[100_000, 100, 1], &[false, true, false]),
            (&[30, 100, 100], &[10_000, 100, 1], &[true, false, true]),
            (&[75_000, 4], &[4, 1], &[true, false]),
            (&[75_000, 4], &[4, 1], &[false, true]),
            (&[500, 3], &[6, 2], &[true, false]),
            (&[7, 1, 5], &[5, 5, 1], &[false, true, false]),
        ];
        for (shape, steps, mask) in cases {
            parallel::set_num_threads(1);
            let one = sum(&data, shape, steps, mask);
            parallel::set_num_threads(4);
            let four = sum(&data, shape, steps, mask);
            assert!(one.iter().zip(&four).all(|(a, b)| a.to_bits() == b.to_bits()), "{shape:?}");
            for (found, expected) in one.iter().zip(plain(&data, shape, steps, mask)) {
                let bound = 4e-7 * expected.abs() + 1e-3;
                assert!((*found as f64 - expected).abs() < bound, "{shape:?} {found} {expected}");
            }
        }
        parallel::set_num_threads(2);
    }

    #[test]
    fn nothing_gives_the_identity() {
        let mut out = [5.0f64; 2];
        let source = Source::new("prod", [0.0f64; 0].as_ptr().cast(), DType::F64).unwrap();
        let space = Space::new(&[0, 2], &[2, 1], &[true, false], &[0, 1]);
        // SAFETY: there are two results and nothing to read.
        unsafe { reduce::<Product<f64, f64>>(source, &space, out.as_mut_ptr(), None) };
        assert_eq!(out, [1.0, 1.0]);
    }
}
