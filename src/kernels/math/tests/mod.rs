//! Error bounds: float32 functions against float64 on every number, float64 functions against numbers of 95 bits on a
//! sample, and against numbers rounded from many digits where the system's functions are of no help.

mod exact;
mod special;

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI, TAU};

use super::{f32 as single, f64 as double};
use crate::kernels::dispatch::{Tier, tier, tiered};
use crate::kernels::vector::Vector;
use exact::Exact;

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

/// Each function over a block, compiled for every tier as the kernels are, in both precisions.
macro_rules! blocks {
    ($($name:ident)*) => {
        mod narrow {
            use super::*;
            $(
                #[inline(always)]
                unsafe fn $name(x: [f32; 16]) -> [f32; 16] {
                    single::$name(Vector(x)).0
                }
            )*
            /// Each function by its name.
            pub const ALL: &[(&str, fn(Tier, [f32; 16]) -> [f32; 16])] = &[$((stringify!($name), |tier, x| {
                tiered! { fn compiled<>(x: [f32; 16]) -> [f32; 16] = $name; }
                // SAFETY: the tier is one that the machine has.
                unsafe { compiled(tier)(x) }
            })),*];
        }
        mod wide {
            use super::*;
            $(
                #[inline(always)]
                unsafe fn $name(x: [f64; 8]) -> [f64; 8] {
                    double::$name(Vector(x)).0
                }
            )*
            /// Each function by its name.
            pub const ALL: &[(&str, fn(Tier, [f64; 8]) -> [f64; 8])] = &[$((stringify!($name), |tier, x| {
                tiered! { fn compiled<>(x: [f64; 8]) -> [f64; 8] = $name; }
                // SAFETY: the tier is one that the machine has.
                unsafe { compiled(tier)(x) }
            })),*];
        }
    };
}
blocks!(exp expm1 log log1p sin cos tanh sigmoid);

/// A function of float64, one of more digits, and from where samples are drawn: between two bounds, and around points
/// where the methods change.
struct Row {
    name: &'static str,
    system: fn(f64) -> f64,
    exact: fn(f64) -> Exact,
    bounds: (f64, f64),
    edges: &'static [f64],
}

/// Where reductions take another multiple of `ln 2`, and of `pi / 2`.
const HALVES: &[f64] = &[0.0, 0.34657359027997264, -0.34657359027997264, 1.0397207708399179, -1.0397207708399179, 19.0];
const QUARTERS: &[f64] = &[FRAC_PI_4, FRAC_PI_2, PI, TAU, 355.0, 1e5];

const ROWS: [Row; 8] = [
    Row { name: "exp", system: f64::exp, exact: exact::exp, bounds: (-640.0, 709.0), edges: HALVES },
    Row { name: "expm1", system: f64::exp_m1, exact: exact::expm1, bounds: (-640.0, 709.0), edges: HALVES },
    Row { name: "log", system: f64::ln, exact: exact::log, bounds: (0.0, 1e300), edges: &[0.75, 1.0, 1.5, 3.0] },
    Row {
        name: "log1p",
        system: f64::ln_1p,
        exact: exact::log1p,
        bounds: (-1.0, 1e300),
        edges: &[-0.625, -0.25, 0.5, 2.0],
    },
    Row { name: "sin", system: f64::sin, exact: exact::sin, bounds: (-1e6, 1e6), edges: QUARTERS },
    Row { name: "cos", system: f64::cos, exact: exact::cos, bounds: (-1e6, 1e6), edges: QUARTERS },
    Row { name: "tanh", system: f64::tanh, exact: exact::tanh, bounds: (-40.0, 40.0), edges: HALVES },
    Row { name: "sigmoid", system: sigmoid, exact: exact::sigmoid, bounds: (-640.0, 40.0), edges: HALVES },
];

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// The functions of one number with rows of their own that a file re-exports, in the order of the alphabet.
fn exported(source: &str) -> Vec<&str> {
    let of_two = ["pow"];
    // What the zeta function is made of.
    let parts = ["whole", "zeta_of"];
    // Those of other files have their tests in `special`.
    let other = ["division", "neighbours"];
    let lines = source.lines().filter(|l| l.starts_with("pub use") && !other.iter().any(|file| l.contains(file)));
    let names = lines.flat_map(|l| l.rsplit("::").next().unwrap_or("").split(['{', '}', ',', ';', ' ']));
    let mut names: Vec<&str> = names
        .filter(|n| !n.is_empty() && !of_two.contains(n) && !parts.contains(n) && !special::is_tested(n))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn every_function_is_tested() {
    let mut tested: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    assert!(narrow::ALL.iter().map(|f| f.0).eq(tested.iter().copied()));
    assert!(wide::ALL.iter().map(|f| f.0).eq(tested.iter().copied()));
    tested.sort_unstable();
    assert_eq!(exported(include_str!("../f32.rs")), tested);
    assert_eq!(exported(include_str!("../f64.rs")), tested);
}

/// The greatest error of a function over every `step`-th float32.
fn worst(f: fn(Tier, [f32; 16]) -> [f32; 16], exact: fn(f64) -> f64, step: u32) -> (f64, f32) {
    let (tier, mut worst) = (tier(), (0.0, 0.0));
    let mut bits = 0u64;
    while bits <= u32::MAX as u64 {
        let x: [f32; 16] = std::array::from_fn(|i| f32::from_bits((bits + i as u64 * step as u64) as u32));
        for (x, y) in x.into_iter().zip(f(tier, x)) {
            let error = ulps(y, exact(x as f64));
            if error > worst.0 {
                worst = (error, x);
            }
        }
        bits += 16 * step as u64;
    }
    worst
}

fn check(step: u32) {
    for ((name, f), row) in narrow::ALL.iter().zip(&ROWS) {
        let (error, at) = worst(*f, row.system, step);
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

/// Random numbers: the steps of a Weyl sequence, stirred (Steele, Lea and Flood 2014, "splitmix").
struct Draws(u64);

impl Draws {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn sign(&mut self) -> f64 {
        1f64.copysign(self.bits() as i64 as f64)
    }

    /// A number of the row's range: even over it, even in size, or beside an edge.
    fn number(&mut self, row: &Row) -> f64 {
        let (low, high) = row.bounds;
        loop {
            let x = match self.bits() % 4 {
                0 => low + (high - low) * self.unit(),
                1 => (self.unit() * 700.0 - 690.0).exp() * self.sign(),
                2 => (self.unit() * 24.0 - 12.0).exp() * self.sign(),
                _ => {
                    let edge = row.edges[self.bits() as usize % row.edges.len()];
                    f64::from_bits(edge.to_bits().wrapping_add(self.bits() % 64).wrapping_sub(32)).max(low)
                }
            };
            if low < x && x < high {
                return x;
            }
        }
    }
}

/// The greatest error of a float64 function over that many numbers.
fn worst_of_sample(f: fn(Tier, [f64; 8]) -> [f64; 8], row: &Row, count: usize) -> (f64, f64) {
    let (tier, mut draws, mut worst) = (tier(), Draws(7), (0.0, 0.0));
    for _ in 0..count / 8 {
        let x: [f64; 8] = std::array::from_fn(|_| draws.number(row));
        for (x, y) in x.into_iter().zip(f(tier, x)) {
            let error = (row.exact)(x).ulps(y);
            if error > worst.0 || error.is_nan() {
                worst = (error, x);
            }
        }
    }
    worst
}

fn check_sample(count: usize) {
    for ((name, f), row) in wide::ALL.iter().zip(&ROWS) {
        let (error, at) = worst_of_sample(*f, row, count);
        println!("{name}: {error:.4} ULP at {at:e}");
        assert!(error <= 1.5, "{name}: {error} ULP at {at:e}");
    }
}

#[test]
fn float64_functions_are_within_their_bound_on_a_sample() {
    check_sample(40_000);
}

#[test]
#[ignore = "ten million numbers of a function take minutes"]
fn float64_functions_are_within_their_bound_on_a_large_sample() {
    check_sample(10_000_000);
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let tiers =
        [Tier::Baseline, Tier::Avx2, Tier::Avx512].into_iter().filter(|&t| t == crate::kernels::dispatch::widest(t));
    for tier in tiers {
        let (mut draws, mut different) = (Draws(11), 0);
        for _ in 0..1000 {
            let x: [f32; 16] = std::array::from_fn(|_| f32::from_bits(draws.bits() as u32));
            for (_, f) in narrow::ALL {
                let pairs = f(tier, x).into_iter().zip(f(Tier::Baseline, x));
                different += pairs.filter(|(a, b)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())).count();
            }
            let x: [f64; 8] = std::array::from_fn(|_| f64::from_bits(draws.bits()));
            for (_, f) in wide::ALL {
                let pairs = f(tier, x).into_iter().zip(f(Tier::Baseline, x));
                different += pairs.filter(|(a, b)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())).count();
            }
        }
        assert_eq!(different, 0, "{tier:?}");
    }
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
}

#[test]
fn powers_are_within_their_bounds_on_a_sample() {
    let (mut draws, mut worst) = (Draws(3), (0.0, 0.0));
    for _ in 0..40_000 {
        let x = (draws.unit() * 20.0 - 10.0).exp();
        // Of any size that leaves the power in the range of float32.
        let y = draws.sign() * draws.unit() * 86.0 / x.ln().abs().max(0.02);
        let (narrow_x, narrow_y) = (x as f32, y as f32);
        let found = single::pow(Vector([narrow_x]), Vector([narrow_y])).0[0];
        let error = ulps(found, (narrow_x as f64).powf(narrow_y as f64));
        worst = (error.max(worst.0), exact::pow(x, y).ulps(double::pow(Vector([x]), Vector([y])).0[0]).max(worst.1));
    }
    println!("pow: {:.4} ULP in float32, {:.4} in float64", worst.0, worst.1);
    assert!(worst.0 <= 0.51 && worst.1 <= 1.5);
}

#[test]
fn a_lane_has_the_same_bits_in_any_vector() {
    type Function<const N: usize> = fn(Vector<f32, N>) -> Vector<f32, N>;
    let functions: [(Function<16>, Function<1>); 3] =
        [(single::exp, single::exp), (single::sin, single::sin), (single::tanh, single::tanh)];
    let x: [f32; 16] = std::array::from_fn(|i| (i as f32 - 8.0) * 1.7e3f32.powi(i as i32 % 3));
    for (wide, narrow) in functions {
        for (x, y) in x.into_iter().zip(wide(Vector(x)).0) {
            assert_eq!(narrow(Vector([x])).0[0].to_bits(), y.to_bits());
        }
    }
}
