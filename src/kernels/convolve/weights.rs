//! Gradients of weights: sums over all images of results times the elements they meet, along runs of both.

use super::pass::Pass;
use super::tile::{self, Meeting};
use super::{BEHIND, LAID, NoMemory, Room, Shape, lay};
use crate::kernels::gemm::Float;
use crate::kernels::parallel::{self, Apart};
use crate::memory::scratch;

/// `w[o][i][k] = sum over n and p of y[n][o][p] x[n][i][stride p + dilation k - padding]`: the gradient of the weights of
/// [`super::correlate`], where `y` is the gradient of the result.
///
/// # Errors
/// Where there is no memory.
///
/// # Safety
/// As [`super::correlate`]; `w` is writable.
pub unsafe fn weigh<T: Float>(shape: &Shape, y: *const T, x: *const T, w: *mut T) -> Result<(), NoMemory> {
    let count = shape.groups * shape.outputs * shape.inputs * shape.taps();
    let pass = Pass::forward(&shape.axes);
    let [_, b, c] = pass.sides.each_ref();
    let narrow = c.len * 5 < c.count.next_multiple_of(T::LANES) * 4;
    // SAFETY: the caller's.
    unsafe {
        (0..count).for_each(|i| *w.add(i) = T::ZERO);
        if count == 0 || shape.images == 0 || shape.y().contains(&0) {
            return Ok(());
        }
        if narrow && b.count > 1 {
            weigh_as(shape, &pass, Runs::Planes, y, x, w)?;
            let sums = std::slice::from_raw_parts_mut(w, count);
            if sums.iter().all(|s| s.is_finite()) {
                return Ok(());
            }
            // Between rows zeros meet what may be no number: again, without.
            sums.fill(T::ZERO);
        }
        weigh_as(shape, &pass, Runs::Rows, y, x, w)
    }
}

/// What of the results lies in one run.
#[derive(Clone, Copy, PartialEq)]
enum Runs {
    /// A row, or all where rows lie one behind another in the source too.
    Rows,
    /// All rows of a plane, with zeros between them.
    Planes,
}

/// # Safety
/// As [`weigh`].
unsafe fn weigh_as<T: Float>(
    shape: &Shape,
    pass: &Pass,
    runs: Runs,
    y: *const T,
    x: *const T,
    w: *mut T,
) -> Result<(), NoMemory> {
    let (groups, inputs, outputs) = (shape.groups, shape.inputs, shape.outputs);
    let (size, channel) = (shape.y(), pass.channel());
    let image = (groups * inputs).saturating_mul(channel);
    if image > isize::MAX as usize {
        return Err(NoMemory(image));
    }
    let taps = pass.taps(shape.kernel());
    let mut offsets = scratch(0, inputs * taps.len());
    (0..inputs).for_each(|c| taps.iter().for_each(|&(k, at)| offsets[c * taps.len() + k] = c * channel + at));
    let [a, b, c] = pass.sides.each_ref();
    let is_flat = c.len == c.count && (b.len == b.count || a.count == 1);
    // Rows of results in a run, elements of a row, and from one row to the next.
    let (rows, row, step) = match runs {
        Runs::Rows if is_flat => (1, size.iter().product(), 0),
        Runs::Rows => (1, size[2], 0),
        Runs::Planes => (size[1], size[2], c.len),
    };
    let length = (rows - 1) * step + row;
    let pitch = length.next_multiple_of(T::LANES);
    let count = size.iter().product::<usize>() / (rows * row);
    let turned = groups * outputs * count * pitch;
    let at_once = (LAID / size_of::<T>() / image.saturating_add(turned).max(1)).clamp(1, shape.images);
    let laid = Room::new(at_once.saturating_mul(image).saturating_add(BEHIND * T::LANES))?;
    let left = Room::new(at_once * turned)?;
    let source = Apart(y.cast_mut());
    for first in (0..shape.images).step_by(at_once) {
        let images = at_once.min(shape.images - first);
        // SAFETY: the rooms are as large as said; threads write to different runs and sums.
        unsafe {
            (0..BEHIND * T::LANES).for_each(|i| *laid.at(at_once * image + i) = T::ZERO);
            lay(pass, (x, shape.x()), first * groups * inputs, images * groups * inputs, &laid);
            parallel::for_each_range(images * groups * outputs * count, (1 << 15) / pitch + 1, |start, end| {
                for run in start..end {
                    let to = std::slice::from_raw_parts_mut(left.at(run * pitch), pitch);
                    to.fill(T::ZERO);
                    for r in 0..rows {
                        let from =
                            source.get().wrapping_add(((first * groups * outputs * count + run) * rows + r) * row);
                        to[r * step..][..row].copy_from_slice(std::slice::from_raw_parts(from, row));
                    }
                }
            });
            let place = |r: usize| match runs {
                Runs::Rows if is_flat => 0,
                Runs::Rows => pass.place([r / size[1], r % size[1], 0]),
                Runs::Planes => pass.place([r, 0, 0]),
            };
            let of_image = |n: usize| (0..count).map(move |r| (n * turned + r * pitch, n * image + place(r)));
            let all: Vec<(usize, usize)> = (0..images).flat_map(of_image).collect();
            sums(shape, &all, (&left, count * pitch), (&laid, inputs * channel), &offsets, length, w);
        }
    }
    Ok(())
}

/// Rows that share a stretch of offsets, and offsets that share the rows.
const MEETING: (usize, usize) = (16, 48);

/// The sums of all groups, in parts that threads share.
///
/// # Safety
/// The rooms have the rows of all groups, whole vectors from every run on, and `w` has room for the sums.
unsafe fn sums<T: Float>(
    shape: &Shape,
    runs: &[(usize, usize)],
    (left, row): (&Room<T>, usize),
    (right, group): (&Room<T>, usize),
    offsets: &[usize],
    length: usize,
    w: *mut T,
) {
    let (outputs, depth) = (shape.outputs, offsets.len());
    let (high, wide) = (outputs.div_ceil(MEETING.0), depth.div_ceil(MEETING.1));
    let to = Apart(w);
    let cost = outputs.min(MEETING.0) * depth.min(MEETING.1) * runs.len() * length;
    parallel::for_each_range(shape.groups * high * wide, (1 << 17) / cost.max(1) + 1, |start, end| {
        for unit in start..end {
            let (g, part) = (unit / (high * wide), unit % (high * wide));
            let (o, k) = (part / wide * MEETING.0, part % wide * MEETING.1);
            let offsets = &offsets[k..depth.min(k + MEETING.1)];
            // SAFETY: the caller's; parts do not overlap.
            unsafe {
                tile::meet(&Meeting {
                    left: left.at((g * outputs + o) * row),
                    stride: row,
                    rows: MEETING.0.min(outputs - o),
                    right: right.at(g * group),
                    offsets,
                    runs,
                    length,
                    sums: to.get().wrapping_add((g * outputs + o) * depth + k),
                    pitch: depth,
                });
            }
        }
    });
}
