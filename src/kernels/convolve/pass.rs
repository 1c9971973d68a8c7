//! A pass: the source laid out for it, where in it the kernel's elements meet results, and the results in blocks.

use super::Size;
use super::axis::{Axis, Side};

/// Three dimensions of a pass.
pub(super) struct Pass {
    pub sides: [Side; 3],
}

/// A block of results, whose places in the source are one run.
pub(super) struct Block {
    /// The first result in each dimension.
    pub at: Size,
    /// Rows of results.
    pub rows: usize,
    /// Results in a row.
    pub columns: usize,
}

/// Results in a block of all rows of sums: as many as stay in the second-level cache.
const SUMS: usize = 24 << 10;

impl Pass {
    pub fn forward(axes: &[Axis; 3]) -> Pass {
        Pass { sides: axes.each_ref().map(Axis::forward) }
    }

    /// The passes that together give `x` from `y`, one for each place modulo the strides.
    pub fn backward(axes: &[Axis; 3]) -> Vec<Pass> {
        let [a, b, c] = axes;
        let mut all = Vec::new();
        for i in a.phases() {
            for j in b.phases() {
                all.extend(
                    c.phases().into_iter().map(|k| Pass { sides: [a.backward(i), b.backward(j), c.backward(k)] }),
                );
            }
        }
        all
    }

    /// True where no element of the kernel takes part.
    pub fn is_empty(&self) -> bool {
        self.sides.iter().any(|s| s.taps.is_empty())
    }

    /// The elements of one phase.
    pub fn phase(&self) -> usize {
        self.sides.iter().map(|s| s.len).product()
    }

    /// The elements of one channel of the source as it is laid out; where that is no number, more than any memory has.
    pub fn channel(&self) -> usize {
        self.sides.iter().fold(1, |n: usize, s| n.saturating_mul(s.len).saturating_mul(s.phases.len()))
    }

    /// The place in a phase of what the result at `at` meets first.
    pub fn place(&self, at: Size) -> usize {
        (at[0] * self.sides[1].len + at[1]) * self.sides[2].len + at[2]
    }

    /// The elements of the kernel that take part: which, and where in a channel the first result meets each.
    pub fn taps(&self, kernel: Size) -> Vec<(usize, usize)> {
        let [a, b, c] = &self.sides;
        let mut all = Vec::with_capacity(a.taps.len() * b.taps.len() * c.taps.len());
        for i in &a.taps {
            for j in &b.taps {
                for k in &c.taps {
                    let phase = (i.phase * b.phases.len() + j.phase) * c.phases.len() + k.phase;
                    let element = (i.kernel * kernel[1] + j.kernel) * kernel[2] + k.kernel;
                    all.push((element, phase * self.phase() + self.place([i.shift, j.shift, k.shift])));
                }
            }
        }
        all
    }

    /// The results, cut into blocks for so many rows of sums.
    pub fn blocks(&self, sums: usize) -> Vec<Block> {
        let [a, b, c] = &self.sides;
        let block = (SUMS / sums).clamp(256, 2048);
        let rows = (block / c.len).clamp(1, b.count);
        // Only single rows are cut: the rest of a row lies between its parts.
        let columns = if rows > 1 { c.count } else { c.count.min(block) };
        let mut all = Vec::new();
        for i in 0..a.count {
            for j in (0..b.count).step_by(rows) {
                for k in (0..c.count).step_by(columns) {
                    let (rows, columns) = (rows.min(b.count - j), columns.min(c.count - k));
                    all.push(Block { at: [i, j, k], rows, columns });
                }
            }
        }
        all
    }

    /// The places in the source from a block's first result to its last.
    pub fn span(&self, block: &Block) -> usize {
        (block.rows - 1) * self.sides[2].len + block.columns
    }

    /// Lays one channel of the source, of a size, out in phases with zeros around it.
    pub fn lay<T: Copy>(&self, from: &[T], size: Size, to: &mut [T], zero: T) {
        let [a, b, c] = &self.sides;
        let mut rows = to.chunks_exact_mut(c.len.max(1));
        for i in 0..a.phases.len() {
            for j in 0..b.phases.len() {
                for k in 0..c.phases.len() {
                    let (held, first) = c.held(k, size[2]);
                    for d in 0..a.len {
                        for h in 0..b.len {
                            let Some(row) = rows.next() else { return };
                            let at = a.element(i, d, size[0]).zip(b.element(j, h, size[1]));
                            let Some((d, h)) = at else {
                                row.fill(zero);
                                continue;
                            };
                            let from = &from[(d * size[1] + h) * size[2]..][..size[2]];
                            row[..held.start].fill(zero);
                            row[held.end..].fill(zero);
                            if !held.is_empty() {
                                every(&from[first..], c.step, &mut row[held.clone()]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every `step`-th element of a slice.
fn every<T: Copy>(from: &[T], step: usize, to: &mut [T]) {
    if step == 1 {
        to.copy_from_slice(&from[..to.len()]);
    } else {
        to.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, from)| *to = *from);
    }
}
