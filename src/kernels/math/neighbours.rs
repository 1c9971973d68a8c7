//! Functions of the sign and the last digit of a floating-point number.

use crate::kernels::vector::Vector;

macro_rules! neighbours {
    ($($t:ident, $copysign:ident, $nextafter:ident;)*) => {$(
        /// The size of `x` with the sign of `other`.
        #[inline(always)]
        pub fn $copysign<const N: usize>(x: Vector<$t, N>, other: Vector<$t, N>) -> Vector<$t, N> {
            x.zip(other, $t::copysign)
        }

        /// The number next to `x` on the way to `other`.
        #[inline(always)]
        pub fn $nextafter<const N: usize>(x: Vector<$t, N>, other: Vector<$t, N>) -> Vector<$t, N> {
            x.zip(other, |x, to| {
                if x.is_nan() || to.is_nan() {
                    $t::NAN
                } else if x == to {
                    to
                } else if x < to {
                    x.next_up()
                } else {
                    x.next_down()
                }
            })
        }
    )*};
}

neighbours! {
    f32, copysign_f32, nextafter_f32;
    f64, copysign_f64, nextafter_f64;
}
