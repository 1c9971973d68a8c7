//! Sparse matrices along one dimension of row-major memory: what resampling, padding and sums over windows are.

use super::dispatch::{tier, tiered};
use super::element::Element;
use super::gemm::Float;
use super::parallel;
use crate::memory::scratch;

/// A sparse matrix by rows.
#[derive(Clone, Debug)]
pub struct Matrix {
    columns: usize,
    /// Where the entries of each row start, and where the last end.
    starts: Vec<usize>,
    /// Their columns.
    places: Vec<usize>,
    weights: Vec<f64>,
}

impl Matrix {
    /// A matrix with so many columns and these rows of columns and weights.
    ///
    /// # Panics
    /// For an entry beyond the columns: the kernels rely on it that there is none.
    pub fn new<R: IntoIterator<Item = (usize, f64)>>(columns: usize, rows: impl IntoIterator<Item = R>) -> Matrix {
        let mut matrix = Matrix { columns, starts: vec![0], places: vec![], weights: vec![] };
        for row in rows {
            for (place, weight) in row {
                assert!(place < columns);
                matrix.places.push(place);
                matrix.weights.push(weight);
            }
            matrix.starts.push(matrix.places.len());
        }
        matrix
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows become columns; the entries of a row keep the order of those they came from.
    pub fn transposed(&self) -> Matrix {
        let mut starts = scratch(0, self.columns + 1);
        self.places.iter().for_each(|&p| starts[p + 1] += 1);
        (0..self.columns).for_each(|c| starts[c + 1] += starts[c]);
        let mut next = starts.clone();
        let mut turned = Matrix {
            columns: self.rows(),
            places: scratch(0, self.places.len()),
            weights: scratch(0.0, self.places.len()),
            starts,
        };
        for row in 0..self.rows() {
            for entry in self.starts[row]..self.starts[row + 1] {
                let at = next[self.places[entry]];
                next[self.places[entry]] += 1;
                (turned.places[at], turned.weights[at]) = (row, self.weights[entry]);
            }
        }
        turned
    }

    /// True where every row is one element, unchanged, or nothing.
    pub fn picks(&self) -> bool {
        self.starts.windows(2).all(|s| s[1] - s[0] <= 1) && self.weights.iter().all(|&w| w == 1.0)
    }

    /// True where every row is the element of its number.
    pub fn is_identity(&self) -> bool {
        self.rows() == self.columns && self.picks() && self.places.iter().copied().eq(0..self.columns)
    }
}

/// Elements that a piece of work has.
const GRAIN: usize = 1 << 14;

/// Runs `body(outer, row, target)` for every row of results of `inner` elements each.
fn each_row<T: Send + Sync>(rows: usize, inner: usize, y: &mut [T], body: impl Fn(usize, usize, &mut [T]) + Sync) {
    if y.is_empty() {
        return;
    }
    parallel::for_each_slice(y, (GRAIN / inner + 1) * inner, |start, piece| {
        for (n, row) in piece.chunks_exact_mut(inner).enumerate() {
            let number = start / inner + n;
            body(number / rows, number % rows, row);
        }
    });
}

/// The rows of a matrix of [`Matrix::picks`] of the middle dimension of `x`, whose last has `inner` elements; zero where a
/// row is nothing.
pub fn pick<T: Element>(matrix: &Matrix, x: &[T], y: &mut [T], inner: usize) {
    let (rows, columns) = (matrix.rows(), matrix.columns);
    if inner == 1 && !y.is_empty() {
        let is_each = matrix.places.len() == rows && matrix.starts.windows(2).all(|s| s[1] - s[0] == 1);
        return each_row(1, rows, y, |outer, _, line| {
            let x = &x[outer * columns..(outer + 1) * columns];
            if is_each {
                // SAFETY: places are below the number of columns.
                let at = |&place: &usize| unsafe { *x.get_unchecked(place) };
                return line.iter_mut().zip(&matrix.places).for_each(|(to, place)| *to = at(place));
            }
            for (row, to) in line.iter_mut().enumerate() {
                let (start, end) = (matrix.starts[row], matrix.starts[row + 1]);
                *to = if start < end { x[matrix.places[start]] } else { T::from_i64(0) };
            }
        });
    }
    each_row(rows, inner, y, |outer, row, to| {
        if matrix.starts[row] == matrix.starts[row + 1] {
            return to.fill(T::from_i64(0));
        }
        let from = (outer * columns + matrix.places[matrix.starts[row]]) * inner;
        to.copy_from_slice(&x[from..from + inner]);
    });
}

/// `y[o][r][i] = sum over c of matrix[r][c] x[o][c][i]`, `i` below `inner`.
pub fn mix<T: Float + Element>(matrix: &Matrix, x: &[T], y: &mut [T], inner: usize) {
    let weights: Vec<T> = matrix.weights.iter().map(|&w| T::from_f64(w)).collect();
    let (rows, columns) = (matrix.rows(), matrix.columns);
    let entries = |row: usize| matrix.starts[row]..matrix.starts[row + 1];
    if inner == 1 && !y.is_empty() {
        let kernel = lines::<T>(tier());
        return parallel::for_each_slice(y, (GRAIN / rows + 1) * rows, |start, piece| {
            let first = start / rows * columns;
            // SAFETY: `x` has `columns` elements for every `rows` of `y`.
            unsafe { kernel(matrix, &weights, &x[first..first + piece.len() / rows * columns], piece) };
        });
    }
    let kernel = add::<T>(tier());
    each_row(rows, inner, y, |outer, row, to| {
        if entries(row).is_empty() {
            to.fill(T::ZERO);
        }
        for (n, entry) in entries(row).enumerate() {
            let from = (outer * columns + matrix.places[entry]) * inner;
            // SAFETY: both have as many elements.
            unsafe { kernel(weights[entry], &x[from..from + inner], to, n == 0) };
        }
    });
}

/// `y[o][r][i] = sum over c of matrix[r][c] x[o][c][i]` of bytes, `i` below `inner`, rounded to bytes: the weights count whole
/// parts of a power of two, the greatest that 16 bits hold them with.
pub fn mix_bytes(matrix: &Matrix, x: &[u8], y: &mut [u8], inner: usize) {
    let greatest = matrix.weights.iter().copied().fold(0.0, f64::max);
    let is_held = |bits: &u32| (0.5 + greatest * f64::from(1u32 << (bits + 1))) as i64 >= 1 << 15;
    let bits = (0..22).find(is_held).unwrap_or(22);
    let weights: Vec<i64> = matrix.weights.iter().map(|w| (w * f64::from(1u32 << bits)).round() as i64).collect();
    let (rows, columns) = (matrix.rows(), matrix.columns);
    each_row(rows, inner, y, |outer, row, to| {
        for (i, to) in to.iter_mut().enumerate() {
            let entries = matrix.starts[row]..matrix.starts[row + 1];
            let term = |e: usize| weights[e] * i64::from(x[(outer * columns + matrix.places[e]) * inner + i]);
            let sum: i64 = entries.map(term).sum();
            *to = ((sum + (1 << bits >> 1)) >> bits).clamp(0, 255) as u8;
        }
    });
}

tiered! {
    fn lines<T: Float>(matrix: &Matrix, weights: &[T], x: &[T], y: &mut [T]) = all_lines::<T>;
}

/// Lines that are mixed together: a sum waits for the term before, but not for those of other lines.
const MANY: usize = 8;

/// # Safety
/// `x` has as many elements for each column of the matrix as `y` for each row.
#[inline(always)]
unsafe fn all_lines<T: Float>(matrix: &Matrix, weights: &[T], x: &[T], y: &mut [T]) {
    let (rows, columns) = (matrix.rows(), matrix.columns);
    let whole = y.len() / rows / MANY * MANY;
    let (many, single) = y.split_at_mut(whole * rows);
    for (n, y) in many.chunks_exact_mut(MANY * rows).enumerate() {
        // SAFETY: the caller's.
        unsafe { some_lines::<T, MANY>(matrix, weights, &x[n * MANY * columns..], y) };
    }
    for (n, y) in single.chunks_exact_mut(rows).enumerate() {
        // SAFETY: the caller's.
        unsafe { some_lines::<T, 1>(matrix, weights, &x[(whole + n) * columns..], y) };
    }
}

/// # Safety
/// `x` has `N` lines of as many elements as the matrix has columns, and `y` of as many as it has rows.
#[inline(always)]
unsafe fn some_lines<T: Float, const N: usize>(matrix: &Matrix, weights: &[T], x: &[T], y: &mut [T]) {
    let (rows, columns) = (matrix.rows(), matrix.columns);
    for row in 0..rows {
        let mut sums = [T::ZERO; N];
        let entries = matrix.starts[row]..matrix.starts[row + 1];
        for (&weight, &place) in weights[entries.clone()].iter().zip(&matrix.places[entries]) {
            for (n, sum) in sums.iter_mut().enumerate() {
                // SAFETY: places are below the number of columns, and the caller's lines.
                *sum = unsafe { x.get_unchecked(n * columns + place) }.mul_add(weight, *sum);
            }
        }
        (0..N).for_each(|n| y[n * rows + row] = sums[n]);
    }
}

tiered! {
    fn add<T: Float>(weight: T, x: &[T], y: &mut [T], is_first: bool) = added::<T>;
}

/// # Safety
/// None of its own: it is called through a pointer to the code for an instruction set, which the processor must have.
#[inline(always)]
unsafe fn added<T: Float>(weight: T, x: &[T], y: &mut [T], is_first: bool) {
    if is_first {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.mul_add(weight, T::ZERO));
    } else {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.mul_add(weight, *y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Matrix {
        Matrix::new(3, [vec![(0, 0.5), (2, 2.0)], vec![], vec![(1, 1.0)], vec![(2, -1.0)]])
    }

    #[test]
    fn a_matrix_and_its_transpose() {
        let x = [1.0f64, 10.0, 100.0];
        let mut y = [7.0; 4];
        mix(&example(), &x, &mut y, 1);
        assert_eq!(y, [200.5, 0.0, 10.0, -100.0]);
        let mut back = [0.0; 3];
        mix(&example().transposed(), &[1.0, 2.0, 3.0, 4.0], &mut back, 1);
        assert_eq!(back, [0.5, 3.0, -2.0]);
        let mut wide = [0.0; 16];
        mix(&example(), &[1.0, 2.0, 10.0, 20.0, 100.0, 200.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], &mut wide, 2);
        assert_eq!(wide[..8], [200.5, 401.0, 0.0, 0.0, 10.0, 20.0, -100.0, -200.0]);
        assert_eq!(wide[8..], [2.5, 2.5, 0.0, 0.0, 1.0, 1.0, -1.0, -1.0]);
    }

    #[test]
    fn bytes_are_rounded() {
        let matrix = Matrix::new(2, [vec![(0, 0.5), (1, 0.5)], vec![(0, 1.5), (1, -0.5)]]);
        let mut y = [0; 4];
        mix_bytes(&matrix, &[10, 21, 200, 0], &mut y, 1);
        assert_eq!(y, [16, 5, 100, 255]);
        mix_bytes(&matrix, &[10, 21, 200, 0], &mut y, 2);
        assert_eq!(y, [105, 11, 0, 32]);
    }

    #[test]
    fn picked_elements() {
        let matrix = Matrix::new(3, [vec![(2, 1.0)], vec![], vec![(0, 1.0)]]);
        assert!(matrix.picks() && !matrix.is_identity() && !example().picks());
        assert!(Matrix::new(2, [vec![(0, 1.0)], vec![(1, 1.0)]]).is_identity());
        let mut y = [9u8; 6];
        pick(&matrix, &[1, 2, 3, 4, 5, 6], &mut y, 1);
        assert_eq!(y, [3, 0, 1, 6, 0, 4]);
        pick(&matrix, &[1, 2, 3, 4, 5, 6], &mut y, 2);
        assert_eq!(y, [5, 6, 0, 0, 1, 2]);
    }
}
