//! Matrix products of strided matrices: a field-made GEMM for floats, plain loops for integers. Large products are cut
//! into panels of rows that threads share.

use gemm_common::Parallelism;

use super::parallel;

/// A matrix in memory: its first element and its steps.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<T> {
    /// The first element.
    pub data: *const T,
    /// Elements from one row to the next.
    pub row_stride: isize,
    /// Elements from one column to the next.
    pub column_stride: isize,
}

/// A type whose matrices can be multiplied.
pub trait Product: Copy {
    /// `c = a b` for `m x k` and `k x n` matrices; `c` is row-major.
    ///
    /// # Safety
    /// The matrices are readable, and `c` writable, under their sizes and strides.
    unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix<Self>, b: Matrix<Self>, c: *mut Self);
}

macro_rules! float_products {
    ($($t:ty: $f:path;)*) => {$(
        impl Product for $t {
            unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix<$t>, b: Matrix<$t>, c: *mut $t) {
                // SAFETY: the caller vouches for the matrices.
                unsafe {
                    $f()(
                        m, n, k, c, 1, n as isize, false,
                        a.data, a.column_stride, a.row_stride,
                        b.data, b.column_stride, b.row_stride,
                        0.0, 1.0, false, false, false, Parallelism::None,
                    );
                }
            }
        }
    )*};
}

float_products! {
    f32: gemm_f32::gemm::f32::get_gemm_fn;
    f64: gemm_f64::gemm::f64::get_gemm_fn;
}

macro_rules! integer_products {
    ($($t:ty)*) => {$(
        impl Product for $t {
            unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix<$t>, b: Matrix<$t>, c: *mut $t) {
                for i in 0..m {
                    for j in 0..n {
                        let term = |l: usize| {
                            // SAFETY: the caller vouches for the matrices.
                            unsafe {
                                let x = *a.data.offset(i as isize * a.row_stride + l as isize * a.column_stride);
                                let y = *b.data.offset(l as isize * b.row_stride + j as isize * b.column_stride);
                                x.wrapping_mul(y)
                            }
                        };
                        let sum = (0..k).map(term).fold(0, <$t>::wrapping_add);
                        // SAFETY: as above.
                        unsafe { *c.add(i * n + j) = sum };
                    }
                }
            }
        }
    )*};
}

integer_products!(u8 i32 i64);

/// Multiplications from which a second thread pays.
const GRAIN: usize = 1 << 20;
/// Rows of a panel at least, where one product is shared by threads.
const PANEL: usize = 64;
/// Panels of one product at most: each packs the right operand anew.
const PANELS: usize = 4;

/// The rows of a panel. They depend on the sizes alone, never on the number of threads, so the bits do not either.
fn panel_rows(m: usize, work: usize) -> usize {
    if work < 2 * GRAIN { m } else { m.div_ceil(PANELS).max(PANEL).next_multiple_of(16) }
}

/// A batch of products `c[i] = a[i] b[i]`, `a[i]` starting at element `a_offsets[i]`, `b[i]` likewise, `c` row-major
/// one after another.
///
/// # Safety
/// As [`Product::multiply`], for every matrix of the batch.
pub unsafe fn batched<T: Product + Send + Sync>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<T>,
    a_offsets: &[isize],
    b: Matrix<T>,
    b_offsets: &[isize],
    c: *mut T,
) {
    struct Sent<T>(Matrix<T>, Matrix<T>, *mut T);
    // SAFETY: pieces of the batch write to matrices of their own.
    unsafe impl<T> Sync for Sent<T> {}
    impl<T: Copy> Sent<T> {
        fn get(&self) -> (Matrix<T>, Matrix<T>, *mut T) {
            (self.0, self.1, self.2)
        }
    }
    if m * n == 0 {
        return;
    }
    let sent = Sent(a, b, c);
    let work = m * n * k;
    let rows = panel_rows(m, work);
    let panels = m.div_ceil(rows);
    let grain = (GRAIN / (rows * n * k).max(1)).max(1);
    parallel::for_each_range(a_offsets.len() * panels, grain, |start, end| {
        for piece in start..end {
            let (i, first) = (piece / panels, piece % panels * rows);
            let (a, b, c) = sent.get();
            // SAFETY: the caller vouches for the batch; panels are disjoint.
            unsafe {
                let a = Matrix { data: a.data.offset(a_offsets[i] + first as isize * a.row_stride), ..a };
                let b = Matrix { data: b.data.offset(b_offsets[i]), ..b };
                T::multiply(rows.min(m - first), n, k, a, b, c.add((i * m + first) * n));
            }
        }
    });
}
