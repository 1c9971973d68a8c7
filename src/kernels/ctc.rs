//! Sums over all ways in which steps spell labels (Graves and others, 2006), in logarithms: forwards for the loss, and backwards
//! for its gradient. Examples lie side by side, each with two places in front that nobody reaches, so that one loop without
//! branches goes over the places of several.

use super::dispatch::{tier, tiered};
use super::element::{Element, Truth};
use super::parallel::{self, Apart};
use super::reduce::kinds::Exponential;
use crate::memory::scratch;

/// What stands for the logarithm of nothing: finite, so that no difference of two is without a value.
pub const NOTHING: f64 = -1e30;
/// Places in front of those of an example.
const FRONT: usize = 2;
/// Places that are worked on together, about.
const TOGETHER: usize = 64;
/// Places and steps from which threads share the work.
const GRAIN: usize = 1 << 10;

/// Labels with blanks around them, and the steps that are to spell them.
#[derive(Clone, Copy)]
pub struct Spelling<'a> {
    /// The sizes of the logarithms: steps, examples, classes.
    pub sizes: [usize; 3],
    /// The places of an example, for the longest labels.
    pub places: usize,
    /// The class of each place of each example.
    pub classes: &'a [i64],
    /// Where a place may be reached from the one before the one before.
    pub skips: &'a [Truth],
    /// The steps of each example.
    pub steps: &'a [i64],
    /// The labels of each example.
    pub lengths: &'a [usize],
}

/// The logarithm of the sum of three exponentials.
#[inline(always)]
fn sum<T: Exponential>(a: T, b: T, c: T) -> T {
    let top = if b > a { b } else { a };
    let top = if c > top { c } else { top };
    let share = |x: T| x.minus(top).exp();
    top.plus(share(a).plus(share(b)).plus(share(c)).log())
}

/// Some examples side by side.
struct Rows<'a, T> {
    spelling: Spelling<'a>,
    first: usize,
    count: usize,
    skips: Vec<bool>,
    /// The logarithms of the places at a step.
    here: Vec<T>,
    /// What was reached at the step before, and at this one.
    old: Vec<T>,
    new: Vec<T>,
}

impl<'a, T: Exponential> Rows<'a, T> {
    #[inline(always)]
    fn new(spelling: Spelling<'a>, first: usize, count: usize) -> Self {
        let (width, nothing) = (FRONT + spelling.places, T::from_f64(NOTHING));
        let all = || scratch(nothing, count * width + FRONT);
        let mut rows = Rows {
            spelling,
            first,
            count,
            skips: scratch(false, count * width + FRONT),
            here: all(),
            old: all(),
            new: all(),
        };
        for n in 0..count {
            let at = rows.row(n);
            let skips = &spelling.skips[spelling.row(first + n)];
            rows.skips[at..].iter_mut().zip(skips).for_each(|(to, skip)| *to = skip.to_bool());
        }
        rows
    }

    /// Where the places of an example begin.
    #[inline(always)]
    fn row(&self, n: usize) -> usize {
        n * (FRONT + self.spelling.places) + FRONT
    }

    /// Whether an example has a step.
    #[inline(always)]
    fn runs(&self, n: usize, t: usize) -> bool {
        (t as i64) < self.spelling.steps[self.first + n]
    }

    /// Reads the logarithms at a step.
    #[inline(always)]
    fn read(&mut self, logs: &[T], t: usize) {
        let nothing = T::from_f64(NOTHING);
        for n in 0..self.count {
            if !self.runs(n, t) {
                continue;
            }
            let (at, example) = (self.row(n), self.first + n);
            let from = &logs[self.spelling.at(t, example)];
            let classes = &self.spelling.classes[self.spelling.row(example)];
            for (here, &class) in self.here[at..].iter_mut().zip(classes) {
                let log = from[class as usize];
                *here = if log < nothing { nothing } else { log };
            }
        }
    }

    /// The places of the examples where `change` says so, at a step.
    #[inline(always)]
    fn set(&mut self, change: impl Fn(&mut [T], &[T], usize)) {
        for n in 0..self.count {
            let at = self.row(n);
            let old = &self.old[at..at + self.spelling.places];
            change(&mut self.new[at..at + self.spelling.places], old, n);
            self.new[at - FRONT..at].fill(T::from_f64(NOTHING));
        }
    }
}

impl Spelling<'_> {
    #[inline(always)]
    fn row(&self, example: usize) -> std::ops::Range<usize> {
        example * self.places..(example + 1) * self.places
    }

    /// Where the logarithms of an example at a step are.
    #[inline(always)]
    fn at(&self, t: usize, example: usize) -> std::ops::Range<usize> {
        let [_, examples, classes] = self.sizes;
        let row = t * examples + example;
        row * classes..(row + 1) * classes
    }

    /// Where an example at a step has what was reached.
    #[inline(always)]
    fn reached(&self, t: usize, example: usize) -> std::ops::Range<usize> {
        let row = example * self.sizes[0] + t;
        row * self.places..(row + 1) * self.places
    }

    /// The last places of an example: a blank, and the label before it if there is one.
    #[inline(always)]
    fn ends(&self, example: usize) -> (usize, Option<usize>) {
        let last = 2 * self.lengths[example];
        (last, last.checked_sub(1))
    }

    /// Runs a closure for some examples after others: the first, and how many.
    fn each(&self, run: impl Fn(usize, usize) + Sync) {
        let [steps, examples, _] = self.sizes;
        let together = (TOGETHER / (FRONT + self.places)).max(1);
        let cost = steps.max(1) * together * (FRONT + self.places);
        parallel::for_each_range(examples.div_ceil(together), (GRAIN / cost).max(1), |start, end| {
            for first in (start..end).map(|piece| piece * together) {
                run(first, together.min(examples - first));
            }
        });
    }

    fn check(&self, logs: usize) {
        let [steps, examples, classes] = self.sizes;
        assert!(logs == steps * examples * classes && self.steps.len() == examples && self.lengths.len() == examples);
        assert!(self.classes.len() == examples * self.places && self.skips.len() == self.classes.len());
        assert!(self.classes.iter().all(|&class| (0..classes as i64).contains(&class)));
        assert!(self.steps.iter().all(|&n| (0..=steps as i64).contains(&n)));
        assert!(self.lengths.iter().all(|&n| 2 * n < self.places));
    }
}

/// Memory of a result of which examples have parts of their own.
type Part<T> = *mut T;

/// # Safety
/// `losses` has a place for each example, and so has `reached` for each of its steps and places, where it is there.
#[inline(always)]
unsafe fn forward_body<T: Exponential>(
    spelling: Spelling,
    logs: &[T],
    (first, count): (usize, usize),
    losses: Part<T>,
    reached: Option<Part<T>>,
) {
    let nothing = T::from_f64(NOTHING);
    let mut rows = Rows::<T>::new(spelling, first, count);
    // Before the first step all stand before the first place: the first two can be reached from there.
    for n in 0..count {
        let at = rows.row(n);
        let seen = 1 + usize::from(spelling.lengths[first + n] > 0);
        rows.old[at..at + seen].fill(T::ZERO);
    }
    let last = spelling.steps[first..first + count].iter().copied().max().unwrap_or(0) as usize;
    for t in 0..last {
        rows.read(logs, t);
        let Rows { here, old, new, skips, .. } = &mut rows;
        if t == 0 {
            new.iter_mut().zip(&*old).zip(&*here).for_each(|((new, &old), &here)| *new = old.plus(here));
        } else {
            let before = old.iter().zip(&old[1..]).zip(&old[FRONT..]).zip(&skips[FRONT..]);
            for ((new, (((&far, &near), &own), &skip)), &here) in
                new[FRONT..].iter_mut().zip(before).zip(&here[FRONT..])
            {
                *new = sum(own, near, if skip { far } else { nothing }).plus(here);
            }
        }
        let steps = &spelling.steps[first..];
        rows.set(|new, old, n| {
            if t as i64 >= steps[n] {
                new.copy_from_slice(old);
            }
        });
        if let Some(reached) = reached {
            for n in 0..count {
                let (at, to) = (rows.row(n), spelling.reached(t, first + n));
                let from = &rows.new[at..at + spelling.places];
                // SAFETY: the caller's memory has the places of the example at the step.
                unsafe { reached.add(to.start).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
            }
        }
        std::mem::swap(&mut rows.old, &mut rows.new);
    }
    for n in 0..count {
        let (blank, label) = spelling.ends(first + n);
        let (at, has_steps) = (rows.row(n), spelling.steps[first + n] > 0);
        // Without a step only an empty sequence is spelled.
        let blank = if has_steps || label.is_none() { rows.old[at + blank] } else { nothing };
        let label = label.filter(|_| has_steps).map_or(nothing, |label| rows.old[at + label]);
        // SAFETY: the caller's memory has the example's place.
        unsafe { *losses.add(first + n) = T::ZERO.minus(sum(blank, label, nothing)) };
    }
}

/// What the gradient is made of, beside the logarithms.
#[derive(Clone, Copy)]
pub struct Reached<'a, T> {
    /// The gradient of each loss.
    pub g: &'a [T],
    /// The losses.
    pub losses: &'a [T],
    /// What was reached, as [`forward`] gives it.
    pub places: &'a [T],
}

/// # Safety
/// `to` has room for the gradients of all logarithms.
#[inline(always)]
unsafe fn backward_body<T: Exponential>(
    spelling: Spelling,
    logs: &[T],
    (first, count): (usize, usize),
    reached: Reached<T>,
    to: Part<T>,
) {
    let nothing = T::from_f64(NOTHING);
    let mut rows = Rows::<T>::new(spelling, first, count);
    for t in (0..spelling.sizes[0]).rev() {
        // What comes behind each place: `old` has it for the step behind, with the logarithms of that step.
        let Rows { old, new, skips, .. } = &mut rows;
        let behind = old.iter().zip(&old[1..]).zip(&old[FRONT..]).zip(&skips[FRONT..]);
        for (new, (((&own, &near), &far), &skip)) in new.iter_mut().zip(behind) {
            *new = sum(own, near, if skip { far } else { nothing });
        }
        let steps = &spelling.steps[first..];
        rows.set(|new, _, n| {
            if t as i64 + 1 >= steps[n] {
                new.fill(nothing);
            }
            if t as i64 + 1 == steps[n] {
                let (blank, label) = spelling.ends(first + n);
                new[blank] = T::ZERO;
                label.into_iter().for_each(|label| new[label] = T::ZERO);
            }
        });
        for n in 0..count {
            let (at, example) = (rows.row(n), first + n);
            let from = &logs[spelling.at(t, example)];
            // SAFETY: the caller's memory has the gradients of the example's logarithms at the step.
            let to = unsafe { std::slice::from_raw_parts_mut(to.add(spelling.at(t, example).start), from.len()) };
            let (g, loss) = (reached.g[example], reached.losses[example]);
            if !rows.runs(n, t) || g == T::ZERO {
                to.fill(T::ZERO);
                continue;
            }
            to.iter_mut().zip(from).for_each(|(to, &log)| *to = g.times(log.exp()));
            let before = &reached.places[spelling.reached(t, example)];
            let classes = &spelling.classes[spelling.row(example)];
            for ((&behind, &before), &class) in rows.new[at..].iter().zip(before).zip(classes) {
                let share = before.plus(behind).plus(loss).exp();
                to[class as usize] = to[class as usize].minus(g.times(share));
            }
        }
        rows.read(logs, t);
        let Rows { old, new, here, .. } = &mut rows;
        old.iter_mut().zip(new).zip(here).for_each(|((old, new), here)| *old = new.plus(*here));
    }
}

tiered! { fn forward_of<T: Exponential>(spelling: Spelling<'_>, logs: &[T], examples: (usize, usize), losses: Part<T>, reached: Option<Part<T>>) = forward_body::<T>; }
tiered! { fn backward_of<T: Exponential>(spelling: Spelling<'_>, logs: &[T], examples: (usize, usize), reached: Reached<'_, T>, to: Part<T>) = backward_body::<T>; }

/// Writes the losses of the examples, and where it is asked for the logarithms of the probabilities of having reached each
/// place after each step, `(examples, steps, places)`; behind an example's last step there may be anything.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn forward<T: Exponential>(spelling: Spelling, logs: &[T], losses: &mut [T], reached: Option<&mut [T]>) {
    let [steps, examples, _] = spelling.sizes;
    spelling.check(logs.len());
    assert!(losses.len() == examples);
    assert!(reached.as_ref().is_none_or(|r| r.len() == examples * steps * spelling.places));
    let kernel = forward_of::<T>(tier());
    let (losses, reached) = (Apart(losses.as_mut_ptr()), reached.map(|r| Apart(r.as_mut_ptr())));
    // SAFETY: the memory is of the sizes given, and pieces have different examples.
    spelling.each(|first, count| unsafe {
        kernel(spelling, logs, (first, count), losses.get(), reached.as_ref().map(Apart::get));
    });
}

/// Writes the gradients of the logarithms: of each step of an example, `g (exp(x) - p)` where `p` is the probability that the
/// step is of the class, given that the labels are spelled.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn backward<T: Exponential>(spelling: Spelling, logs: &[T], reached: Reached<T>, to: &mut [T]) {
    let [steps, examples, _] = spelling.sizes;
    spelling.check(logs.len());
    assert!(to.len() == logs.len() && reached.g.len() == examples && reached.losses.len() == examples);
    assert!(reached.places.len() == examples * steps * spelling.places);
    let kernel = backward_of::<T>(tier());
    let to = Apart(to.as_mut_ptr());
    // SAFETY: as in `forward`.
    spelling.each(|first, count| unsafe { kernel(spelling, logs, (first, count), reached, to.get()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_spell_a_label_in_three_ways() {
        let spelling = Spelling {
            sizes: [2, 1, 2],
            places: 3,
            classes: &[0, 1, 0],
            skips: &[Truth(0); 3],
            steps: &[2],
            lengths: &[1],
        };
        let logs = [0.25f64, 0.75, 0.5, 0.5].map(f64::ln);
        let (mut loss, mut places, mut to) = ([0.0], [0.0; 6], [0.0; 4]);
        forward(spelling, &logs, &mut loss, Some(&mut places));
        // Blank and label, label and blank, label twice.
        let all = 0.25 * 0.5 + 0.75 * 0.5 + 0.75 * 0.5;
        assert!((loss[0] + f64::ln(all)).abs() < 1e-15);
        backward(spelling, &logs, Reached { g: &[1.0], losses: &loss, places: &places }, &mut to);
        let expected = [0.25 - 0.125 / all, 0.75 - 0.75 / all, 0.5 - 0.375 / all, 0.5 - 0.5 / all];
        assert!(to.iter().zip(expected).all(|(to, expected)| (to - expected).abs() < 1e-14));
    }
}
