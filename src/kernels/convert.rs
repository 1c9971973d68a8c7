//! Strided elements from one place to another, converted from one dtype to another on the way.

#[cfg(target_arch = "x86_64")]
use super::dispatch::Tier;
use super::dispatch::{tier, tiered};
use super::element::{Element, convert, dispatch};
#[cfg(target_arch = "x86_64")]
use super::half;
use crate::error::Result;
use crate::tensor::dtype::DType;

/// Copies `n` elements: from an address with a step to an address with a step, both steps in elements.
pub type Converter = unsafe fn(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize);

/// What takes elements of one dtype to another; within one dtype it copies them.
///
/// # Errors
/// For dtypes without kernels.
pub fn converter(op: &'static str, from: DType, to: DType) -> Result<Converter> {
    if from == to {
        return Ok(mover(from.size()));
    }
    #[cfg(target_arch = "x86_64")]
    match (from, to) {
        (DType::F16, DType::F32) if tier() != Tier::Baseline => return Ok(widening),
        (DType::F32, DType::F16) if tier() != Tier::Baseline => return Ok(narrowing),
        _ => {}
    }
    Ok(dispatch!(op, from, S => dispatch!(op, to, D => conversion::<S, D>(tier()))))
}

/// The code for elements of so many bytes, which are moved as they are.
macro_rules! by_size {
    ($size:expr, $kernel:ident) => {
        match $size {
            1 => $kernel::<u8>(tier()),
            2 => $kernel::<u16>(tier()),
            4 => $kernel::<u32>(tier()),
            8 => $kernel::<u64>(tier()),
            _ => $kernel::<u128>(tier()),
        }
    };
}

/// What copies elements of so many bytes.
pub fn mover(size: usize) -> Converter {
    by_size!(size, movement)
}

/// # Safety
/// The processor has the instructions of [`Tier::Avx2`]; as [`strided`].
#[cfg(target_arch = "x86_64")]
unsafe fn widening(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match (from_step, to_step) {
            (1, 1) => half::widen(from.cast(), to.cast(), n),
            _ => strided::<half::F16, f32>(from, from_step, to, to_step, n),
        }
    }
}

/// # Safety
/// As [`widening`].
#[cfg(target_arch = "x86_64")]
unsafe fn narrowing(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match (from_step, to_step) {
            (1, 1) => half::narrow(from.cast(), to.cast(), n),
            _ => strided::<f32, half::F16>(from, from_step, to, to_step, n),
        }
    }
}

tiered! { fn conversion<S: Element, D: Element>(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize) = strided::<S, D>; }

/// # Safety
/// There are `n` elements to read and to write under the steps.
#[inline(always)]
unsafe fn strided<S: Element, D: Element>(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize) {
    let (from, to) = (from.cast::<S>(), to.cast::<D>());
    // SAFETY: the caller vouches for the elements.
    unsafe {
        match (from_step, to_step) {
            (1, 1) => (0..n).for_each(|i| *to.add(i) = convert(*from.add(i))),
            (0, 1) if n > 0 => std::slice::from_raw_parts_mut(to, n).fill(convert(*from)),
            _ => (0..n as isize).for_each(|i| *to.offset(i * to_step) = convert(*from.offset(i * from_step))),
        }
    }
}

tiered! { fn movement<T: Copy>(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize) = moved::<T>; }

/// # Safety
/// As [`strided`].
#[inline(always)]
unsafe fn moved<T: Copy>(from: *const u8, from_step: isize, to: *mut u8, to_step: isize, n: usize) {
    let (from, to) = (from.cast::<T>(), to.cast::<T>());
    // SAFETY: the caller vouches for the elements; what is read is not written.
    unsafe {
        match (from_step, to_step) {
            (1, 1) => copy(from, to, n),
            (0, 1) if n > 0 => std::slice::from_raw_parts_mut(to, n).fill(*from),
            (-1, 1) if n > 0 => {
                let to = std::slice::from_raw_parts_mut(to, n);
                let from = std::slice::from_raw_parts(from.sub(n - 1), n);
                to.iter_mut().zip(from.iter().rev()).for_each(|(to, &from)| *to = from);
            }
            _ => (0..n as isize).for_each(|i| *to.offset(i * to_step) = *from.offset(i * from_step)),
        }
    }
}

/// Bytes that the C library copies by vectors. It leaves more to an instruction of the processor, which takes twenty times as
/// long where the target lies less than a line of the cache behind the source, as their places within pages go.
const PIECE: usize = 2048;
const LINE: usize = 64;
const PAGE: usize = 4096;

/// Copies `n` elements that lie side by side.
///
/// # Safety
/// There are `n` elements to read and to write, which do not overlap.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, to: *mut T, n: usize) {
    let behind = to.addr().wrapping_sub(from.addr()) % PAGE;
    let piece = if (1..LINE).contains(&behind) { PIECE / size_of::<T>() } else { n.max(1) };
    for start in (0..n).step_by(piece) {
        // SAFETY: the caller vouches for the elements.
        unsafe { std::ptr::copy_nonoverlapping(from.add(start), to.add(start), piece.min(n - start)) };
    }
}

/// Copies `rows` rows of `n` elements, whose rows are `pitches` elements apart at the source and at the target. Elements of a row are
/// `step` apart at the source, and lie side by side at the target.
pub type RowsMover = unsafe fn(from: *const u8, step: isize, to: *mut u8, pitches: [isize; 2], rows: usize, n: usize);

/// What copies rows of elements of so many bytes.
pub fn rows_mover(size: usize) -> RowsMover {
    by_size!(size, rows_movement)
}

tiered! { fn rows_movement<T: Copy>(from: *const u8, step: isize, to: *mut u8, pitches: [isize; 2], rows: usize, n: usize) = rows_moved::<T>; }

/// Bytes of a row that one step copies, as vectors.
const STEP: usize = 64;
/// Those of shorter rows.
const HALF_STEP: usize = STEP / 2;
/// Elements that one step fills.
const FEW: usize = 8;

/// # Safety
/// There are the rows to read and to write, which do not overlap.
#[inline(always)]
unsafe fn rows_moved<T: Copy>(from: *const u8, step: isize, to: *mut u8, pitches: [isize; 2], rows: usize, n: usize) {
    let [from_pitch, to_pitch] = pitches.map(|pitch| pitch * size_of::<T>() as isize);
    let row =
        |row: usize| (from.wrapping_offset(row as isize * from_pitch), to.wrapping_offset(row as isize * to_pitch));
    // Copies of a known length are a few instructions.
    macro_rules! of_length {
        ($($length:literal)*) => {
            match n {
                $($length => for (from, to) in (0..rows).map(row) {
                    // SAFETY: the caller vouches for the rows.
                    unsafe { of_length::<T, $length>(from.cast(), step, to.cast()) };
                },)*
                _ => for (from, to) in (0..rows).map(row) {
                    // SAFETY: as above.
                    unsafe {
                        match (step, n * size_of::<T>()) {
                            (1, bytes @ STEP..) => by_steps::<STEP>(from, to, bytes),
                            (1, bytes @ HALF_STEP..) => by_steps::<HALF_STEP>(from, to, bytes),
                            (0, _) if n >= FEW => filled::<T, FEW>(*from.cast(), to.cast(), n),
                            _ => moved::<T>(from, step, to, 1, n),
                        }
                    };
                },
            }
        };
    }
    of_length!(1 2 3 4 5 6 7 8 12 16);
}

/// # Safety
/// There are `N` elements to read, `step` apart, and to write.
#[inline(always)]
unsafe fn of_length<T: Copy, const N: usize>(from: *const T, step: isize, to: *mut [T; N]) {
    // SAFETY: the caller's.
    unsafe {
        to.write_unaligned(match step {
            1 => from.cast::<[T; N]>().read_unaligned(),
            0 => [*from; N],
            _ => std::array::from_fn(|i| *from.offset(i as isize * step)),
        });
    }
}

/// Copies bytes in steps of `STEP`, of which the last two may share some.
///
/// # Safety
/// There are so many bytes, at least `STEP`, to read and to write, which do not overlap.
#[inline(always)]
unsafe fn by_steps<const STEP: usize>(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: the caller vouches for the bytes.
    unsafe {
        let step = |at: usize| to.add(at).cast::<[u8; STEP]>().write(from.add(at).cast::<[u8; STEP]>().read());
        let mut at = 0;
        while at + STEP < bytes {
            step(at);
            at += STEP;
        }
        step(bytes - STEP);
    }
}

/// Writes one element to places side by side, as [`by_steps`] copies.
///
/// # Safety
/// There is room for `n` elements, at least `COUNT`.
#[inline(always)]
unsafe fn filled<T: Copy, const COUNT: usize>(value: T, to: *mut T, n: usize) {
    // SAFETY: the caller vouches for the elements.
    unsafe {
        let mut at = 0;
        while at + COUNT < n {
            to.add(at).cast::<[T; COUNT]>().write_unaligned([value; COUNT]);
            at += COUNT;
        }
        to.add(n - COUNT).cast::<[T; COUNT]>().write_unaligned([value; COUNT]);
    }
}
