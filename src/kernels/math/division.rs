//! Python's `//` and `%` of floating-point numbers, as torch defines them.

use crate::kernels::vector::Vector;

macro_rules! divisions {
    ($($t:ty, $floor_divide:ident, $remainder:ident;)*) => {$(
        /// Python's `%`.
        #[inline(always)]
        pub fn $remainder<const N: usize>(a: Vector<$t, N>, b: Vector<$t, N>) -> Vector<$t, N> {
            a.zip(b, |a, b| {
                let r = a % b;
                if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
            })
        }

        /// Python's `//`.
        #[inline(always)]
        pub fn $floor_divide<const N: usize>(a: Vector<$t, N>, b: Vector<$t, N>) -> Vector<$t, N> {
            a.zip(b, |a, b| {
                if b == 0.0 {
                    return a / b;
                }
                let r = a % b;
                let q = (a - r) / b - if r != 0.0 && (r < 0.0) != (b < 0.0) { 1.0 } else { 0.0 };
                if q == 0.0 {
                    return (0.0 as $t).copysign(a / b);
                }
                // The division may land just below the whole number it stands for.
                let whole = q.floor();
                if q - whole > 0.5 { whole + 1.0 } else { whole }
            })
        }
    )*};
}

divisions! {
    f32, floor_divide_f32, remainder_f32;
    f64, floor_divide_f64, remainder_f64;
}
