//! Error bounds: float32 functions against float64, float64 functions against float64 numbers rounded from many digits.

use super::{f32 as single, f64 as double};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::vector::Vector;

type Function<const N: usize> = fn(Vector<f32, N>) -> Vector<f32, N>;

/// Units in the last place of float32 between a result and the exact value.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if found == rounded || (found.is_nan() && exact.is_nan()) {
        return 0.0;
    }
    if !rounded.is_finite() || !found.is_finite() {
        return f64::INFINITY;
    }
    let exponent = (rounded.abs().max(f32::MIN_POSITIVE).to_bits() >> 23) as i32 - 127;
    (found as f64 - exact).abs() / 2f64.powi(exponent - 23)
}

/// One function over a block, compiled for the machine's tier as the kernels are.
macro_rules! blocks {
    ($($name:ident)*) => {
        mod bodies {
            use super::*;
            $(
                #[inline(always)]
                pub unsafe fn $name(x: [f32; 16]) -> [f32; 16] {
                    single::$name(Vector(x)).0
                }
            )*
        }
        $(
            fn $name(x: [f32; 16]) -> [f32; 16] {
                tiered! { fn compiled<>(x: [f32; 16]) -> [f32; 16] = bodies::$name; }
                // SAFETY: the tier is one that the machine has.
                unsafe { compiled(tier())(x) }
            }
        )*
    };
}
blocks!(exp expm1 log log1p sin cos tanh sigmoid);

/// The greatest error of a function over every `step`-th float32.
fn worst(f: fn([f32; 16]) -> [f32; 16], exact: fn(f64) -> f64, step: u32) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let mut bits = 0u64;
    while bits <= u32::MAX as u64 {
        let x: [f32; 16] = std::array::from_fn(|i| f32::from_bits((bits + i as u64 * step as u64) as u32));
        for (x, y) in x.into_iter().zip(f(x)) {
            let error = ulps(y, exact(x as f64));
            if error > worst.0 {
                worst = (error, x);
            }
        }
        bits += 16 * step as u64;
    }
    worst
}

type Row = (&'static str, fn([f32; 16]) -> [f32; 16], fn(f64) -> f64);

const ROWS: [Row; 8] = [
    ("exp", exp, f64::exp),
    ("expm1", expm1, f64::exp_m1),
    ("log", log, f64::ln),
    ("log1p", log1p, f64::ln_1p),
    ("sin", sin, f64::sin),
    ("cos", cos, f64::cos),
    ("tanh", tanh, f64::tanh),
    ("sigmoid", sigmoid, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }),
];

fn check(step: u32) {
    for (name, f, exact) in ROWS {
        let (error, at) = worst(f, exact, step);
        println!("{name}: {error:.4} ULP at {at:e}");
        assert!(error <= 1.0, "{name}: {error} ULP at {at:e}");
    }
}

#[test]
fn float32_functions_are_within_one_ulp_on_a_sample() {
    check(4099);
}

#[test]
#[ignore = "all 2^32 numbers take minutes"]
fn float32_functions_are_within_one_ulp_everywhere() {
    check(1);
}

/// `(name, x, high, low)`: the exact value is `high + low`, from 60 digits.
#[allow(clippy::approx_constant, reason = "pi is a hard case of its own sine")]
const HARD: &[(&str, f64, f64, f64)] = &include!("hard_cases.in");

#[test]
fn float64_functions_are_within_their_bound() {
    for &(name, x, high, low) in HARD {
        let v = Vector([x]);
        let found = match name {
            "exp" => double::exp(v),
            "expm1" => double::expm1(v),
            "log" => double::log(v),
            "log1p" => double::log1p(v),
            "sin" => double::sin(v),
            "cos" => double::cos(v),
            "tanh" => double::tanh(v),
            _ => double::sigmoid(v),
        }
        .0[0];
        // The distance from the number above, so that it is right for subnormal numbers too.
        let ulp = high.abs().next_up() - high.abs();
        let error = ((found - high) - low).abs() / ulp;
        assert!(error <= 1.5, "{name}({x:e}) = {found:e}: {error} ULP");
    }
}

#[test]
fn powers_are_right() {
    let cases: &[(f64, f64, f64)] = &[
        (0.0, 0.0, 1.0),
        (1.0, f64::NAN, 1.0),
        (f64::NAN, 0.0, 1.0),
        (-8.0, 3.0, -512.0),
        (-2.0, -3.0, -0.125),
        (0.0, -1.0, f64::INFINITY),
        (-0.0, -1.0, f64::NEG_INFINITY),
        (-0.0, 3.0, -0.0),
        (f64::INFINITY, -1.0, 0.0),
        (f64::NEG_INFINITY, 3.0, f64::NEG_INFINITY),
        (0.5, f64::INFINITY, 0.0),
        (2.0, f64::INFINITY, f64::INFINITY),
        (-1.0, f64::INFINITY, 1.0),
        (2.0, 0.5, std::f64::consts::SQRT_2),
        (10.0, 300.0, 1e300),
        (2.0, -1074.0, 5e-324),
        (1.0000001, 1e8, 22026.454910182532),
    ];
    for &(x, y, expected) in cases {
        let found = double::pow(Vector([x]), Vector([y])).0[0];
        let close = found == expected || ((found - expected) / expected).abs() < 4e-16;
        assert!(close && found.is_sign_negative() == expected.is_sign_negative(), "pow({x}, {y}) = {found:e}");
    }
    assert!(double::pow(Vector([-2.0]), Vector([0.5])).0[0].is_nan());
    for i in 1..2000 {
        let x = i as f32 * 0.37;
        let error = ulps(single::pow(Vector([x]), Vector([3.0])).0[0], (x as f64).powi(3));
        assert!(error <= 0.51, "pow({x}, 3): {error} ULP");
    }
}

#[test]
fn a_lane_has_the_same_bits_in_any_vector() {
    let functions: [(Function<16>, Function<1>); 3] =
        [(single::exp, single::exp), (single::sin, single::sin), (single::tanh, single::tanh)];
    let x: [f32; 16] = std::array::from_fn(|i| (i as f32 - 8.0) * 1.7e3f32.powi(i as i32 % 3));
    for (wide, narrow) in functions {
        for (x, y) in x.into_iter().zip(wide(Vector(x)).0) {
            assert_eq!(narrow(Vector([x])).0[0].to_bits(), y.to_bits());
        }
    }
}
