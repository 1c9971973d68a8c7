//! The float32 logarithm, sine and cosine of torch's normal numbers on x86-64: those of Cephes (S. L. Moshier, `logf`,
//! `sinf`, `cosf`, 1989), with the roundings that fused multiply-adds leave. Where other functions would be a bit nearer to
//! the truth, these give the same numbers for the same seed to the bit.

use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::Vector;

type V<const N: usize> = Vector<f32, N>;

/// `(log(1 + x) - x + x^2/2) / x^3` for `sqrt(1/2) - 1 <= x <= sqrt(2) - 1`, the highest power first.
const LOG: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_84e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_8e-1,
    2.000_071_4e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];
/// `ln 2` as the sum of a number of few bits and the rest.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Minus pi/4 in three parts (Cody and Waite).
const MINUS_QUARTER_PI: [f32; 3] = [-0.785_156_25, -2.418_756_5e-4, -3.774_895e-8];
/// `(sin(x)/x - 1) / x^2` in powers of `x^2` for `|x| <= pi/4`, the highest first.
const SINE: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
/// `(cos(x) - 1 + x^2/2) / x^4`, as above.
const COSINE: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];

/// A polynomial by Horner's rule, every step one rounding.
#[inline(always)]
fn horner<const N: usize>(x: V<N>, coefficients: &[f32]) -> V<N> {
    let first = V::splat(coefficients[0]);
    coefficients[1..].iter().fold(first, |y, &c| y.mul_add(x, V::splat(c)))
}

/// Natural logarithm of a positive normal number.
#[inline(always)]
pub fn log<const N: usize>(x: V<N>) -> V<N> {
    // x = m 2^k with m in 1/2 .. 1, and where m is small, 2m and k - 1.
    let k = x.map(|x| ((x.to_bits() >> 23) as i32 - 126) as f32);
    let m = x.map(|x| f32::from_bits(x.to_bits() & 0x007f_ffff | 0x3f00_0000));
    let small = m.lt(V::splat(std::f32::consts::FRAC_1_SQRT_2));
    let k = Vector::blend(small, k - V::splat(1.0), k);
    let f = m - V::splat(1.0) + Vector::blend(small, m, V::splat(0.0));
    let square = f * f;
    let rest = (horner(f, &LOG) * f).mul_add(square, k * V::splat(LN2[1]));
    let rest = square.mul_add(V::splat(-0.5), rest);
    k.mul_add(V::splat(LN2[0]), f + rest)
}

/// Cosine and sine of an angle in `0 ..= 2 pi`.
#[inline(always)]
pub fn cos_sin<const N: usize>(angle: V<N>) -> [V<N>; 2] {
    // The even octant that the angle is nearest to.
    let octant = (angle * V::splat(4.0 * std::f32::consts::FRAC_1_PI)).map(|y| (y as i32 + 1) & !1);
    let y = octant.map(|n| n as f32);
    let x = MINUS_QUARTER_PI.iter().fold(angle, |x, &part| y.mul_add(V::splat(part), x));
    let square = x * x;
    let cos = (horner(square, &COSINE) * square).mul_add(square, square * V::splat(-0.5)) + V::splat(1.0);
    let sin = (horner(square, &SINE) * square).mul_add(x, x);
    // Two octants on, a sine is the cosine and a cosine minus the sine.
    let turned = octant.map(|n| n & 2);
    let choose = |a: V<N>, b: V<N>, sign: Vector<i32, N>| {
        let chosen = a.zip(b, |a, b| (a, b)).zip(turned, |(a, b), n| if n == 0 { a } else { b });
        chosen.zip(sign, |x, sign| f32::from_bits(x.to_bits() ^ (sign << 29) as u32))
    };
    [choose(cos, sin, octant.map(|n| (n + 2) & 4)), choose(sin, cos, octant.map(|n| n & 4))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_functions_that_they_are_named_after() {
        for n in 1..100_000u32 {
            let u = n as f32 / 100_000.0;
            let near = |y: f32, exact: f64| assert!((f64::from(y) - exact).abs() <= 2e-7 * exact.abs().max(1.0), "{u}");
            near(log(Vector([u])).0[0], f64::from(u).ln());
            let angle = u * std::f32::consts::TAU;
            let [cos, sin] = cos_sin(Vector([angle])).map(|y| y.0[0]);
            near(cos, f64::from(angle).cos());
            near(sin, f64::from(angle).sin());
        }
    }
}
