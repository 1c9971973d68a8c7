//! Normal numbers in blocks of 16, by pairs eight elements apart (Box and Muller 1958).

use super::cephes;
use super::generator::{Generator, unit_f32, unit_f64};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::element::Element;
use crate::kernels::lane::Real;
use crate::kernels::parallel;
use crate::kernels::vector::Vector;
use crate::tensor::dtype::DType;

/// How many elements are made at once.
pub const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;
/// Elements of a piece that one thread transforms.
const GRAIN: usize = 1 << 12;

/// Fills with normal numbers. Where the last block is not full, the last 16 elements are drawn again.
pub fn fill_blocks<T: Element>(from: &Generator, out: &mut [T], mean: f64, std: f64) {
    let tail = out.len() - BLOCK;
    let has_rest = !out.len().is_multiple_of(BLOCK);
    if T::DTYPE == DType::F32 || T::DTYPE == DType::F64 {
        uniform(from, out);
        // The elements behind the last full block stay as they are, until they are drawn again.
        let full = out.len() / BLOCK * BLOCK;
        parallel::for_each_slice(&mut out[..full], GRAIN, |_, part| transform(part, mean, std));
        if has_rest {
            uniform(from, &mut out[tail..]);
            transform(&mut out[tail..], mean, std);
        }
        return;
    }
    // Floats of 16 bits are made in float32, a block at a time.
    let mut block = [0.0f32; BLOCK];
    let mut fill = |target: &mut [T]| {
        uniform(from, &mut block);
        transform(&mut block, mean, std);
        target.iter_mut().zip(&block).for_each(|(slot, &x)| *slot = T::from_f64(x.into()));
    };
    out.chunks_exact_mut(BLOCK).for_each(&mut fill);
    if has_rest {
        fill(&mut out[tail..]);
    }
}

fn uniform<T: Element>(from: &Generator, out: &mut [T]) {
    if T::DTYPE == DType::F64 {
        from.fill(out, |_, word| T::from_f64(unit_f64(word)));
    } else {
        from.fill(out, |_, word| T::from_f64(unit_f32(word).into()));
    }
}

/// Turns even numbers, a multiple of 16 of them in float32 or float64, into normal ones.
fn transform<T: Element>(data: &mut [T], mean: f64, std: f64) {
    let (start, blocks) = (data.as_mut_ptr(), data.len() / BLOCK);
    if T::DTYPE == DType::F32 {
        // SAFETY: the elements are of the type that the dtype names, so many blocks of them.
        return unsafe { transform_f32(tier())(start.cast(), blocks, mean as f32, std as f32) };
    }
    // SAFETY: as above.
    let blocks = unsafe { std::slice::from_raw_parts_mut(start.cast::<[[f64; HALF]; 2]>(), blocks) };
    for [a, b] in blocks {
        for (a, b) in a.iter_mut().zip(b) {
            [*a, *b] = pair_f64(*a, *b, mean, std);
        }
    }
}

tiered! {
    fn transform_f32<>(data: *mut [Vector<f32, HALF>; 2], blocks: usize, mean: f32, std: f32) = pairs_f32;
}

/// # Safety
/// `data` has `blocks` blocks that can be read and written, at any alignment.
#[inline(always)]
unsafe fn pairs_f32(data: *mut [Vector<f32, HALF>; 2], blocks: usize, mean: f32, std: f32) {
    for n in 0..blocks {
        // SAFETY: the caller gives so many blocks; the array is as the elements are, without alignment.
        unsafe {
            let [a, b] = data.add(n).read_unaligned();
            data.add(n).write_unaligned(pair_f32(a, b, mean, std));
        }
    }
}

/// Normal numbers of even ones: the cosine's and the sine's.
#[inline(always)]
fn pair_f32(a: Vector<f32, HALF>, b: Vector<f32, HALF>, mean: f32, std: f32) -> [Vector<f32, HALF>; 2] {
    let radius = (Vector::splat(-2.0) * cephes::log(Vector::splat(1.0) - a)).sqrt();
    cephes::cos_sin(Vector::splat(std::f32::consts::TAU) * b)
        .map(|x| (radius * x).mul_add(Vector::splat(std), Vector::splat(mean)))
}

/// As [`pair_f32`], by the system's functions, as torch does it.
fn pair_f64(a: f64, b: f64, mean: f64, std: f64) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - a).ln()).sqrt();
    let angle = std::f64::consts::TAU * b;
    [angle.cos(), angle.sin()].map(|x| (radius * x).mul_add(std, mean))
}
