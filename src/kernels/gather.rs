//! Walking strided memory: several operands of one shape, merged into as few dimensions as their strides allow.

use smallvec::SmallVec;

/// Elements of the innermost dimension of a copy from which another is not looked for.
const SHORT: usize = 16;

/// A shape with the strides of `N` operands, the last dimension innermost.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Sizes, merged; at least one dimension.
    pub shape: SmallVec<[usize; 4]>,
    /// Strides by operand, then dimension.
    pub strides: SmallVec<[SmallVec<[isize; 4]>; 4]>,
}

impl Walk {
    /// Drops dimensions of size 1 and merges neighbours over which every operand steps evenly.
    pub fn new(shape: &[usize], operands: &[&[isize]]) -> Walk {
        let mut walk = Walk { shape: SmallVec::new(), strides: operands.iter().map(|_| SmallVec::new()).collect() };
        for (d, &size) in shape.iter().enumerate() {
            if size == 1 {
                continue;
            }
            let last = walk.shape.len().wrapping_sub(1);
            let merges = !walk.shape.is_empty()
                && operands.iter().zip(&walk.strides).all(|(o, s)| s[last] == o[d].wrapping_mul(size as isize));
            if merges {
                walk.shape[last] *= size;
                operands.iter().zip(&mut walk.strides).for_each(|(o, s)| s[last] = o[d]);
            } else {
                walk.shape.push(size);
                operands.iter().zip(&mut walk.strides).for_each(|(o, s)| s.push(o[d]));
            }
        }
        if walk.shape.is_empty() {
            walk.shape.push(1);
            walk.strides.iter_mut().for_each(|s| s.push(0));
        }
        walk
    }

    /// The walk of a copy: in the order in which the target lies in memory, so that what was turned in the same way runs
    /// along both. Where that ends with few elements side by side, a longer dimension along which the source's lie so
    /// comes last.
    pub fn of_copy(shape: &[usize], target: &[isize], source: &[isize]) -> Walk {
        let mut order: SmallVec<[usize; 6]> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(target[d].unsigned_abs()));
        if order.last().is_some_and(|&d| shape[d] < SHORT) {
            let is_run = |d: usize| shape[d] >= SHORT && source[d] == 1 && target[d].unsigned_abs() < SHORT;
            if let Some(at) = order.iter().position(|&d| is_run(d)) {
                order[at..].rotate_left(1);
            }
        }
        let turned = |strides: &[isize]| order.iter().map(|&d| strides[d]).collect::<SmallVec<[isize; 6]>>();
        let sizes: SmallVec<[usize; 6]> = order.iter().map(|&d| shape[d]).collect();
        Walk::new(&sizes, &[&turned(target), &turned(source)])
    }

    /// The size of the innermost dimension.
    #[inline]
    pub fn inner(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// The innermost stride of an operand.
    #[inline]
    pub fn inner_stride(&self, operand: usize) -> isize {
        self.strides[operand][self.shape.len() - 1]
    }

    /// Takes the innermost dimension off, and gives its size and the operands' strides; one of size 1 stands for the last.
    pub fn pop<const N: usize>(&mut self) -> (usize, [isize; N]) {
        let size = self.shape.pop().unwrap_or(1);
        let steps = std::array::from_fn(|o| self.strides[o].pop().unwrap_or(0));
        if self.shape.is_empty() {
            self.shape.push(1);
            self.strides.iter_mut().for_each(|s| s.push(0));
        }
        (size, steps)
    }

    /// True where an operand's elements lie side by side in row-major order.
    pub fn is_row_major(&self, operand: usize) -> bool {
        let mut step = 1;
        self.shape.iter().zip(&self.strides[operand]).rev().all(|(&size, &stride)| {
            let fits = stride == step;
            step *= size as isize;
            fits
        })
    }

    /// The offset of an operand's element with the given row-major number.
    #[inline]
    pub fn offset(&self, operand: usize, linear: usize) -> isize {
        let strides = &self.strides[operand];
        match (&self.shape[..], &strides[..]) {
            ([_], [stride]) => stride * linear as isize,
            // Most have two dimensions, and operands share the division then.
            (&[_, size], [outer, inner]) => outer * (linear / size) as isize + inner * (linear % size) as isize,
            _ => self.offset_of_many(operand, linear),
        }
    }

    fn offset_of_many(&self, operand: usize, mut linear: usize) -> isize {
        let mut offset = 0;
        for d in (0..self.shape.len()).rev() {
            let (rest, index) = (linear / self.shape[d], linear % self.shape[d]);
            offset += self.strides[operand][d] * index as isize;
            linear = rest;
        }
        offset
    }

    /// Calls `run(offsets, length)` for each stretch of the innermost dimension within elements `start..end`, with the offsets
    /// of the given operands.
    #[inline]
    pub fn each<const N: usize>(
        &self,
        operands: [usize; N],
        start: usize,
        end: usize,
        mut run: impl FnMut([isize; N], usize),
    ) {
        if start >= end {
            return;
        }
        let (inner, last) = (self.inner(), self.shape.len() - 1);
        let mut within = start % inner;
        let mut at = operands.map(|o| self.offset(o, start));
        // The index of all dimensions but the innermost, which counts on like the digits of a number.
        let mut index: SmallVec<[usize; 4]> = SmallVec::from_elem(0, last);
        let mut rest = start / inner;
        for d in (0..last).rev() {
            index[d] = rest % self.shape[d];
            rest /= self.shape[d];
        }
        let mut left = end - start;
        loop {
            let length = (inner - within).min(left);
            run(at, length);
            left -= length;
            if left == 0 {
                return;
            }
            operands.iter().zip(&mut at).for_each(|(&o, at)| *at -= self.inner_stride(o) * within as isize);
            within = 0;
            for d in (0..last).rev() {
                index[d] += 1;
                operands.iter().zip(&mut at).for_each(|(&o, at)| *at += self.strides[o][d]);
                if index[d] < self.shape[d] {
                    break;
                }
                let back = self.shape[d] as isize;
                operands.iter().zip(&mut at).for_each(|(&o, at)| *at -= self.strides[o][d] * back);
                index[d] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_dimensions_merge() {
        let walk = Walk::new(&[2, 3, 4], &[&[12, 4, 1], &[12, 4, 1]]);
        assert_eq!(walk.shape.as_slice(), &[24]);
        let walk = Walk::new(&[2, 3, 4], &[&[12, 4, 1], &[0, 4, 1]]);
        assert_eq!(walk.shape.as_slice(), &[2, 12]);
        assert!(walk.is_row_major(0) && !walk.is_row_major(1));
        let walk = Walk::new(&[], &[&[]]);
        assert_eq!(walk.shape.as_slice(), &[1]);
    }

    #[test]
    fn dimensions_come_off_from_within() {
        let mut walk = Walk::new(&[3, 4], &[&[1, 3], &[9, 2]]);
        assert_eq!(walk.pop(), (4, [3, 2]));
        assert_eq!(walk.pop(), (3, [1, 9]));
        assert_eq!((walk.inner(), walk.pop()), (1, (1, [0, 0])));
    }

    #[test]
    fn copies_run_along_both() {
        let walk = Walk::of_copy(&[30, 40], &[1, 30], &[1, 31]);
        assert_eq!((walk.shape.as_slice(), walk.inner_stride(0), walk.inner_stride(1)), (&[40, 30][..], 1, 1));
        let walk = Walk::of_copy(&[5, 40, 2], &[80, 2, 1], &[80, 1, 40]);
        assert_eq!((walk.shape.as_slice(), walk.inner_stride(0), walk.inner_stride(1)), (&[5, 2, 40][..], 2, 1));
        let walk = Walk::of_copy(&[1], &[7], &[0]);
        assert_eq!((walk.shape.as_slice(), walk.inner_stride(0)), (&[1][..], 0));
    }

    #[test]
    fn runs_cover_a_range() {
        let walk = Walk::new(&[3, 4], &[&[1, 3]]);
        let mut seen = Vec::new();
        walk.each([0], 2, 11, |[offset], n| (0..n).for_each(|i| seen.push(offset + 3 * i as isize)));
        assert_eq!(seen, vec![6, 9, 1, 4, 7, 10, 2, 5, 8]);
    }

    #[test]
    fn runs_of_several_operands() {
        let walk = Walk::new(&[3, 2, 4], &[&[1, 100, 3], &[8, 4, 1]]);
        let mut seen = Vec::new();
        walk.each([1, 0], 3, 20, |[b, a], n| (0..n as isize).for_each(|i| seen.push((a + 3 * i, b + i))));
        let all: Vec<_> = (3..20).map(|i| (walk.offset(0, i), i as isize)).collect();
        assert_eq!(seen, all);
    }
}
