//! Distances between the rows of two matrices, and their gradients.

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Exponential;

/// Subtractions from which threads share the work.
const GRAIN: usize = 1 << 14;
/// Partial sums that a distance is summed in.
const LANES: usize = 16;

/// A norm of differences.
pub trait Metric<T>: 'static {
    /// What a difference adds.
    fn term(d: T, p: T) -> T;
    /// Two partial results in one.
    fn join(a: T, b: T) -> T;
    /// The distance from the sum.
    fn finish(sum: T, p: T) -> T;
    /// The derivative by a difference, where the distance is not zero.
    fn slope(d: T, distance: T, p: T) -> T;
}

/// Order 0: how many differ.
pub struct Zero;
/// Order 1.
pub struct One;
/// Order 2.
pub struct Two;
/// Order infinity.
pub struct Infinite;
/// Any other order.
pub struct Other;

#[inline(always)]
fn sign<T: Exponential>(d: T) -> T {
    if d > T::ZERO {
        T::ONE
    } else if d < T::ZERO {
        T::ZERO.minus(T::ONE)
    } else {
        d
    }
}

#[inline(always)]
fn power<T: Exponential>(x: T, p: T) -> T {
    T::from_f64(x.to_f64().powf(p.to_f64()))
}

macro_rules! metrics {
    ($($name:ident: |$d:ident, $p:ident| $term:expr, $join:expr, |$sum:ident| $finish:expr, |$distance:ident| $slope:expr;)*) => {$(
        impl<T: Exponential> Metric<T> for $name {
            #[inline(always)]
            #[allow(unused_variables, reason = "orders that are known")]
            fn term($d: T, $p: T) -> T { $term }
            #[inline(always)]
            fn join(a: T, b: T) -> T { $join(a, b) }
            #[inline(always)]
            #[allow(unused_variables, reason = "as above")]
            fn finish($sum: T, $p: T) -> T { $finish }
            #[inline(always)]
            #[allow(unused_variables, reason = "as above")]
            fn slope($d: T, $distance: T, $p: T) -> T { $slope }
        }
    )*};
}

metrics! {
    Zero: |d, p| if d == T::ZERO { T::ZERO } else { T::ONE }, T::plus, |sum| sum, |distance| T::ZERO;
    One: |d, p| d.magnitude(), T::plus, |sum| sum, |distance| sign(d);
    Two: |d, p| d.times(d), T::plus, |sum| T::from_f64(sum.to_f64().sqrt()), |distance| d.times(distance.inverse());
    Infinite: |d, p| d.magnitude(), |a: T, b: T| if a > b || a.is_nan() { a } else { b }, |sum| sum,
        |distance| if d.magnitude() == distance { sign(d) } else { T::ZERO };
    Other: |d, p| power(d.magnitude(), p), T::plus, |sum| power(sum, p.inverse()),
        |distance| if d == T::ZERO { T::ZERO } else {
            sign(d).times(power(d.magnitude().times(distance.inverse()), p.minus(T::ONE)))
        };
}

/// An element type and a metric, as tiers take one bound a parameter.
pub trait Pair: 'static {
    /// The elements.
    type T: Exponential;
    /// The metric.
    type M: Metric<Self::T>;
}
/// The pair of a type and a metric.
pub struct Of<T, M>(std::marker::PhantomData<(T, M)>);
impl<T: Exponential, M: Metric<T>> Pair for Of<T, M> {
    type T = T;
    type M = M;
}

/// # Safety
/// `a` and `b` have `n` readable elements.
#[inline(always)]
unsafe fn distance_body<K: Pair>(a: *const K::T, b: *const K::T, n: usize, p: K::T) -> K::T {
    let zero = <K::T as super::reduce::Accumulator>::ZERO;
    let mut lanes = [zero; LANES];
    let whole = n - n % LANES;
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        let mut i = 0;
        while i < whole {
            for (l, lane) in lanes.iter_mut().enumerate() {
                let d = super::reduce::Accumulator::minus(*a.add(i + l), *b.add(i + l));
                *lane = K::M::join(*lane, K::M::term(d, p));
            }
            i += LANES;
        }
        for (l, lane) in lanes.iter_mut().enumerate().take(n - whole) {
            let d = super::reduce::Accumulator::minus(*a.add(whole + l), *b.add(whole + l));
            *lane = K::M::join(*lane, K::M::term(d, p));
        }
    }
    super::reduce::halve!(lanes, LANES, K::M::join);
    K::M::finish(lanes[0], p)
}

/// `dx[i] += g slope(a[i] - b[i])`
///
/// # Safety
/// `a` and `b` have `n` readable elements, and `dx` `n` that can be read and written.
#[inline(always)]
unsafe fn gradient_body<K: Pair>(
    dx: *mut K::T,
    a: *const K::T,
    b: *const K::T,
    n: usize,
    (g, distance, p): (K::T, K::T, K::T),
) {
    use super::reduce::Accumulator;
    // SAFETY: the caller gives `n` elements of each.
    unsafe {
        for i in 0..n {
            let d = (*a.add(i)).minus(*b.add(i));
            *dx.add(i) = (*dx.add(i)).plus(g.times(K::M::slope(d, distance, p)));
        }
    }
}

tiered! { fn distance_kernel<K: Pair>(a: *const K::T, b: *const K::T, n: usize, p: K::T) -> K::T = distance_body::<K>; }
tiered! { fn gradient_kernel<K: Pair>(dx: *mut K::T, a: *const K::T, b: *const K::T, n: usize, numbers: (K::T, K::T, K::T)) = gradient_body::<K>; }

/// The rows of two matrices, of `width` elements.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    /// The first matrix.
    pub a: &'a [T],
    /// The second matrix.
    pub b: &'a [T],
    /// Elements of a row.
    pub width: usize,
    /// Rows of the second matrix.
    pub count: usize,
}

/// Writes the distance of each row of `a` from each of `b`.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn all<K: Pair>(rows: Rows<K::T>, p: f64, out: &mut [K::T]) {
    let Rows { a, b, width, count } = rows;
    assert!(b.len() == count * width && (count == 0 || out.len() / count * width == a.len()));
    let (kernel, p) = (distance_kernel::<K>(tier()), crate::kernels::element::Element::from_f64(p));
    let target = Apart(out.as_mut_ptr());
    parallel::for_each_range(out.len(), (GRAIN / width.max(1)).max(1), |start, end| {
        for n in start..end {
            // SAFETY: the rows lie in their matrices; ranges of results are disjoint.
            unsafe {
                let (a, b) = (a.as_ptr().add(n / count * width), b.as_ptr().add(n % count * width));
                *target.get().add(n) = kernel(a, b, width, p);
            }
        }
    });
}

/// Adds to `da` the gradient of the rows of `a`, from the distances and their gradients; none comes from distances of
/// zero.
///
/// # Panics
/// As [`all`].
pub fn gradient<K: Pair>(rows: Rows<K::T>, p: f64, distances: &[K::T], g: &[K::T], da: &mut [K::T]) {
    let Rows { a, b, width, count } = rows;
    assert!(b.len() == count * width && da.len() == a.len() && distances.len() == g.len());
    let (kernel, p) = (gradient_kernel::<K>(tier()), crate::kernels::element::Element::from_f64(p));
    let target = Apart(da.as_mut_ptr());
    let zero = <K::T as Default>::default();
    parallel::for_each_range(a.len() / width.max(1), (GRAIN / (width * count).max(1)).max(1), |start, end| {
        for row in start..end {
            for other in 0..count {
                let n = row * count + other;
                if distances[n] == zero {
                    continue;
                }
                // SAFETY: the rows lie in their matrices; ranges of rows are disjoint.
                unsafe {
                    let dx = target.get().add(row * width);
                    let (a, b) = (a.as_ptr().add(row * width), b.as_ptr().add(other * width));
                    kernel(dx, a, b, width, (g[n], distances[n], p));
                }
            }
        }
    });
}

/// Where the distance of two rows of a matrix is among those of all pairs, in the order of the upper triangle.
#[inline(always)]
fn place_of(i: usize, j: usize, rows: usize) -> usize {
    let (low, high) = (i.min(j), i.max(j));
    low * (2 * rows - low - 1) / 2 + high - low - 1
}

/// Writes the distances of all pairs of rows of a matrix, in the order of the upper triangle.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn pairs<K: Pair>(x: &[K::T], width: usize, rows: usize, p: f64, out: &mut [K::T]) {
    assert!(x.len() == rows * width && out.len() == rows * rows.saturating_sub(1) / 2);
    let (kernel, p) = (distance_kernel::<K>(tier()), crate::kernels::element::Element::from_f64(p));
    let target = Apart(out.as_mut_ptr());
    parallel::for_each_range(rows, (GRAIN / (width * rows).max(1)).max(1), |start, end| {
        for (i, j) in (start..end).flat_map(|i| (i + 1..rows).map(move |j| (i, j))) {
            // SAFETY: the rows lie in the matrix; pairs have places of their own.
            unsafe {
                let (a, b) = (x.as_ptr().add(i * width), x.as_ptr().add(j * width));
                *target.get().add(place_of(i, j, rows)) = kernel(a, b, width, p);
            }
        }
    });
}

/// Adds to `dx` the gradient of the rows of a matrix, from the distances of all pairs and their gradients; none comes from
/// distances of zero.
///
/// # Panics
/// As [`pairs`].
pub fn of_pairs<K: Pair>(
    (x, width, rows): (&[K::T], usize, usize),
    p: f64,
    distances: &[K::T],
    g: &[K::T],
    dx: &mut [K::T],
) {
    assert!(x.len() == rows * width && dx.len() == x.len() && distances.len() == g.len());
    assert!(g.len() == rows * rows.saturating_sub(1) / 2);
    let (kernel, p) = (gradient_kernel::<K>(tier()), crate::kernels::element::Element::from_f64(p));
    let (target, zero) = (Apart(dx.as_mut_ptr()), <K::T as Default>::default());
    parallel::for_each_range(rows, (GRAIN / (width * rows).max(1)).max(1), |start, end| {
        for i in start..end {
            for (j, n) in (0..rows).filter(|&j| j != i).map(|j| (j, place_of(i, j, rows))) {
                if distances[n] == zero {
                    continue;
                }
                // SAFETY: the rows lie in the matrix; ranges of rows are disjoint.
                unsafe {
                    let (a, b) = (x.as_ptr().add(i * width), x.as_ptr().add(j * width));
                    kernel(target.get().add(i * width), a, b, width, (g[n], distances[n], p));
                }
            }
        }
    });
}

/// Runs a block of code with a type name bound to the metric of an order.
macro_rules! metric {
    ($p:expr, $M:ident => $body:expr) => {
        match $p {
            0.0 => {
                type $M = $crate::kernels::distance::Zero;
                $body
            }
            1.0 => {
                type $M = $crate::kernels::distance::One;
                $body
            }
            2.0 => {
                type $M = $crate::kernels::distance::Two;
                $body
            }
            f64::INFINITY => {
                type $M = $crate::kernels::distance::Infinite;
                $body
            }
            _ => {
                type $M = $crate::kernels::distance::Other;
                $body
            }
        }
    };
}
pub(crate) use metric;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_those_of_the_triangle() {
        let x: Vec<f64> = (0..5 * 3).map(|i| f64::from((i * 7) % 11)).collect();
        let (mut every, mut some) = (vec![0.0; 25], vec![0.0; 10]);
        all::<Of<f64, Two>>(Rows { a: &x, b: &x, width: 3, count: 5 }, 2.0, &mut every);
        pairs::<Of<f64, Two>>(&x, 3, 5, 2.0, &mut some);
        let above: Vec<f64> = (0..25).filter(|n| n % 5 > n / 5).map(|n| every[n]).collect();
        assert_eq!(some, above);
        let (mut dx, mut expected) = (vec![0.0; 15], vec![0.0; 15]);
        of_pairs::<Of<f64, Two>>((&x, 3, 5), 2.0, &some, &[1.0; 10], &mut dx);
        gradient::<Of<f64, Two>>(Rows { a: &x, b: &x, width: 3, count: 5 }, 2.0, &every, &[1.0; 25], &mut expected);
        assert_eq!(dx, expected);
    }

    #[test]
    fn distances_of_two_rows() {
        let rows = Rows { a: &[0.0, 3.0], b: &[4.0, 0.0, 0.0, 3.0], width: 2, count: 2 };
        let mut out = [0.0; 2];
        all::<Of<f64, Two>>(rows, 2.0, &mut out);
        assert_eq!(out, [5.0, 0.0]);
        all::<Of<f64, Infinite>>(rows, f64::INFINITY, &mut out);
        assert_eq!(out, [4.0, 0.0]);
        let mut da = [0.0; 2];
        gradient::<Of<f64, Two>>(rows, 2.0, &[5.0, 0.0], &[1.0, 1.0], &mut da);
        assert!((da[0] + 0.8f64).abs() < 1e-15 && (da[1] - 0.6f64).abs() < 1e-15);
    }
}
