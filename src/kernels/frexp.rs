//! Numbers as mantissas and exponents.

use super::element::{Element, convert};
use super::parallel::{self, Apart};

/// Elements of a piece of parallel work.
const GRAIN: usize = 16 << 10;

/// `x = m 2^e` with `0.5 <= |m| < 1`; zeros, infinities and NaN are their own `m`, with an exponent of 0.
#[inline(always)]
fn parts(x: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    const HALF: u64 = 0.5f64.to_bits();
    /// Subnormal numbers are made normal by so many bits.
    const BITS: i32 = 54;
    let is_tiny = x.abs() < f64::MIN_POSITIVE;
    let bits = (if is_tiny { x * (1u64 << BITS) as f64 } else { x }).to_bits();
    let exponent = ((bits & EXPONENT) >> 52) as i32 - 1022 - if is_tiny { BITS } else { 0 };
    if x == 0.0 || !x.is_finite() { (x, 0) } else { (f64::from_bits(bits & !EXPONENT | HALF), exponent) }
}

/// Writes mantissas and exponents of numbers.
///
/// # Panics
/// Where the slices are not of one length.
pub fn frexp<T: Element>(x: &[T], mantissas: &mut [T], exponents: &mut [i32]) {
    assert!(x.len() == mantissas.len() && x.len() == exponents.len());
    let (mantissas, exponents) = (Apart(mantissas.as_mut_ptr()), Apart(exponents.as_mut_ptr()));
    parallel::for_each_range(x.len(), GRAIN, |start, end| {
        // SAFETY: the ranges are apart, and within the slices.
        let (mantissas, exponents) =
            unsafe { (mantissas.part(start, end - start), exponents.part(start, end - start)) };
        for ((&x, mantissa), exponent) in x[start..end].iter().zip(mantissas).zip(exponents) {
            let (m, e) = parts(x.to_f64());
            (*mantissa, *exponent) = (convert(m), e);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_c_library() {
        let of_bits =
            (0..64).map(|n| f64::from_bits(1 << n)).chain((0..2000).map(|n| f64::from_bits(n * 0x0012_3456_789a_bcde)));
        for x in of_bits.filter(|x| x.is_finite()).flat_map(|x| [x, -x]) {
            assert_eq!(parts(x), libm::frexp(x), "{x:e}");
        }
        assert_eq!(parts(f64::NEG_INFINITY), (f64::NEG_INFINITY, 0));
        assert!(parts(f64::NAN).0.is_nan());
    }
}
