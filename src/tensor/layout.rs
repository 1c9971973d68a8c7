//! Where a tensor's elements lie: shape, strides and offset, and the pure functions on them.

use smallvec::SmallVec;

use crate::error::{Error, Result};

/// Sizes, one a dimension; up to four stay inline.
pub type Shape = SmallVec<[usize; 4]>;
/// Steps in elements, one a dimension; up to four stay inline.
pub type Strides = SmallVec<[isize; 4]>;

/// Shape, strides and offset of a tensor in its storage, counted in elements.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Layout {
    /// Sizes.
    pub shape: Shape,
    /// Steps between neighbours along each dimension.
    pub strides: Strides,
    /// The first element.
    pub offset: usize,
}

impl Clone for Layout {
    /// Copies of slices of numbers; the lists themselves would clone one number after another.
    #[inline]
    fn clone(&self) -> Layout {
        let (shape, strides) = (Shape::from_slice(&self.shape), Strides::from_slice(&self.strides));
        Layout { shape, strides, offset: self.offset }
    }
}

/// The dimensions from the innermost in memory to the outermost for operands of a shape, as torch finds them: by insertion
/// of one after another. The first operand that does not repeat along two dimensions decides between them; those that all
/// repeat along stay where they are.
pub fn memory_order(shape: &[usize], operands: &[&[isize]]) -> SmallVec<[usize; 8]> {
    let mut order: SmallVec<[usize; 8]> = (0..shape.len()).rev().collect();
    let comes_after = |a: usize, b: usize| {
        operands.iter().find_map(|strides| match (strides[a], strides[b]) {
            (0, _) | (_, 0) => None,
            (s, t) if s != t => Some(s > t),
            _ => (shape[a] > shape[b]).then_some(true),
        })
    };
    for i in 1..order.len() {
        let mut at = i;
        for before in (0..i).rev() {
            match comes_after(order[before], order[at]) {
                Some(true) => {
                    order.swap(before, at);
                    at = before;
                }
                Some(false) => break,
                None => {}
            }
        }
    }
    order
}

/// Strides without gaps or overlap for a shape whose dimensions lie in memory in this order, the innermost first.
pub fn strides_in(shape: &[usize], order: &[usize]) -> Strides {
    let (mut strides, mut step): (Strides, isize) = (SmallVec::from_elem(1, shape.len()), 1);
    for &d in order {
        strides[d] = step;
        step *= shape[d].max(1) as isize;
    }
    strides
}

/// The dimensions from the outermost in memory to the innermost where images or volumes lie with their channels last.
pub fn channels_last(rank: usize) -> Option<&'static [usize]> {
    match rank {
        4 => Some(&[0, 2, 3, 1]),
        5 => Some(&[0, 2, 3, 4, 1]),
        _ => None,
    }
}

/// Elements of a shape. The product was checked when the shape was made.
#[inline]
pub fn numel(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The number of elements, or an error where the product of the sizes, in bytes, leaves the address range.
pub fn checked_numel(op: &'static str, shape: &[usize], element: usize) -> Result<usize> {
    let overflow = || Error::SizeOverflow { op, shape: shape.iter().map(|&s| s as isize).collect() };
    // Zero sizes hide an overflow of the others, which torch's strides would still meet.
    let element = if shape.contains(&0) { 1 } else { element.max(1) };
    let product = shape.iter().try_fold(element, |n, &s| n.checked_mul(s.max(1)));
    match product {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(numel(shape)),
        _ => Err(overflow()),
    }
}

/// Strides of a row-major tensor.
#[inline]
pub fn contiguous_strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = SmallVec::from_elem(1, shape.len());
    let mut step = 1isize;
    for i in (0..shape.len()).rev() {
        strides[i] = step;
        step = step.wrapping_mul(shape[i].max(1) as isize);
    }
    strides
}

/// The shape both broadcast to: aligned at the right, equal or 1. An error also where no memory could hold it.
pub fn broadcast(op: &'static str, left: &[usize], right: &[usize]) -> Result<Shape> {
    if left == right {
        return Ok(Shape::from_slice(left));
    }
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], i: usize| if i + shape.len() >= rank { shape[i + shape.len() - rank] } else { 1 };
    let shape: Shape = (0..rank)
        .map(|i| match (size(left, i), size(right, i)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(Error::Broadcast { op, left: left.to_vec(), right: right.to_vec(), dim: i }),
        })
        .collect::<Result<_>>()?;
    checked_numel(op, &shape, WIDEST)?;
    Ok(shape)
}

/// Bytes of the largest elements that are computed with.
const WIDEST: usize = 8;

/// A dimension counted from either end as one from the front. A tensor without dimensions takes 0 and -1.
pub fn wrap_dim(op: &'static str, dim: isize, rank: usize) -> Result<usize> {
    let bound = rank.max(1) as isize;
    if dim < -bound || dim >= bound {
        return Err(Error::DimRange { op, dim, rank });
    }
    Ok(if dim < 0 { dim + bound } else { dim } as usize)
}

/// [`wrap_dim`] for what needs a dimension to be there.
pub fn wrap_existing_dim(op: &'static str, dim: isize, rank: usize) -> Result<usize> {
    if rank == 0 { Err(Error::NoDimensions { op, dim }) } else { wrap_dim(op, dim, rank) }
}

/// As many dimensions as tensors may have that are reduced over some of them.
const MOST_DIMS: usize = 64;

/// Dimensions to reduce over as a mask; none given means all.
pub fn dim_mask(op: &'static str, dims: &[isize], rank: usize) -> Result<SmallVec<[bool; 8]>> {
    if rank > MOST_DIMS && !dims.is_empty() {
        let what = format!("only tensors with up to {MOST_DIMS} dims are supported, got {rank}");
        return Err(Error::Invalid { op, what });
    }
    let mut mask = SmallVec::from_elem(dims.is_empty(), rank.max(1));
    let wrapped = dims.iter().map(|&dim| wrap_dim(op, dim, rank)).collect::<Result<SmallVec<[usize; 8]>>>()?;
    for d in wrapped {
        if std::mem::replace(&mut mask[d], true) {
            return Err(Error::DimRepeated { op, dim: d });
        }
    }
    mask.truncate(rank);
    Ok(mask)
}

impl Layout {
    /// Row-major, from the start of its storage.
    #[inline]
    pub fn contiguous(shape: &[usize]) -> Self {
        Layout { shape: Shape::from_slice(shape), strides: contiguous_strides(shape), offset: 0 }
    }

    /// Elements.
    #[inline]
    pub fn numel(&self) -> usize {
        numel(&self.shape)
    }

    /// Dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// True where the elements lie in row-major order without gaps; steps of dimensions of size 1 do not matter.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1isize;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 {
                if stride != step {
                    // What has no elements lies side by side however it is seen.
                    return self.shape.contains(&0);
                }
                step = step.wrapping_mul(size as isize);
            }
        }
        true
    }

    /// True where the elements lie without gaps with their channels last; steps of dimensions of size 1 do not matter.
    pub fn is_channels_last(&self) -> bool {
        channels_last(self.rank()).is_some_and(|order| self.permute(order).is_contiguous())
    }

    /// True where the strides order the dimensions with the channels last, and could not as well be those of row-major
    /// order: what torch takes for an image of that format.
    pub fn suggests_channels_last(&self) -> bool {
        let Some(order) = channels_last(self.rank()).filter(|_| self.strides[1] != 0) else { return false };
        let mut step = 0;
        for &d in order.iter().rev() {
            let (size, stride) = (self.shape[d], self.strides[d]);
            if size == 0 || stride < step || d == 0 && step == self.strides[1] {
                return false;
            }
            step = stride * size as isize;
        }
        true
    }

    /// True where the strides are those of row-major order, of dimensions of size 1 too.
    pub fn is_row_major(&self) -> bool {
        let mut step = 1isize;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = stride == step;
            step = step.wrapping_mul(size.max(1) as isize);
            fits
        })
    }

    /// True where no two indices meet in one element: sorted by stride, each dimension steps over all smaller ones.
    pub fn is_non_overlapping(&self) -> bool {
        let mut dims: SmallVec<[(isize, usize); 8]> =
            self.strides.iter().copied().zip(self.shape.iter().copied()).filter(|&(_, s)| s > 1).collect();
        dims.sort_unstable();
        let mut reach = 0isize;
        self.numel() == 0
            || dims.iter().all(|&(stride, size)| {
                let fits = stride > reach;
                reach += stride * (size as isize - 1);
                fits
            })
    }

    /// True where the elements fill their memory without gaps, each its own, in any order of dimensions.
    pub fn is_dense(&self) -> bool {
        self.is_non_overlapping() && self.end() - self.offset == self.numel()
    }

    /// As the function [`memory_order`], of these elements alone.
    pub fn memory_order(&self) -> SmallVec<[usize; 8]> {
        memory_order(&self.shape, &[&self.strides])
    }

    /// Strides without gaps or overlap in the order that these dimensions have in memory.
    pub fn dense_strides(&self) -> Strides {
        strides_in(&self.shape, &self.memory_order())
    }

    /// The same elements under a larger shape: new and 1-sized dimensions repeat with stride 0.
    pub fn broadcast_to(&self, shape: &[usize]) -> Layout {
        let lead = shape.len() - self.rank();
        let strides = (0..shape.len())
            .map(|i| match i.checked_sub(lead) {
                Some(j) if self.shape[j] == shape[i] => self.strides[j],
                _ => 0,
            })
            .collect();
        Layout { shape: Shape::from_slice(shape), strides, offset: self.offset }
    }

    /// The strides under which the same elements show another shape without a copy, if there are any.
    ///
    /// Neighbouring dimensions that step evenly merge into one run; the new dimensions must cut the runs cleanly.
    pub fn view_strides(&self, shape: &[usize]) -> Option<Strides> {
        if self.numel() == 0 {
            return Some(contiguous_strides(shape));
        }
        let mut strides: Strides = SmallVec::from_elem(1, shape.len());
        let mut open = shape.len();
        let mut run = 1usize;
        let mut step = self.strides.last().copied().unwrap_or(1);
        for d in (0..self.rank()).rev() {
            run *= self.shape[d];
            let continues = d > 0 && (self.shape[d - 1] == 1 || self.strides[d - 1] == step * run as isize);
            if continues {
                continue;
            }
            let mut covered = 1usize;
            while open > 0 && (covered < run || shape[open - 1] == 1) {
                open -= 1;
                strides[open] = step * covered as isize;
                covered *= shape[open];
            }
            if covered != run {
                return None;
            }
            if d > 0 {
                step = self.strides[d - 1];
                run = 1;
            }
        }
        Some(strides)
    }

    /// Swaps two dimensions.
    pub fn transpose(&self, a: usize, b: usize) -> Layout {
        let mut out = self.clone();
        out.shape.swap(a, b);
        out.strides.swap(a, b);
        out
    }

    /// Dimensions in another order.
    pub fn permute(&self, dims: &[usize]) -> Layout {
        Layout {
            shape: dims.iter().map(|&d| self.shape[d]).collect(),
            strides: dims.iter().map(|&d| self.strides[d]).collect(),
            offset: self.offset,
        }
    }

    /// One dimension from `start`, `count` elements, every `step`-th.
    pub fn slice(&self, dim: usize, start: usize, count: usize, step: usize) -> Layout {
        let mut out = self.clone();
        out.offset = out.offset.wrapping_add_signed(start as isize * self.strides[dim]);
        out.shape[dim] = count;
        out.strides[dim] = self.strides[dim].wrapping_mul(step as isize);
        out
    }

    /// One index of one dimension, which goes away.
    pub fn select(&self, dim: usize, index: usize) -> Layout {
        if dim == 0 {
            return self.at(&[index]);
        }
        let mut out = self.slice(dim, index, 1, 1);
        out.shape.remove(dim);
        out.strides.remove(dim);
        out
    }

    /// Where the element is that has an index, or the first one of those whose index begins with it.
    pub fn offset_of(&self, index: &[usize]) -> usize {
        let steps: isize = index.iter().zip(&self.strides).map(|(&i, &s)| i as isize * s).sum();
        self.offset.wrapping_add_signed(steps)
    }

    /// One index of each of the first dimensions, which go away.
    pub fn at(&self, index: &[usize]) -> Layout {
        let left = index.len()..;
        let (shape, strides) = (Shape::from_slice(&self.shape[left.clone()]), Strides::from_slice(&self.strides[left]));
        Layout { shape, strides, offset: self.offset_of(index) }
    }

    /// The diagonal of two dimensions, `offset` above the main one, as a new last dimension.
    pub fn diagonal(&self, offset: isize, rows: usize, columns: usize) -> Layout {
        let (m, n) = (self.shape[rows], self.shape[columns]);
        let (down, right) = (offset.min(0).unsigned_abs(), offset.max(0).unsigned_abs());
        let size = m.saturating_sub(down).min(n.saturating_sub(right));
        let mut out = self.clone();
        if size > 0 {
            let start = down as isize * self.strides[rows] + right as isize * self.strides[columns];
            out.offset = out.offset.wrapping_add_signed(start);
        }
        for d in [rows.max(columns), rows.min(columns)] {
            out.shape.remove(d);
            out.strides.remove(d);
        }
        out.shape.push(size);
        out.strides.push(self.strides[rows] + self.strides[columns]);
        out
    }

    /// All stretches of `size` elements along a dimension, one every `step` elements: the dimension counts them, and a new
    /// last one their elements. A tensor without dimensions counts as one of a single element.
    pub fn unfold(&self, dim: usize, size: usize, step: usize) -> Layout {
        let mut out = self.clone();
        if self.rank() == 0 {
            out.shape.push(size);
            out.strides.push(1);
            return out;
        }
        out.shape.push(size);
        out.strides.push(self.strides[dim]);
        out.shape[dim] = (self.shape[dim] - size) / step + 1;
        out.strides[dim] = self.strides[dim].wrapping_mul(step as isize);
        out
    }

    /// A new dimension of size 1 before `dim`.
    pub fn unsqueeze(&self, dim: usize) -> Layout {
        let mut out = self.clone();
        let stride = if dim < self.rank() { self.strides[dim].wrapping_mul(self.shape[dim] as isize) } else { 1 };
        out.shape.insert(dim, 1);
        out.strides.insert(dim, stride);
        out
    }

    /// Without the 1-sized dimensions that `drop` names.
    pub fn squeeze(&self, drop: impl Fn(usize) -> bool) -> Layout {
        let keep = |i: &usize| !(self.shape[*i] == 1 && drop(*i));
        let kept: SmallVec<[usize; 8]> = (0..self.rank()).filter(keep).collect();
        self.permute(&kept)
    }

    /// One past the last element that is reached.
    pub fn end(&self) -> usize {
        if self.numel() == 0 {
            return self.offset;
        }
        let span: isize = self.shape.iter().zip(&self.strides).map(|(&n, &s)| (n as isize - 1) * s.max(0)).sum();
        self.offset + span as usize + 1
    }

    /// The offsets of all elements in row-major order.
    pub fn offsets(&self) -> Offsets<'_> {
        Offsets {
            layout: self,
            index: SmallVec::from_elem(0, self.rank()),
            at: self.offset as isize,
            left: self.numel(),
        }
    }
}

/// Iterator over a layout's elements.
pub struct Offsets<'a> {
    layout: &'a Layout,
    index: SmallVec<[usize; 8]>,
    at: isize,
    left: usize,
}

impl Iterator for Offsets<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let here = self.at as usize;
        for d in (0..self.index.len()).rev() {
            self.index[d] += 1;
            self.at += self.layout.strides[d];
            if self.index[d] < self.layout.shape[d] {
                break;
            }
            self.at -= self.layout.strides[d] * self.layout.shape[d] as isize;
            self.index[d] = 0;
        }
        Some(here)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Offsets<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_aligns_right() {
        assert_eq!(broadcast("add", &[3, 1], &[4]).unwrap().as_slice(), &[3, 4]);
        assert_eq!(broadcast("add", &[0], &[1]).unwrap().as_slice(), &[0]);
        assert!(broadcast("add", &[3], &[4]).is_err());
    }

    #[test]
    fn view_strides_follow_runs() {
        let t = Layout::contiguous(&[2, 3, 4]);
        assert_eq!(t.view_strides(&[6, 4]).unwrap().as_slice(), &[4, 1]);
        assert_eq!(t.view_strides(&[2, 1, 12]).unwrap()[2], 1);
        let u = t.transpose(0, 1);
        assert!(u.view_strides(&[6, 4]).is_none());
        assert_eq!(u.view_strides(&[3, 2, 2, 2]).unwrap().as_slice(), &[4, 12, 2, 1]);
        assert!(u.view_strides(&[3, 8]).is_none());
        let scalar = Layout::contiguous(&[]);
        assert_eq!(scalar.view_strides(&[1, 1]).unwrap().len(), 2);
    }

    #[test]
    fn offsets_visit_in_row_major_order() {
        let t = Layout::contiguous(&[2, 3]).transpose(0, 1);
        assert_eq!(t.offsets().collect::<Vec<_>>(), vec![0, 3, 1, 4, 2, 5]);
        assert_eq!(Layout::contiguous(&[]).offsets().count(), 1);
        assert_eq!(Layout::contiguous(&[2, 0]).offsets().count(), 0);
    }

    #[test]
    fn dense_strides_keep_the_order() {
        let t = Layout::contiguous(&[2, 3, 4]);
        assert_eq!(t.dense_strides().as_slice(), &[12, 4, 1]);
        assert_eq!(t.slice(2, 0, 2, 2).transpose(0, 2).dense_strides().as_slice(), &[1, 2, 6]);
        assert_eq!(t.slice(0, 0, 1, 1).broadcast_to(&[2, 3, 4]).dense_strides().as_slice(), &[12, 4, 1]);
    }

    #[test]
    fn overlap_is_seen() {
        assert!(Layout::contiguous(&[2, 3]).transpose(0, 1).is_non_overlapping());
        assert!(!Layout::contiguous(&[1, 3]).broadcast_to(&[2, 3]).is_non_overlapping());
    }
}
