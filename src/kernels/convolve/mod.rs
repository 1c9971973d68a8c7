//! Convolutions in up to three dimensions, their gradients, and sums of what meets.
//!
//! No element of the source is copied more than once: it is laid out with zeros around it (and, where results are more
//! than one element apart, in phases) such that a row of results meets a row of the source for every element of the
//! kernel. What is left is a product of matrices of which one is rows of the source at offsets. The order of every sum
//! depends on the sizes alone.

mod axis;
mod pass;
mod tile;
mod weights;

use std::ptr::NonNull;

pub use axis::Axis;
use pass::{Block, Pass};
use tile::Strip;
pub use weights::weigh;

pub use super::gemm::Float as Number;
use super::gemm::{Product, with_room};
use super::parallel::{self, Apart};
use crate::memory::pool;

/// Sizes in three dimensions.
pub type Size = [usize; 3];

/// What a convolution is about, apart from its elements.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The dimensions.
    pub axes: [Axis; 3],
    /// How many images there are.
    pub images: usize,
    /// Groups of channels that have nothing to do with each other.
    pub groups: usize,
    /// Channels of `x` in a group.
    pub inputs: usize,
    /// Channels of `y` in a group.
    pub outputs: usize,
}

impl Shape {
    fn kernel(&self) -> Size {
        self.axes.map(|a| a.kernel)
    }

    fn taps(&self) -> usize {
        self.kernel().iter().product()
    }

    fn x(&self) -> Size {
        self.axes.map(|a| a.x)
    }

    fn y(&self) -> Size {
        self.axes.map(|a| a.y)
    }
}

/// There was no memory.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory(pub usize);

/// Memory for a kernel's own use.
struct Room<T> {
    data: NonNull<T>,
    bytes: usize,
}

// SAFETY: the room is plain memory; its users keep what they write apart.
unsafe impl<T: Sync> Sync for Room<T> {}

impl<T> Room<T> {
    fn new(len: usize) -> Result<Room<T>, NoMemory> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(NoMemory(usize::MAX))?;
        let data = pool::allocate_aligned(bytes).ok_or(NoMemory(bytes))?;
        Ok(Room { data: data.cast(), bytes })
    }

    fn at(&self, offset: usize) -> *mut T {
        self.data.as_ptr().wrapping_add(offset)
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        // SAFETY: the block came from `allocate` with this size.
        unsafe { pool::free_aligned(self.data.cast(), self.bytes) };
    }
}

/// Bytes of source that are laid out at once.
const LAID: usize = 4 << 20;
/// Vectors that may be read behind the last element.
const BEHIND: usize = 1;
/// Rows of a block of sums.
const ROWS: usize = 16 * tile::ROWS;
/// Terms that are added in one chain.
const DEPTH: usize = 512;

/// `y = w * x + bias`: `y[n][o][p] = bias[o] + sum over i and k of w[o][i][k] x[n][i][stride p + dilation k - padding]`.
///
/// # Errors
/// Where there is no memory.
///
/// # Safety
/// All have the elements that the shape says, row-major; `y` need not be initialised.
pub unsafe fn correlate<T: Product>(
    shape: &Shape,
    x: *const T,
    w: *const T,
    bias: Option<*const T>,
    y: *mut T,
) -> Result<(), NoMemory> {
    let taps = shape.taps();
    let job = Job {
        shape,
        pass: Pass::forward(&shape.axes),
        source: (x, shape.x(), shape.inputs),
        result: (y, shape.y(), shape.outputs),
        weights: (w, shape.inputs * taps, taps),
        bias,
    };
    // SAFETY: the caller's.
    unsafe { job.run() }
}

/// `x` as the sum of what each element of `y` adds to it: the transpose of [`correlate`].
///
/// # Errors
/// Where there is no memory.
///
/// # Safety
/// As [`correlate`]; `x` need not be initialised.
pub unsafe fn spread<T: Product>(
    shape: &Shape,
    y: *const T,
    w: *const T,
    bias: Option<*const T>,
    x: *mut T,
) -> Result<(), NoMemory> {
    let taps = shape.taps();
    for pass in Pass::backward(&shape.axes) {
        let job = Job {
            shape,
            pass,
            source: (y, shape.y(), shape.outputs),
            result: (x, shape.x(), shape.inputs),
            weights: (w, taps, shape.inputs * taps),
            bias,
        };
        // SAFETY: the caller's.
        unsafe { job.run()? };
    }
    Ok(())
}

/// A pass over all images.
struct Job<'a, T> {
    shape: &'a Shape,
    pass: Pass,
    /// The elements, the size of a channel, and the channels of a group.
    source: (*const T, Size, usize),
    result: (*mut T, Size, usize),
    /// The elements, and the steps from one channel of the result, and of the source, to the next.
    weights: (*const T, usize, usize),
    bias: Option<*const T>,
}

// SAFETY: threads read the same elements and write to different ones.
unsafe impl<T: Sync> Sync for Job<'_, T> {}

impl<T: Product> Job<'_, T> {
    /// # Safety
    /// Source, result, weights and bias have the elements that the shape and the pass say, and nobody else writes to the
    /// result.
    unsafe fn run(&self) -> Result<(), NoMemory> {
        let (channels, rows, groups) = (self.source.2, self.result.2, self.shape.groups);
        let images = self.shape.images;
        if images == 0 || rows * groups == 0 || self.result.1.contains(&0) {
            return Ok(());
        }
        let channel = self.pass.channel();
        let image = (groups * channels).saturating_mul(channel);
        let at_once = (LAID / size_of::<T>() / image.max(1)).clamp(1, images);
        let laid = Room::new(at_once.saturating_mul(image).saturating_add(BEHIND * T::LANES))?;
        // Places are numbers: there is memory for them.
        let taps = if self.pass.is_empty() { vec![] } else { self.pass.taps(self.shape.kernel()) };
        let depth = channels * taps.len();
        let offsets: Vec<usize> =
            (0..channels).flat_map(|c| taps.iter().map(move |&(_, at)| c * channel + at)).collect();
        let weights = Room::new(groups * rows * depth)?;
        // SAFETY: the rooms are as large as said.
        unsafe {
            (0..BEHIND * T::LANES).for_each(|i| *laid.at(at_once * image + i) = T::ZERO);
            parallel::for_each_range(groups, 1 + (1 << 16) / (rows * depth).max(1), |from, to| {
                (from..to).for_each(|g| self.pack(g, &taps, weights.at(g * rows * depth)));
            });
            for first in (0..images).step_by(at_once) {
                let count = at_once.min(images - first);
                if depth > 0 {
                    lay(
                        &self.pass,
                        (self.source.0, self.source.1),
                        first * groups * channels,
                        count * groups * channels,
                        &laid,
                    );
                }
                self.blocks(first, count, &laid, &weights, &offsets);
            }
        }
        Ok(())
    }

    /// The weights of a group in the order in which tiles read them.
    ///
    /// # Safety
    /// The weights have those of the group at the taps, and `to` has room for all of them, row by row.
    unsafe fn pack(&self, group: usize, taps: &[(usize, usize)], to: *mut T) {
        let (channels, rows) = (self.source.2, self.result.2);
        let from = self.weights.0.wrapping_add(group * rows * channels * self.shape.taps());
        for (first, count) in tile::tiles(rows) {
            let from = from.wrapping_add(first * self.weights.1);
            // SAFETY: the caller's.
            unsafe {
                let to = to.add(first * channels * taps.len());
                match count {
                    6 => self.pack_tile::<6>(from, taps, to),
                    4 => self.pack_tile::<4>(from, taps, to),
                    2 => self.pack_tile::<2>(from, taps, to),
                    _ => self.pack_tile::<1>(from, taps, to),
                }
            }
        }
    }

    /// # Safety
    /// `from` has `R` rows of weights for all channels at the taps, and `to` room for as many elements.
    #[inline]
    unsafe fn pack_tile<const R: usize>(&self, from: *const T, taps: &[(usize, usize)], mut to: *mut T) {
        let (_, row_step, channel_step) = self.weights;
        for c in 0..self.source.2 {
            for &(tap, _) in taps {
                for r in 0..R {
                    // SAFETY: the caller's.
                    unsafe {
                        *to = *from.add(r * row_step + c * channel_step + tap);
                        to = to.add(1);
                    }
                }
            }
        }
    }

    /// All blocks of results of some images.
    ///
    /// # Safety
    /// `laid` has the channels of `count` images from `first` on, whole vectors behind every offset, and `weights` those of
    /// all groups; nobody else writes to these images' results.
    unsafe fn blocks(&self, first: usize, count: usize, laid: &Room<T>, weights: &Room<T>, offsets: &[usize]) {
        let (rows, groups) = (self.result.2, self.shape.groups);
        let blocks = self.pass.blocks(rows);
        let planes = count * groups * blocks.len();
        // A few images leave threads idle unless rows are cut finer.
        let enough = 4 * parallel::num_threads();
        let fine = (rows * planes / enough).clamp(2 * tile::ROWS, ROWS) / tile::ROWS * tile::ROWS;
        let bands = rows.div_ceil(fine);
        let cost = fine.min(rows) * self.pass.span(&blocks[0]) * offsets.len().max(1);
        parallel::for_each_range(planes * bands, (1 << 17) / cost.max(1) + 1, |from, to| {
            for unit in from..to {
                let (unit, band) = (unit / bands, unit % bands);
                let (image, block) = (unit / blocks.len(), &blocks[unit % blocks.len()]);
                let (n, g) = (image / groups, image % groups);
                let from = laid.at(image * self.source.2 * self.pass.channel());
                let rows = band * fine..rows.min((band + 1) * fine);
                // SAFETY: the rooms hold what the offsets reach.
                unsafe { self.block((first + n, g), block, rows, from, weights, offsets) };
            }
        });
    }

    /// # Safety
    /// `laid` has the channels of one group of the image, whole vectors behind every offset; `weights` has those of all
    /// groups; nobody else writes to this block of the result.
    unsafe fn block(
        &self,
        (image, group): (usize, usize),
        block: &Block,
        rows: std::ops::Range<usize>,
        laid: *const T,
        weights: &Room<T>,
        offsets: &[usize],
    ) {
        let (all_rows, depth) = (self.result.2, offsets.len());
        let width = self.pass.span(block).next_multiple_of(T::LANES);
        with_room(rows.len() * width, |sums: *mut T| {
            let pieces = depth.div_ceil(DEPTH);
            // SAFETY: the room holds the sums; the rest is the caller's.
            unsafe {
                for piece in 0..pieces {
                    let (start, end) = (depth * piece / pieces, depth * (piece + 1) / pieces);
                    // A tile's weights lie offset by offset: of all tiles, only whole ones precede a band.
                    for (first, count) in tile::tiles(rows.len()) {
                        let row = rows.start + first;
                        let weights = weights.at(group * all_rows * depth + row * depth + start * count);
                        tile::strip(&Strip {
                            source: laid.add(self.pass.place(block.at)),
                            offsets: offsets.as_ptr().add(start),
                            depth: end - start,
                            weights,
                            rows: count,
                            sums: sums.add(first * width),
                            width,
                            adds: piece > 0,
                        });
                    }
                }
                if pieces == 0 {
                    (0..rows.len() * width).for_each(|i| *sums.add(i) = T::ZERO);
                }
                for (i, row) in rows.enumerate() {
                    let channel = group * all_rows + row;
                    self.store(image, channel, block, sums.add(i * width));
                }
            }
        });
    }

    /// Writes one row of sums to where its results belong.
    ///
    /// # Safety
    /// `sums` has the rows of the block, and the result and the bias have the image and the channel.
    unsafe fn store(&self, image: usize, channel: usize, block: &Block, sums: *const T) {
        let (result, size, rows) = self.result;
        let sides = &self.pass.sides;
        let plane = (image * self.shape.groups * rows + channel) * size.iter().product::<usize>();
        let at: Size = std::array::from_fn(|d| sides[d].first + sides[d].every * block.at[d]);
        for row in 0..block.rows {
            // SAFETY: the results lie in the plane.
            unsafe {
                let from = std::slice::from_raw_parts(sums.add(row * sides[2].len), block.columns);
                let start = (at[0] * size[1] + at[1] + sides[1].every * row) * size[2] + at[2];
                let to = result.add(plane + start);
                let step = sides[2].every;
                match self.bias {
                    None if step == 1 => std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()),
                    None => from.iter().enumerate().for_each(|(i, &sum)| *to.add(i * step) = sum),
                    Some(bias) => {
                        let bias = *bias.add(channel);
                        from.iter().enumerate().for_each(|(i, &sum)| *to.add(i * step) = sum.plus(bias));
                    }
                }
            }
        }
    }
}

/// Lays channels out one after another.
///
/// # Safety
/// `from` has the channels from `first` on, `count` of them, and `to` room for them as the pass lays them out.
unsafe fn lay<T: Product>(pass: &Pass, (from, size): (*const T, Size), first: usize, count: usize, to: &Room<T>) {
    let (plane, channel) = (size.iter().product::<usize>(), pass.channel());
    let from = Apart(from.cast_mut());
    parallel::for_each_range(count, (1 << 15) / channel.max(1) + 1, |start, end| {
        for c in start..end {
            // SAFETY: the caller's; threads write to different channels.
            unsafe {
                let source = std::slice::from_raw_parts(from.get().wrapping_add((first + c) * plane), plane);
                let target = std::slice::from_raw_parts_mut(to.at(c * channel), channel);
                pass.lay(source, size, target, T::ZERO);
            }
        }
    });
}
