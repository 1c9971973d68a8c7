//! Matrix products of strided matrices: a field-made GEMM for floats, plain loops for integers.

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
    unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix<Self>, b: Matrix<Self>, c: *mut Self, threads: usize);
}

macro_rules! float_products {
    ($($t:ty: $f:path;)*) => {$(
        impl Product for $t {
            unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix<$t>, b: Matrix<$t>, c: *mut $t, threads: usize) {
                let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
                // SAFETY: the caller vouches for the matrices.
                unsafe {
                    $f()(
                        m, n, k, c, 1, n as isize, false,
                        a.data, a.column_stride, a.row_stride,
                        b.data, b.column_stride, b.row_stride,
                        0.0, 1.0, false, false, false, parallelism,
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
            unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix<$t>, b: Matrix<$t>, c: *mut $t, _threads: usize) {
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
    let one = |i: usize, threads: usize| {
        let (a, b, c) = sent.get();
        // SAFETY: the caller vouches for the batch.
        unsafe {
            let a = Matrix { data: a.data.offset(a_offsets[i]), ..a };
            let b = Matrix { data: b.data.offset(b_offsets[i]), ..b };
            T::multiply(m, n, k, a, b, c.add(i * m * n), threads);
        }
    };
    let work = m * n * k;
    if a_offsets.len() > 1 && work < 64 * GRAIN {
        let grain = (GRAIN / work.max(1)).max(1);
        return parallel::for_each_range(a_offsets.len(), grain, |start, end| (start..end).for_each(|i| one(i, 1)));
    }
    let threads = if work >= GRAIN { parallel::num_threads() } else { 1 };
    let all = || (0..a_offsets.len()).for_each(|i| one(i, threads));
    match if threads > 1 { parallel::pool() } else { None } {
        Some(pool) => pool.install(all),
        None => all(),
    }
}
