//! The dimensions of a reduction: those that stay and those that go, each from the farthest step to the nearest.

use smallvec::SmallVec;

/// One dimension, or several that step evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// How many indices it has.
    pub size: usize,
    /// Elements from one index to the next in the input.
    pub step: isize,
    /// Elements from one index to the next in the result.
    pub out: isize,
}

/// Several axes, the last of them innermost.
pub type Axes = SmallVec<[Axis; 4]>;

/// What a reduction runs over.
#[derive(Clone, Debug)]
pub struct Space {
    /// The axes that stay.
    pub kept: Axes,
    /// The axes that are reduced.
    pub reduced: Axes,
}

impl Space {
    /// The space of a reduction over the dimensions that `mask` marks, into a result with the given steps.
    pub fn new(shape: &[usize], steps: &[isize], mask: &[bool], out: &[isize]) -> Space {
        let part = |reduced: bool| -> Axes {
            let axis = |d: usize| Axis { size: shape[d], step: steps[d], out: if reduced { 0 } else { out[d] } };
            merged((0..shape.len()).filter(|&d| mask[d] == reduced && shape[d] != 1).map(axis).collect())
        };
        Space { kept: part(false), reduced: part(true) }
    }

    /// How many results there are.
    pub fn results(&self) -> usize {
        count(&self.kept)
    }

    /// How many elements go into one result.
    pub fn length(&self) -> usize {
        count(&self.reduced)
    }

    /// True where the elements of row-major memory are read as they lie side by side.
    pub fn reads_side_by_side(&self) -> bool {
        let nearest = if self.is_by_columns() { self.kept.last() } else { self.reduced.last() };
        nearest.is_none_or(|axis| axis.step == 1)
    }

    /// True where results lie side by side in the input, so that whole rows of them are combined, rather than the
    /// elements of one result.
    pub fn is_by_columns(&self) -> bool {
        match (self.kept.last(), self.reduced.last()) {
            (Some(k), Some(r)) => {
                let nearer = k.step.unsigned_abs() < r.step.unsigned_abs() && k.step != 0;
                nearer || (k.size >= 16 && self.length() < 8)
            }
            (Some(_), None) => true,
            _ => false,
        }
    }
}

/// The axes from the farthest step to the nearest, neighbours that step evenly as one.
fn merged(mut axes: Axes) -> Axes {
    axes.sort_by_key(|a| std::cmp::Reverse(a.step.unsigned_abs()));
    let mut all = Axes::new();
    for axis in axes {
        match all.last_mut() {
            Some(last) if last.step == axis.step * axis.size as isize && last.out == axis.out * axis.size as isize => {
                *last = Axis { size: last.size * axis.size, ..axis };
            }
            _ => all.push(axis),
        }
    }
    all
}

/// How many indices axes have together.
pub fn count(axes: &[Axis]) -> usize {
    axes.iter().map(|a| a.size).product()
}

/// Where the index with a number stands, in the input and in the result.
#[inline]
pub fn offset(axes: &[Axis], mut number: usize) -> (isize, isize) {
    if let [axis] = axes {
        return (axis.step * number as isize, axis.out * number as isize);
    }
    let (mut step, mut out) = (0, 0);
    for axis in axes.iter().rev() {
        let index = (number % axis.size) as isize;
        number /= axis.size;
        step += axis.step * index;
        out += axis.out * index;
    }
    (step, out)
}

/// Calls `run(offset, step, count)` for each even stretch of the indices `start..end` of the axes.
#[inline]
pub fn runs(axes: &[Axis], start: usize, end: usize, mut run: impl FnMut(isize, isize, usize)) {
    let Some((inner, outer)) = axes.split_last() else {
        return (start..end).for_each(|_| run(0, 1, 1));
    };
    let mut at = start;
    while at < end {
        let within = at % inner.size;
        let n = (inner.size - within).min(end - at);
        let base = if outer.is_empty() { 0 } else { offset(outer, at / inner.size).0 };
        run(base + within as isize * inner.step, inner.step, n);
        at += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_dimensions_become_one_axis_in_any_order() {
        let space = Space::new(&[4, 3, 2], &[1, 4, 12], &[true; 3], &[0; 3]);
        assert_eq!(space.reduced.as_slice(), [Axis { size: 24, step: 1, out: 0 }]);
        assert!(!space.is_by_columns());
        let space = Space::new(&[4, 300], &[300, 1], &[true, false], &[300, 1]);
        assert!(space.is_by_columns());
        let space = Space::new(&[4, 300], &[1, 4], &[true, false], &[300, 1]);
        assert!(!space.is_by_columns() || space.length() < 8);
    }

    #[test]
    fn stretches_cover_a_range() {
        let axes: Axes = [Axis { size: 3, step: 10, out: 0 }, Axis { size: 4, step: 2, out: 0 }].into_iter().collect();
        let mut seen = Vec::new();
        runs(&axes, 2, 9, |offset, step, n| (0..n as isize).for_each(|i| seen.push(offset + i * step)));
        assert_eq!(seen, [4, 6, 10, 12, 14, 16, 20]);
    }
}
