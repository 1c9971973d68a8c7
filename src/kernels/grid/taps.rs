//! Where places read images, and with which weights.

use std::ops::{Add, Div, Mul, Rem, Sub};

use super::{Images, Manner, Mode, Padding, WIDTH, Work};
use crate::kernels::reduce::kinds::Accumulator;

/// Where nothing is read.
const OUTSIDE: i32 = -1;

/// A type that places are computed in.
pub trait Number:
    Accumulator + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Rem<Output = Self>
{
    /// The greatest integer that is not greater.
    fn floor(self) -> Self;
    /// The nearest integer, of two the even one.
    fn round(self) -> Self;
    /// An integer.
    ///
    /// # Safety
    /// It is one, and one that is an index.
    unsafe fn index(self) -> i32;
    /// The elements at offsets, and those behind them in memory. First come all loads, so that what is done with them is
    /// done by vectors.
    ///
    /// # Safety
    /// There are both elements at each offset from `x`.
    #[inline(always)]
    unsafe fn pairs(x: *const Self, at: &Lanes<i32>) -> [Lanes<Self>; 2] {
        let mut values = [[Self::ZERO; WIDTH]; 2];
        for l in 0..WIDTH {
            // SAFETY: the caller's offsets.
            let [first, second] = unsafe { x.offset(at[l] as isize).cast::<[Self; 2]>().read_unaligned() };
            (values[0][l], values[1][l]) = (first, second);
        }
        values
    }
}

macro_rules! numbers {
    ($($t:ident),*) => {$(
        impl Number for $t {
            #[inline(always)]
            fn floor(self) -> $t { $t::floor(self) }
            #[inline(always)]
            fn round(self) -> $t { $t::round_ties_even(self) }
            #[inline(always)]
            unsafe fn index(self) -> i32 {
                // SAFETY: the caller's.
                unsafe { self.to_int_unchecked() }
            }
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            unsafe fn pairs(x: *const $t, at: &Lanes<i32>) -> [Lanes<$t>; 2] {
                // SAFETY: the caller's.
                unsafe { by_two::$t(x, at) }
            }
        }
    )*};
}
numbers!(f32, f64);

/// Two elements with one load each, parted in registers: left to itself, the compiler makes gathers of these loads, which take
/// longer. These instructions are part of every machine of this kind.
#[cfg(target_arch = "x86_64")]
mod by_two {
    use std::arch::x86_64::*;

    use super::{Lanes, WIDTH};

    /// # Safety
    /// As [`super::Number::pairs`].
    #[inline(always)]
    pub(super) unsafe fn f32(x: *const f32, at: &Lanes<i32>) -> [Lanes<f32>; 2] {
        let mut values = [[0.0; WIDTH]; 2];
        let of = |l: usize| x.wrapping_offset(at[l] as isize).cast::<f64>();
        for l in (0..WIDTH).step_by(4) {
            // SAFETY: the caller's offsets; loads need no alignment. Four results lie in each list from `l` on.
            unsafe {
                let two = |l: usize| _mm_castpd_ps(_mm_loadh_pd(_mm_load_sd(of(l)), of(l + 1)));
                let (left, right) = (two(l), two(l + 2));
                _mm_storeu_ps(values[0].as_mut_ptr().add(l), _mm_shuffle_ps::<0b10_00_10_00>(left, right));
                _mm_storeu_ps(values[1].as_mut_ptr().add(l), _mm_shuffle_ps::<0b11_01_11_01>(left, right));
            }
        }
        values
    }

    /// # Safety
    /// As [`super::Number::pairs`].
    #[inline(always)]
    pub(super) unsafe fn f64(x: *const f64, at: &Lanes<i32>) -> [Lanes<f64>; 2] {
        let mut values = [[0.0; WIDTH]; 2];
        for l in (0..WIDTH).step_by(2) {
            // SAFETY: as above, with two results in each list.
            unsafe {
                let [left, right] = [l, l + 1].map(|l| _mm_loadu_pd(x.offset(at[l] as isize)));
                _mm_storeu_pd(values[0].as_mut_ptr().add(l), _mm_unpacklo_pd(left, right));
                _mm_storeu_pd(values[1].as_mut_ptr().add(l), _mm_unpackhi_pd(left, right));
            }
        }
        values
    }
}

/// One dimension of an image.
#[derive(Clone, Copy)]
struct Axis<T> {
    size: T,
    last: T,
    /// The greatest number of the type that is an index: the last one is none of the type's in very long images.
    greatest: T,
    step: i32,
    manner: Manner,
}

/// Numbers for places side by side.
pub(super) type Lanes<T> = [T; WIDTH];

/// What is read along one dimension: up to four elements, their weights, and the derivatives of these by the grid's number.
struct Along<T> {
    count: usize,
    at: [Lanes<i32>; 4],
    weight: [Lanes<T>; 4],
    slope: [Lanes<T>; 4],
}

impl<T: Number> Axis<T> {
    fn new((size, step): (usize, usize), manner: Manner) -> Axis<T> {
        let (end, size) = (size as f64 - 1.0, T::from_i64(size as i64));
        let last = size - T::ONE;
        // Less by one step of the type, or two.
        let below = T::from_f64(last.to_f64() * (1.0 - f64::from(f32::EPSILON)));
        let greatest = if last.to_f64() > end { below } else { last };
        Axis { size, last, greatest, step: step as i32, manner }
    }

    /// The offset of an element in whole steps, if it is one.
    #[inline(always)]
    fn offset(&self, place: T) -> i32 {
        let inside = place >= T::ZERO && place <= self.greatest;
        // SAFETY: zero, or an integer below the size.
        let at = unsafe { (if inside { place } else { T::ZERO }).index() };
        if inside { at * self.step } else { OUTSIDE }
    }

    /// Moves places into the image, by the padding, and turns their slopes.
    #[inline(always)]
    fn within(&self, place: &mut Lanes<T>, slope: &mut Lanes<T>) {
        let (zero, one, two) = (T::ZERO, T::ONE, T::ONE + T::ONE);
        if self.manner.padding == Padding::Reflection {
            let half = one / two;
            let (low, span) = if self.manner.corners { (zero, self.last) } else { (zero - half, self.size) };
            for (place, slope) in place.iter_mut().zip(slope.iter_mut()) {
                let apart = (*place - low).magnitude();
                let rest = if apart < span { apart } else { apart % span };
                let flips = (apart / span).floor();
                let even = flips - two * (flips / two).floor() == zero;
                let turns = even == (*place < low);
                *place = low + if even { rest } else { span - rest };
                *slope = if turns { zero - *slope } else { *slope };
            }
        }
        if self.manner.padding != Padding::Zeros {
            for (place, slope) in place.iter_mut().zip(slope.iter_mut()) {
                // What is no number is moved to the first element.
                let inside = *place > zero && *place < self.greatest;
                let end = if *place >= self.greatest { self.greatest } else { zero };
                *place = if inside { *place } else { end };
                *slope = if inside { *slope } else { zero };
            }
        }
    }

    /// What the numbers of a grid read.
    #[inline(always)]
    fn along(&self, grid: &Lanes<T>, found: &mut Along<T>) {
        let (one, two) = (T::ONE, T::ONE + T::ONE);
        let mut place = *grid;
        let mut slope = [if self.manner.corners { self.last } else { self.size } / two; WIDTH];
        for place in &mut place {
            let up = *place + one;
            *place = if self.manner.corners { up / two * self.last } else { (up * self.size - one) / two };
        }
        match self.manner.mode {
            Mode::Nearest => {
                self.within(&mut place, &mut slope);
                found.count = 1;
                for l in 0..WIDTH {
                    found.at[0][l] = self.offset(place[l].round());
                    found.weight[0][l] = one;
                }
            }
            Mode::Linear => {
                self.within(&mut place, &mut slope);
                found.count = 2;
                for l in 0..WIDTH {
                    let low = place[l].floor();
                    let part = place[l] - low;
                    (found.at[0][l], found.at[1][l]) = (self.offset(low), self.offset(low + one));
                    (found.weight[0][l], found.weight[1][l]) = (one - part, part);
                    (found.slope[0][l], found.slope[1][l]) = (T::ZERO - slope[l], slope[l]);
                }
            }
            Mode::Cubic => {
                found.count = 4;
                for k in 0..4 {
                    let shift = T::from_f64(k as f64 - 1.0);
                    let mut read = [T::ZERO; WIDTH];
                    for l in 0..WIDTH {
                        let low = place[l].floor();
                        let (weight, change) = cubic(place[l] - low - shift, k == 0 || k == 3);
                        (read[l], found.weight[k][l], found.slope[k][l]) = (low + shift, weight, change * slope[l]);
                    }
                    self.within(&mut read, &mut [T::ZERO; WIDTH]);
                    for l in 0..WIDTH {
                        found.at[k][l] = self.offset(read[l]);
                    }
                }
            }
        }
    }
}

/// The cubic convolution kernel with a = -0.75, within a distance of 1 or beyond it, and its derivative.
#[inline(always)]
fn cubic<T: Number>(apart: T, far: bool) -> (T, T) {
    let (x, n) = (apart.magnitude(), T::from_f64);
    let a = n(-0.75);
    let (value, change) = if far {
        // a x^3 - 5a x^2 + 8a x - 4a
        let y = (a * x - n(5.0) * a) * x + n(8.0) * a;
        (y * x - n(4.0) * a, (n(3.0) * a * x - n(10.0) * a) * x + n(8.0) * a)
    } else {
        // (a + 2) x^3 - (a + 3) x^2 + 1
        let (p, q) = (a + n(2.0), a + n(3.0));
        ((p * x - q) * x * x + n(1.0), (n(3.0) * p * x - n(2.0) * q) * x)
    };
    (value, if apart < T::ZERO { T::ZERO - change } else { change })
}

/// The order in which dimensions are taken, and whether the taps along the last of them lie in pairs: the second an element
/// behind the first.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) dimensions: [usize; 3],
    pub(super) paired: bool,
}

impl Order {
    pub(super) fn new(images: &Images, mode: Mode) -> Order {
        // In longer images than these a float32 and the next one are no neighbours.
        const LONGEST: usize = 1 << 24;
        let has_pairs = |&(size, step): &(usize, usize)| size > 1 && size <= LONGEST && step == 1;
        let paired = images.axes.iter().rposition(has_pairs).filter(|_| mode == Mode::Linear);
        let mut dimensions = [0, 1, 2];
        if let Some(d) = paired {
            dimensions[d..images.axes.len()].rotate_left(1);
        }
        Order { dimensions, paired: paired.is_some() }
    }
}

/// What places side by side read: offsets and weights, and the derivatives of these by the grid's numbers, in the order of
/// the dimensions.
pub(super) struct Taps<T, const TAPS: usize> {
    pub(super) at: [Lanes<i32>; TAPS],
    pub(super) weight: [Lanes<T>; TAPS],
    pub(super) slopes: [[Lanes<T>; TAPS]; 3],
    /// Where pairs begin.
    begin: [Lanes<i32>; TAPS],
}

impl<T: Number, const TAPS: usize> Taps<T, TAPS> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let none = [[T::ZERO; WIDTH]; TAPS];
        Taps { at: [[OUTSIDE; WIDTH]; TAPS], weight: none, slopes: [none; 3], begin: [[0; WIDTH]; TAPS] }
    }

    /// Reads `n` places of the grid; those beyond are the middle.
    ///
    /// # Safety
    /// There are `n` places, and as many taps as the manner has.
    #[inline(always)]
    pub(super) unsafe fn fill(&mut self, work: Work, grid: *const T, n: usize, with_slopes: bool) {
        let Work { images, manner, order, .. } = work;
        let rank = images.axes.len();
        let none = [[T::ZERO; WIDTH]; 4];
        let mut along = Along { count: 0, at: [[OUTSIDE; WIDTH]; 4], weight: none, slope: none };
        let mut count = 1;
        for (i, &d) in order.dimensions[..rank].iter().enumerate() {
            let mut numbers = [T::ZERO; WIDTH];
            // The last number of a place is that of the first dimension.
            // SAFETY: the caller's places.
            let number = |l: usize| unsafe { *grid.add(l * rank + rank - 1 - d) };
            match n {
                // A count that is known needs no way through memory.
                WIDTH => (0..WIDTH).for_each(|l| numbers[l] = number(l)),
                _ => (0..n).for_each(|l| numbers[l] = number(l)),
            }
            Axis::new(images.axes[d], manner).along(&numbers, &mut along);
            // From the last on, as those before are still read.
            for (k, j) in (0..count).rev().flat_map(|k| (0..along.count).rev().map(move |j| (k, j))) {
                self.join(i, k, k * along.count + j, (&along.at[j], &along.weight[j], &along.slope[j]), with_slopes);
            }
            count *= along.count;
        }
        if order.paired {
            self.pair(with_slopes);
        }
    }

    /// Turns pairs of which one element is outside, so that the tap of the first element in memory comes first.
    #[inline(always)]
    fn pair(&mut self, with_slopes: bool) {
        for k in (0..TAPS - TAPS % 2).step_by(2) {
            for l in 0..WIDTH {
                let (first, second) = (self.at[k][l], self.at[k + 1][l]);
                let turns = (first < 0) != (second < 0);
                // The first of a line is read without the one before it, or the last without the one behind it.
                self.begin[k][l] = (if turns { first.max(second) - i32::from(second < 0) } else { first }).max(0);
                let turned = |[a, b]: [T; 2]| if turns { [b, a] } else { [a, b] };
                [self.weight[k][l], self.weight[k + 1][l]] = turned([self.weight[k][l], self.weight[k + 1][l]]);
                (self.at[k][l], self.at[k + 1][l]) = if turns { (second, first) } else { (first, second) };
                if with_slopes {
                    for slope in &mut self.slopes {
                        [slope[k][l], slope[k + 1][l]] = turned([slope[k][l], slope[k + 1][l]]);
                    }
                }
            }
        }
    }

    /// The elements that the taps read in a channel; those outside are anything, and [`Taps::seen`] has zeros for them.
    ///
    /// # Safety
    /// The offsets are of a channel at `x`, which has a first element; `PAIRED` is that of the order.
    #[inline(always)]
    pub(super) unsafe fn read<const PAIRED: bool>(&self, x: *const T) -> [Lanes<T>; TAPS] {
        let mut values = [[T::ZERO; WIDTH]; TAPS];
        // SAFETY: the caller's offsets, or the first element; a dimension with pairs has two elements.
        unsafe {
            if PAIRED {
                for k in (0..TAPS - TAPS % 2).step_by(2) {
                    [values[k], values[k + 1]] = T::pairs(x, &self.begin[k]);
                }
            } else {
                for k in 0..TAPS {
                    for l in 0..WIDTH {
                        values[k][l] = *x.offset(self.at[k][l].max(0) as isize);
                    }
                }
            }
        }
        values
    }

    /// What the tap `k` of the place `l` sees in a channel. Whoever asks for it goes from place to place, and there from tap to
    /// tap: other orders are no vectors to the compiler.
    #[inline(always)]
    pub(super) fn seen(&self, values: &[Lanes<T>; TAPS], k: usize, l: usize) -> T {
        if self.at[k][l] < 0 { T::ZERO } else { values[k][l] }
    }

    /// Writes the tap `to` of the first dimensions up to the one at `d` in their order: the tap `k` of those before, and one
    /// along it.
    #[inline(always)]
    fn join(
        &mut self,
        d: usize,
        k: usize,
        to: usize,
        (at, weight, slope): (&Lanes<i32>, &Lanes<T>, &Lanes<T>),
        with_slopes: bool,
    ) {
        if d == 0 {
            (self.at[to], self.weight[to], self.slopes[0][to]) = (*at, *weight, *slope);
            return;
        }
        if with_slopes {
            for l in 0..WIDTH {
                self.slopes[d][to][l] = self.weight[k][l] * slope[l];
            }
            for before in &mut self.slopes[..d] {
                for l in 0..WIDTH {
                    before[to][l] = before[k][l] * weight[l];
                }
            }
        }
        for l in 0..WIDTH {
            let (first, second) = (self.at[k][l], at[l]);
            self.at[to][l] = if first < 0 || second < 0 { OUTSIDE } else { first + second };
            self.weight[to][l] = self.weight[k][l] * weight[l];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_of_a_long_image_lies_behind_it() {
        let manner = Manner { mode: Mode::Nearest, padding: Padding::Border, corners: true };
        for size in [2, 1000, (1 << 24) - 1, 1 << 24, (1 << 24) + 4, (1 << 25) + 6, (1 << 30) + 100] {
            let axis = Axis::<f32>::new((size, 1), manner);
            let mut found =
                Along { count: 0, at: [[OUTSIDE; WIDTH]; 4], weight: [[0.0; WIDTH]; 4], slope: [[0.0; WIDTH]; 4] };
            axis.along(&[1.0; WIDTH], &mut found);
            assert!((0..size as i32).contains(&found.at[0][0]), "{size}: {}", found.at[0][0]);
            assert!(axis.offset(axis.greatest) >= 0 && size as i32 - found.at[0][0] < 1 + (size as i32 >> 22).max(1));
        }
    }
}
