//! Reductions over one dimension of a row-major array seen as `[outer, length, inner]`, in an order that depends only on
//! the shape: blocks of a fixed size in lanes of a fixed number, then a tree of the blocks.

use super::dispatch::tiered;
use super::element::Element;
use super::parallel;

/// Lanes that a block is summed in, whatever the machine's vectors are.
const LANES: usize = 32;
/// Elements of a block.
const BLOCK: usize = 4096;
/// Elements from which threads share the work.
const GRAIN: usize = 1 << 15;

/// A reduction: an associative operation and its identity.
pub trait Reduction<T>: Sync {
    /// What changes nothing.
    const IDENTITY: T;
    /// Two partial results in one.
    fn combine(a: T, b: T) -> T;
}

/// Sum.
pub struct Sum;
/// Product.
pub struct Product;

macro_rules! reductions {
    ($($t:ty: $add:expr, $mul:expr, $zero:expr, $one:expr;)*) => {$(
        impl Reduction<$t> for Sum {
            const IDENTITY: $t = $zero;
            #[inline(always)]
            fn combine(a: $t, b: $t) -> $t { $add(a, b) }
        }
        impl Reduction<$t> for Product {
            const IDENTITY: $t = $one;
            #[inline(always)]
            fn combine(a: $t, b: $t) -> $t { $mul(a, b) }
        }
    )*};
}

reductions! {
    f32: |a, b| a + b, |a, b| a * b, 0.0, 1.0;
    f64: |a, b| a + b, |a, b| a * b, 0.0, 1.0;
    i64: i64::wrapping_add, i64::wrapping_mul, 0, 1;
}

/// One block: each lane takes every [`LANES`]-th element, then the lanes fold in halves.
#[inline(always)]
unsafe fn block_body<T: Element, R: Reduction<T>>(data: *const T, n: usize) -> T {
    let mut lanes = [R::IDENTITY; LANES];
    let whole = n - n % LANES;
    // SAFETY: the caller gives `n` readable elements.
    unsafe {
        let mut i = 0;
        while i < whole {
            let row = data.add(i).cast::<[T; LANES]>().read_unaligned();
            for l in 0..LANES {
                lanes[l] = R::combine(lanes[l], row[l]);
            }
            i += LANES;
        }
        for (l, lane) in lanes.iter_mut().enumerate().take(n - whole) {
            *lane = R::combine(*lane, *data.add(whole + l));
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = R::combine(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// `sums[i] = combine(sums[i], row[i])`
#[inline(always)]
unsafe fn row_body<T: Element, R: Reduction<T>>(sums: *mut T, row: *const T, n: usize) {
    // SAFETY: the caller gives `n` elements of both.
    unsafe { (0..n).for_each(|i| *sums.add(i) = R::combine(*sums.add(i), *row.add(i))) }
}

tiered! { fn block_kernel<T: Element, R: Reduction<T>>(data: *const T, n: usize) -> T = block_body::<T, R>; }
tiered! { fn row_kernel<T: Element, R: Reduction<T>>(sums: *mut T, row: *const T, n: usize) = row_body::<T, R>; }

/// Folds partial results pairwise.
fn fold<T: Element, R: Reduction<T>>(parts: &mut [T]) -> T {
    let mut n = parts.len();
    while n > 1 {
        let half = n.div_ceil(2);
        for i in 0..n / 2 {
            parts[i] = R::combine(parts[i], parts[i + half]);
        }
        n = half;
    }
    parts.first().copied().unwrap_or(R::IDENTITY)
}

/// An address shared by threads that write apart.
struct Apart<T>(*mut T);
// SAFETY: each thread writes to elements of its own.
unsafe impl<T> Sync for Apart<T> {}
impl<T> Apart<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// Reduces the middle dimension of `[outer, length, inner]` into `[outer, inner]`.
///
/// # Panics
/// Where the slices are not of those sizes.
pub fn reduce<T: Element, R: Reduction<T>>(data: &[T], out: &mut [T], outer: usize, length: usize, inner: usize) {
    assert!(data.len() == outer * length * inner && out.len() == outer * inner);
    if out.is_empty() {
        return;
    }
    if length == 0 {
        return out.fill(R::IDENTITY);
    }
    if inner == 1 { rows::<T, R>(data, out, length) } else { columns::<T, R>(data, out, outer, length, inner) }
}

/// Contiguous rows to one result each.
fn rows<T: Element, R: Reduction<T>>(data: &[T], out: &mut [T], length: usize) {
    let kernel = block_kernel::<T, R>(super::dispatch::tier());
    // SAFETY: the chunk lies in `data`.
    let block = |chunk: &[T]| unsafe { kernel(chunk.as_ptr(), chunk.len()) };
    if length <= BLOCK {
        let target = Apart(out.as_mut_ptr());
        return parallel::for_each_range(out.len(), (GRAIN / length).max(1), |start, end| {
            for (i, row) in data[start * length..end * length].chunks_exact(length).enumerate() {
                // SAFETY: ranges of rows are disjoint.
                unsafe { *target.get().add(start + i) = block(row) };
            }
        });
    }
    let mut parts = vec![R::IDENTITY; length.div_ceil(BLOCK)];
    for (row, result) in data.chunks_exact(length).zip(out) {
        let target = Apart(parts.as_mut_ptr());
        parallel::for_each_range(length.div_ceil(BLOCK), GRAIN / BLOCK, |start, end| {
            for i in start..end {
                // SAFETY: ranges of blocks are disjoint.
                unsafe { *target.get().add(i) = block(&row[i * BLOCK..length.min((i + 1) * BLOCK)]) };
            }
        });
        *result = fold::<T, R>(&mut parts);
    }
}

/// Rows of a stretch of columns, accumulated [`STRETCH`] rows at a time so that sums stay pairwise.
const STRETCH: usize = 64;

/// Columns: rows are added to each other, in stretches that then fold pairwise.
fn columns<T: Element, R: Reduction<T>>(data: &[T], out: &mut [T], outer: usize, length: usize, inner: usize) {
    let kernel = row_kernel::<T, R>(super::dispatch::tier());
    // Threads take stretches of columns, at least a cache line wide.
    let width = (GRAIN / length).clamp(16, inner.max(16)).next_multiple_of(16);
    let stretches = inner.div_ceil(width);
    let target = Apart(out.as_mut_ptr());
    let work = |o: usize, first: usize, last: usize, parts: &mut Vec<T>| {
        let n = last - first;
        let count = length.div_ceil(STRETCH);
        parts.clear();
        parts.resize(count * n, R::IDENTITY);
        for row in 0..length {
            let from = &data[(o * length + row) * inner + first..][..n];
            // SAFETY: both have `n` elements.
            unsafe { kernel(parts.as_mut_ptr().add(row / STRETCH * n), from.as_ptr(), n) };
        }
        let mut left = count;
        while left > 1 {
            let half = left.div_ceil(2);
            for i in 0..left / 2 {
                let (a, b) = parts.split_at_mut((i + half) * n);
                // SAFETY: both have `n` elements.
                unsafe { kernel(a[i * n..].as_mut_ptr(), b.as_ptr(), n) };
            }
            left = half;
        }
        // SAFETY: stretches of columns are disjoint.
        unsafe { std::ptr::copy_nonoverlapping(parts.as_ptr(), target.get().add(o * inner + first), n) };
    };
    let pieces = outer * stretches;
    let grain = (GRAIN / (length * width.min(inner))).max(1);
    parallel::for_each_range(pieces, grain, |start, end| {
        let mut parts = Vec::new();
        for piece in start..end {
            let (o, s) = (piece / stretches, piece % stretches);
            work(o, s * width, ((s + 1) * width).min(inner), &mut parts);
        }
    });
}

/// The index of the greatest element of each `[outer, length, inner]` line by `better`, the first of equals.
pub fn arg_best<T: Element>(
    data: &[T],
    indices: &mut [i64],
    length: usize,
    inner: usize,
    better: impl Fn(T, T) -> bool + Sync,
) {
    let target = Apart(indices.as_mut_ptr());
    parallel::for_each_range(indices.len(), (GRAIN / length.max(1)).max(1), |start, end| {
        for line in start..end {
            let base = line / inner * length * inner + line % inner;
            let mut best = 0;
            let mut value = data[base];
            for i in 1..length {
                let candidate = data[base + i * inner];
                if better(candidate, value) {
                    (best, value) = (i, candidate);
                }
            }
            // SAFETY: ranges of lines are disjoint.
            unsafe { *target.get().add(line) = best as i64 };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_threads() {
        let data: Vec<f32> = (0..300_000u64).map(|i| ((i * 7919) % 1000) as f32 * 0.01 - 4.0).collect();
        let run = |threads: usize, outer: usize, length: usize, inner: usize| {
            parallel::set_num_threads(threads);
            let mut out = vec![0.0; outer * inner];
            reduce::<f32, Sum>(&data[..outer * length * inner], &mut out, outer, length, inner);
            out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        for (o, l, i) in [(1, 300_000, 1), (300, 1000, 1), (1, 1000, 300), (3, 1000, 100), (7, 1, 5), (1, 7, 1)] {
            assert_eq!(run(1, o, l, i), run(4, o, l, i));
        }
        parallel::set_num_threads(2);
    }

    #[test]
    fn nothing_gives_the_identity() {
        let mut out = [5.0f64; 2];
        reduce::<f64, Product>(&[], &mut out, 1, 0, 2);
        assert_eq!(out, [1.0, 1.0]);
    }
}
