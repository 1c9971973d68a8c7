//! The 16-bit floating-point types. They are stored, not computed with: programs convert them to float32 block by block
//! and round once. Conversions are bit operations and selects only, so that they become vectors; those of half precision have
//! instructions of their own where there is AVX2.

use std::cmp::Ordering;

#[cfg(target_arch = "x86_64")]
mod by_eight;
#[cfg(target_arch = "x86_64")]
pub(super) use by_eight::{narrow, widen};

/// IEEE half precision: 1 bit of sign, 5 of exponent, 10 of fraction.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct F16(pub u16);

/// The upper half of a float32: 1 bit of sign, 8 of exponent, 7 of fraction.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct BF16(pub u16);

impl F16 {
    /// The same number as a float32.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        // 2^-14, the least normal number, as float32; its exponent is where subnormal fractions count from.
        const LEAST_NORMAL: u32 = 113 << 23;
        let magnitude = (self.0 as u32 & 0x7fff) << 13;
        let normal = magnitude.wrapping_add(112 << 23);
        let subnormal = (f32::from_bits(magnitude + LEAST_NORMAL) - f32::from_bits(LEAST_NORMAL)).to_bits();
        let special = magnitude | 0x7f80_0000;
        let bits = if magnitude < 1 << 23 { subnormal } else { normal };
        let bits = if magnitude >= 31 << 23 { special } else { bits };
        f32::from_bits(bits | (self.0 as u32 & 0x8000) << 16)
    }

    /// The nearest number, of two as near the even one; infinity beyond the greatest.
    #[inline(always)]
    pub fn from_f32(value: f32) -> F16 {
        // Added to a number below 2^-14, it leaves the subnormal fraction, rounded, in the lowest bits.
        const MAGIC: u32 = 126 << 23;
        let bits = value.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        let odd = magnitude >> 13 & 1;
        let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
        let subnormal = (f32::from_bits(magnitude) + f32::from_bits(MAGIC)).to_bits().wrapping_sub(MAGIC);
        let special = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
        let rounded = if magnitude < 113 << 23 { subnormal } else { normal };
        let rounded = if magnitude >= 143 << 23 { special } else { rounded };
        F16((rounded | (bits >> 16 & 0x8000)) as u16)
    }
}

impl BF16 {
    /// The same number as a float32.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// The nearest number, of two as near the even one.
    #[inline(always)]
    pub fn from_f32(value: f32) -> BF16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        BF16(if is_nan { 0x7fc0 } else { rounded as u16 })
    }
}

macro_rules! ordered {
    ($($t:ty)*) => {$(
        impl PartialEq for $t {
            #[inline(always)]
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $t {
            #[inline(always)]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }
    )*};
}
ordered!(F16 BF16);

#[cfg(test)]
mod tests {
    use super::{BF16, F16};

    /// The value of half-precision bits, by the definition.
    fn defined(bits: u16) -> f64 {
        let (exponent, fraction) = (bits as i32 >> 10 & 31, (bits & 1023) as f64);
        let value = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            e => (1024.0 + fraction) * 2f64.powi(e - 25),
        };
        if bits >> 15 == 1 { -value } else { value }
    }

    #[test]
    fn every_half_survives_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let (value, expected) = (F16(bits).to_f32() as f64, defined(bits));
            assert!(value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan(), "{bits:#x}");
            let back = F16::from_f32(F16(bits).to_f32());
            assert!(back.0 == bits || expected.is_nan() && back.to_f32().is_nan(), "{bits:#x}");
            let wide = BF16(bits).to_f32();
            assert!(BF16::from_f32(wide).0 == bits || wide.is_nan() && BF16::from_f32(wide).to_f32().is_nan());
        }
    }

    #[test]
    fn instructions_convert_as_bit_operations_do() {
        use crate::kernels::convert::converter;
        use crate::tensor::dtype::DType::{F16 as Half, F32};
        // A length that leaves a rest.
        let halves: Vec<u16> = (0..=u16::MAX).chain(0..3).collect();
        let (mut wide, mut back) = (vec![0f32; halves.len()], vec![0u16; halves.len()]);
        let (to_wide, to_half) = (converter("", Half, F32).unwrap(), converter("", F32, Half).unwrap());
        // SAFETY: all have as many elements.
        unsafe { to_wide(halves.as_ptr().cast(), 1, wide.as_mut_ptr().cast(), 1, halves.len()) };
        // Halfway to the next, below and beyond.
        for step in [0i32, 0xfff, 0x1000, 0x1001] {
            let near: Vec<f32> = wide.iter().map(|x| f32::from_bits(x.to_bits().wrapping_add_signed(step))).collect();
            // SAFETY: as above.
            unsafe { to_half(near.as_ptr().cast(), 1, back.as_mut_ptr().cast(), 1, near.len()) };
            for (i, (&x, &half)) in near.iter().zip(&back).enumerate() {
                let same = half == F16::from_f32(x).0 || x.is_nan() && F16(half).to_f32().is_nan();
                assert!(same, "{x:e} {half:#x}");
                let expected = F16(halves[i]).to_f32();
                assert!(wide[i].to_bits() == expected.to_bits() || wide[i].is_nan() && expected.is_nan());
            }
        }
    }

    #[test]
    fn halves_round_to_the_nearest_and_ties_to_even() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (F16(bits).to_f32(), F16(bits + 1).to_f32());
            let middle = (low + high) / 2.0;
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            assert_eq!(F16::from_f32(middle).0, even);
            assert_eq!(F16::from_f32(middle.next_down()).0, bits);
            assert_eq!(F16::from_f32(-middle.next_up()).0, (bits + 1) | 0x8000);
        }
        assert_eq!(F16::from_f32(65519.996).0, 0x7bff);
        assert_eq!(F16::from_f32(65520.0).0, 0x7c00);
        assert_eq!(F16::from_f32(f32::MAX).0, 0x7c00);
        assert_eq!(F16::from_f32(f32::from_bits(1)).0, 0);
    }

    #[test]
    fn brain_floats_round_to_the_nearest_and_ties_to_even() {
        for bits in 0..0x7f7f_u16 {
            let middle = f32::from_bits((bits as u32) << 16 | 0x8000);
            assert_eq!(BF16::from_f32(middle).0, bits + (bits & 1));
            assert_eq!(BF16::from_f32(middle.next_down()).0, bits);
            assert_eq!(BF16::from_f32(middle.next_up()).0, bits + 1);
        }
        assert_eq!(BF16::from_f32(f32::MAX).0, 0x7f80);
    }
}
