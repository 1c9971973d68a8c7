//! Functions beyond the exponential and its kin: in float64 against numbers rounded from 70 digits, in float32 against
//! float64.

use super::{Draws, ROWS, double, single, ulps};
use crate::kernels::dispatch::{Tier, tiered, widest};
use crate::kernels::function::Function;
use crate::kernels::lane::Lane;
use crate::kernels::vector::Vector;

/// A function, compiled for every tier in both precisions, and its bound in units in the last place of the result, or of
/// 1 where the result is smaller and it says so.
struct Special {
    name: &'static str,
    wide: fn(Tier, [f64; 8]) -> [f64; 8],
    narrow: fn(Tier, [f32; 8]) -> [f32; 8],
    bound: f64,
    of_one: bool,
}

macro_rules! specials {
    ($($name:ident $bound:literal $of_one:literal;)*) => {
        mod compiled {
            use super::*;
            $(pub mod $name {
                use super::*;
                #[inline(always)]
                unsafe fn wide_body(x: [f64; 8]) -> [f64; 8] {
                    double::$name(Vector(x)).0
                }
                #[inline(always)]
                unsafe fn narrow_body(x: [f32; 8]) -> [f32; 8] {
                    single::$name(Vector(x)).0
                }
                tiered! { pub fn wide<>(x: [f64; 8]) -> [f64; 8] = wide_body; }
                tiered! { pub fn narrow<>(x: [f32; 8]) -> [f32; 8] = narrow_body; }
            })*
        }
        const SPECIALS: &[Special] = &[$(Special {
            name: stringify!($name),
            // SAFETY: the tests give tiers that the machine has.
            wide: |tier, x| unsafe { compiled::$name::wide(tier)(x) },
            // SAFETY: as above.
            narrow: |tier, x| unsafe { compiled::$name::narrow(tier)(x) },
            bound: $bound,
            of_one: $of_one,
        }),*];
    };
}

specials! {
    tan 1.5 false; asin 1.5 false; acos 1.5 false; atan 1.5 false; sinh 1.5 false; cosh 1.5 false; asinh 1.5 false;
    acosh 1.5 false; atanh 1.5 false; log2 1.5 false; log10 1.5 false; exp2 1.5 false; erf 1.5 false; erfc 1.5 false;
    erfinv 3.0 false; lgamma 4.0 true; digamma 8.0 true; erfcx 6.0 false;
    i0e 8.0 false; i1e 8.0 false;
}

/// Functions of two numbers, which have tests of their own.
const OF_TWO: [&str; 7] = ["atan2", "hypot", "zeta", "igamma", "igammac", "copysign", "nextafter"];

/// True for a function that has its tests here.
pub fn is_tested(name: &str) -> bool {
    SPECIALS.iter().map(|s| s.name).chain(OF_TWO).any(|n| n == name)
}

#[test]
fn every_function_has_a_bound() {
    for function in Function::ALL {
        let name = format!("{function:?}").to_lowercase();
        let rows = ROWS.iter().map(|row| row.name).chain(SPECIALS.iter().map(|s| s.name)).chain(OF_TWO);
        assert!(name == "sqrt" || rows.into_iter().any(|n| n == name), "{name}");
    }
}

/// `(name, x, high, low)`: the exact value is `high + low`.
const CASES: &[(&str, f64, f64, f64)] = &include!("special_cases.in");

#[test]
fn special_functions_are_within_their_bounds() {
    for s in SPECIALS {
        let (mut worst, mut at, mut count) = (0.0, 0.0, 0);
        for &(_, x, high, low) in CASES.iter().filter(|c| c.0 == s.name) {
            let found = (s.wide)(Tier::Baseline, [x; 8])[0];
            let size = if s.of_one { high.abs().max(1.0) } else { high.abs() };
            let error = ((found - high) - low).abs() / (size.next_up() - size);
            count += 1;
            if error > worst || error.is_nan() {
                (worst, at) = (error, x);
            }
        }
        println!("{}: {worst:.4} ULP at {at:e}", s.name);
        assert!(count >= 60 && worst <= s.bound, "{}({at:e}): {worst} ULP", s.name);
    }
}

/// Functions that float32 has by way of the function of float64 itself: only the last rounding counts.
const ROUNDED: [&str; 5] = ["lgamma", "digamma", "erfcx", "i0e", "i1e"];

/// Every `step`-th float32, against the function of float64.
fn check_narrow(step: u32) {
    let tier = crate::kernels::dispatch::tier();
    for s in SPECIALS {
        let (mut worst, mut at) = (0.0, 0.0);
        for first in (0..=u32::MAX).step_by(8 * step as usize) {
            let x: [f32; 8] = std::array::from_fn(|i| f32::from_bits(first.wrapping_add(i as u32 * step)));
            for ((x, found), exact) in x.into_iter().zip((s.narrow)(tier, x)).zip((s.wide)(tier, x.map(f64::from))) {
                let error = ulps(found, exact);
                if error > worst {
                    (worst, at) = (error, x);
                }
            }
        }
        println!("{}: {worst:.4} ULP at {at:e} in float32", s.name);
        let bound = if ROUNDED.contains(&s.name) { 0.51 } else { 1.0 };
        assert!(worst <= bound, "{}({at:e}): {worst} ULP in float32", s.name);
    }
}

#[test]
fn special_functions_are_within_one_ulp_in_float32_on_a_sample() {
    check_narrow(4099);
}

#[test]
#[ignore = "all 2^32 numbers take minutes"]
fn special_functions_are_within_one_ulp_in_float32_everywhere() {
    check_narrow(1);
}

#[test]
fn special_functions_have_the_same_bits_on_every_instruction_set() {
    for tier in [Tier::Avx2, Tier::Avx512].into_iter().filter(|&t| t == widest(t)) {
        let mut draws = Draws(17);
        for _ in 0..200 {
            let mixed = |d: &mut Draws| match d.bits() % 2 {
                0 => f64::from_bits(d.bits()),
                _ => (d.unit() * 12.0 - 8.0).exp() * d.sign(),
            };
            let x: [f64; 8] = std::array::from_fn(|_| mixed(&mut draws));
            for s in SPECIALS {
                for ((a, b), x) in (s.wide)(tier, x).into_iter().zip((s.wide)(Tier::Baseline, x)).zip(x) {
                    assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{}({x:e}): {a:e} {b:e}", s.name);
                }
                let x =
                    x.map(
                        |x| if draws.bits().is_multiple_of(2) { x as f32 } else { f32::from_bits(draws.bits() as u32) },
                    );
                for ((a, b), x) in (s.narrow)(tier, x).into_iter().zip((s.narrow)(Tier::Baseline, x)).zip(x) {
                    assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{}({x:e}): {a:e} {b:e}", s.name);
                }
            }
        }
    }
}

/// `(x, q, zeta(x, q))`
const ZETA: &[(f64, f64, f64)] = &include!("zeta_cases.in");

#[test]
fn zeta_is_right() {
    let mut worst = (0.0, 0.0, 0.0);
    for &(x, q, exact) in ZETA {
        let found = double::zeta(Vector([x]), Vector([q])).0[0];
        let error = ((found - exact) / exact).abs();
        if error > worst.0 || error.is_nan() {
            worst = (error, x, q);
        }
    }
    println!("zeta: {worst:?}");
    assert!(worst.0 < 4e-15, "{worst:?}");
}

/// `(a, x, P(a, x), Q(a, x))`
const IGAMMA: &[(f64, f64, f64, f64)] = &include!("igamma_cases.in");

#[test]
fn incomplete_gamma_functions_are_right() {
    for &(a, x, below, above) in IGAMMA {
        let found = [double::igamma(Vector([a]), Vector([x])).0[0], double::igammac(Vector([a]), Vector([x])).0[0]];
        for (found, exact) in found.into_iter().zip([below, above]) {
            let error = (found - exact).abs() / exact.max(0.01);
            assert!(error < 2e-14, "({a}, {x}): {found:e}, not {exact:e}");
        }
    }
}

#[test]
fn functions_of_two_numbers_are_the_systems() {
    let mut draws = Draws(23);
    for _ in 0..20_000 {
        let mut number = || (draws.unit() * 40.0 - 20.0).exp() * draws.sign();
        let (x, y) = (number(), number());
        let close =
            |found: f64, expected: f64| (found - expected).abs() <= 3.0 * (expected.abs().next_up() - expected.abs());
        assert!(close(double::atan2(Vector([x]), Vector([y])).0[0], x.atan2(y)), "atan2({x}, {y})");
        assert!(close(double::hypot(Vector([x]), Vector([y])).0[0], x.hypot(y)), "hypot({x}, {y})");
        assert_eq!(double::copysign(Vector([x]), Vector([y])).0[0], x.copysign(y));
        let next = double::nextafter(Vector([x]), Vector([y])).0[0];
        assert!(next == if x < y { x.next_up() } else { x.next_down() });
        let (x, y) = (x as f32, y as f32);
        assert!(ulps(single::atan2(Vector([x]), Vector([y])).0[0], (x as f64).atan2(y as f64)) <= 0.51);
        assert!(ulps(single::hypot(Vector([x]), Vector([y])).0[0], (x as f64).hypot(y as f64)) <= 0.51);
    }
}

#[test]
fn the_corners_of_functions_of_two_numbers_are_the_systems() {
    const CORNERS: [f64; 8] = [0.0, 1.0, 0.5, 1e-310, 1e-45, 1e300, f64::INFINITY, f64::NAN];
    let signed = || CORNERS.into_iter().flat_map(|x| [x, -x]);
    for (x, y) in signed().flat_map(|x| signed().map(move |y| (x, y))) {
        let same = |found: f64, expected: f64| {
            let is_close = (found - expected).abs() <= expected.abs().next_up() - expected.abs();
            let has_sign = found.is_sign_negative() == expected.is_sign_negative();
            has_sign && (found == expected || is_close) || found.is_nan() && expected.is_nan()
        };
        let (vx, vy) = (Vector([x]), Vector([y]));
        assert!(same(double::atan2(vx, vy).0[0], x.atan2(y)), "atan2({x}, {y})");
        assert!(same(double::hypot(vx, vy).0[0], x.hypot(y)), "hypot({x}, {y})");
        let (x, y) = (x as f32, y as f32);
        let (vx, vy) = (Vector([x]), Vector([y]));
        let rounded = |y: f64| f64::from(y as f32);
        assert!(same(single::atan2(vx, vy).0[0].into(), rounded((x as f64).atan2(y.into()))), "atan2({x}, {y})");
        assert!(same(single::hypot(vx, vy).0[0].into(), rounded((x as f64).hypot(y.into()))), "hypot({x}, {y})");
    }
}

/// Pairs of numbers of one type: whose quotients have few digits, any bits, and corners.
macro_rules! check_remainders {
    ($t:ident $module:ident $name:ident) => {
        #[test]
        fn $name() {
            const CORNERS: [$t; 8] = [0.0, 1.0, 3.0, $t::MIN_POSITIVE, 1e-40, $t::MAX, $t::INFINITY, $t::NAN];
            let (mut draws, mut near) = (Draws(29), 0);
            for i in 0..200_000 {
                let mut any = || match i % 3 {
                    0 => (draws.unit() * 20.0 - 10.0).exp() as $t * draws.sign() as $t,
                    1 => $t::from_bits(draws.bits() as _),
                    _ => CORNERS[draws.bits() as usize % CORNERS.len()] * draws.sign() as $t,
                };
                let a = any();
                // Multiples too, and their neighbours.
                let b = if i % 2 == 0 { any() } else { a / (draws.bits() % 1000) as $t };
                let same = |found: $t, expected: $t| {
                    assert!(
                        found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                        "{a:e} and {b:e}: {found:e}, not {expected:e}"
                    );
                };
                if !$module::division::is_far(a, b) {
                    near += 1;
                    same($module::division::near_fmod(a, b), a % b);
                }
                let (va, vb) = (Vector([a]), Vector([b]));
                same(va.fmod(vb).0[0], a % b);
                let rest = a % b;
                same(va.remainder(vb).0[0], if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest });
            }
            assert!(near > 50_000);
        }
    };
}
check_remainders! { f32 single remainders_of_float32_are_exact }
check_remainders! { f64 double remainders_of_float64_are_exact }
