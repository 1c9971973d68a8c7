//! Cross products of vectors of three elements.

use super::gather::Walk;
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;

/// Vectors from which threads share the work.
const GRAIN: usize = 1 << 12;

/// Vectors, and where their elements lie.
#[derive(Clone, Copy)]
pub struct Vectors<'a, P> {
    /// The first element of the first.
    pub first: P,
    /// How far the elements of a vector are apart.
    pub step: isize,
    /// The strides of the vectors.
    pub strides: &'a [isize],
}

/// Writes the cross products of `a` and `b`, of vectors in a shape, into `y`.
///
/// # Safety
/// All lie under the shape; nobody else has `y`, whose elements have different addresses.
pub unsafe fn products<T: Accumulator>(
    shape: &[usize],
    a: Vectors<*const T>,
    b: Vectors<*const T>,
    y: Vectors<*mut T>,
) {
    let walk = Walk::new(shape, &[a.strides, b.strides, y.strides]);
    let (from, other, to) = (Apart(a.first.cast_mut()), Apart(b.first.cast_mut()), Apart(y.first));
    let [a_next, b_next, y_next] = [0, 1, 2].map(|operand| walk.inner_stride(operand));
    parallel::for_each_range(walk.shape.iter().product(), GRAIN, |start, end| {
        walk.each([0, 1, 2], start, end, |[a_at, b_at, y_at], n| {
            for i in 0..n as isize {
                // SAFETY: the caller vouches for the walk.
                unsafe {
                    let read = |at: *mut T, step: isize| [*at, *at.offset(step), *at.offset(2 * step)];
                    let p = read(from.get().offset(a_at + i * a_next), a.step);
                    let q = read(other.get().offset(b_at + i * b_next), b.step);
                    let to = to.get().offset(y_at + i * y_next);
                    for (n, (j, k)) in [(1, 2), (2, 0), (0, 1)].into_iter().enumerate() {
                        *to.offset(n as isize * y.step) = p[j].times(q[k]).minus(p[k].times(q[j]));
                    }
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_vectors_and_one() {
        let (a, b, mut y) = ([1.0, 0.0, 0.0, 0.0, 2.0, 1.0], [0.0, 1.0, 0.0], [0.0; 6]);
        let vectors = |first| Vectors { first, step: 1, strides: &[3] };
        // SAFETY: two vectors; the second operand is the same for both.
        unsafe {
            let y = Vectors { first: y.as_mut_ptr(), step: 1, strides: &[3] };
            products(&[2], vectors(a.as_ptr()), Vectors { strides: &[0], ..vectors(b.as_ptr()) }, y);
        }
        assert_eq!(y, [0.0, 0.0, 1.0, -1.0, 0.0, 0.0]);
    }
}
