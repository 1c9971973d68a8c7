//! One dimension of a convolution: which elements meet, as runs of a source that was laid out anew for it.

use smallvec::{SmallVec, smallvec};

/// One dimension of `y[p] = sum over k of w[k] x[stride p + dilation k - padding]`; what lies outside of `x` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The size of `x`.
    pub x: usize,
    /// The size of `w`.
    pub kernel: usize,
    /// The size of `y`.
    pub y: usize,
    /// Elements of `x` from one of `y` to the next.
    pub stride: usize,
    /// Zeros before `x`.
    pub padding: usize,
    /// Elements of `x` from one of `w` to the next.
    pub dilation: usize,
}

/// An element of the kernel, and where in the source the first result meets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Which element of the kernel.
    pub kernel: usize,
    /// Which phase of the source.
    pub phase: usize,
    /// The place in the phase.
    pub shift: usize,
}

/// One dimension of a pass. The source is laid out in phases, of which each has every `step`-th element, so that
/// neighbouring results meet neighbouring elements.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// Elements of the source from one of a phase to the next.
    pub step: usize,
    /// Zeros before the source; where negative, elements that are left out.
    pub padding: isize,
    /// The phases there are.
    pub phases: SmallVec<[usize; 2]>,
    /// The elements of a phase.
    pub len: usize,
    /// The elements of the kernel that take part.
    pub taps: SmallVec<[Tap; 4]>,
    /// How many results there are.
    pub count: usize,
    /// Where the first is in the whole result, and from each to the next.
    pub first: usize,
    /// See `first`.
    pub every: usize,
}

impl Axis {
    /// Where the source is `x` and the result `y`.
    pub(super) fn forward(&self) -> Side {
        let mut phases: SmallVec<[usize; 2]> = smallvec![];
        let mut taps: SmallVec<[Tap; 4]> = SmallVec::new();
        for kernel in 0..self.kernel {
            let at = kernel * self.dilation;
            let (phase, shift) = (at % self.stride, at / self.stride);
            let place = phases.iter().position(|&p| p == phase).unwrap_or_else(|| {
                phases.push(phase);
                phases.len() - 1
            });
            taps.push(Tap { kernel, phase: place, shift });
        }
        let reach = taps.iter().map(|t| t.shift).max().unwrap_or(0);
        Side {
            step: self.stride,
            padding: self.padding as isize,
            phases,
            len: self.y + reach,
            taps,
            count: self.y,
            first: 0,
            every: 1,
        }
    }

    /// The places modulo the stride that elements of `x` have.
    pub(super) fn phases(&self) -> Vec<usize> {
        let count = self.x.min(self.stride);
        (0..count).map(|i| (i + self.padding) % self.stride).collect()
    }

    /// Where the source is `y`, and the result those elements of `x` that lie at one place modulo the stride.
    pub(super) fn backward(&self, phase: usize) -> Side {
        let met = (0..self.kernel).map(|k| (k, k * self.dilation)).filter(|(_, at)| at % self.stride == phase);
        let reach = met.clone().map(|(_, at)| at / self.stride).max().unwrap_or(0);
        let skipped = self.padding.saturating_sub(phase).div_ceil(self.stride);
        let first = self.stride * skipped + phase - self.padding;
        let count = self.x.saturating_sub(first).div_ceil(self.stride);
        let tap = |(kernel, at): (usize, usize)| Tap { kernel, phase: 0, shift: reach - at / self.stride };
        Side {
            step: 1,
            padding: reach as isize - skipped as isize,
            phases: smallvec![0],
            len: count + reach,
            taps: met.map(tap).collect(),
            count,
            first,
            every: self.stride,
        }
    }
}

impl Side {
    /// The places of a phase that hold elements of a source of a size, and the element at the first.
    pub(super) fn held(&self, phase: usize, size: usize) -> (std::ops::Range<usize>, usize) {
        let at = |j: usize| self.phases[phase] as isize + (self.step * j) as isize - self.padding;
        let before = self.padding - self.phases[phase] as isize;
        let start = (before.max(0) as usize).div_ceil(self.step).min(self.len);
        let end = (size as isize + before).max(0) as usize;
        let end = end.div_ceil(self.step).clamp(start, self.len);
        (start..end, at(start).max(0) as usize)
    }

    /// The element of the source at a place of a phase, where there is one.
    pub(super) fn element(&self, phase: usize, place: usize, size: usize) -> Option<usize> {
        let at = self.phases[phase] as isize + (self.step * place) as isize - self.padding;
        usize::try_from(at).ok().filter(|&at| at < size)
    }
}
