//! Binary search of many values in sorted lines.

use super::element::Element;
use super::parallel::{self, Apart};

/// Values from which threads share the work.
const GRAIN: usize = 1 << 11;

/// Where among `length` elements a value would have to be put in, behind equal ones where `right`: what is not a number lies
/// behind all. Of elements in no order, where this search ends: no further than behind the last.
#[inline(always)]
pub fn place<T: Element>(length: usize, value: T, right: bool, at: impl Fn(usize) -> T) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = if right { at(middle) > value } else { at(middle) >= value };
        if found { high = middle } else { low = middle + 1 }
    }
    low
}

/// Writes where each value would have to be put into its line: the first `per_line` values belong to the first line of
/// `length` elements, and so on; a single line serves all. Behind equal elements where `right`. `sorter`, where there is
/// one, has the order of each line.
///
/// # Panics
/// Where the slices do not fit each other.
pub fn sorted<T: Element>(
    lines: &[T],
    length: usize,
    values: &[T],
    per_line: usize,
    sorter: Option<&[i64]>,
    right: bool,
    out: &mut [i64],
) {
    assert!(values.len() == out.len());
    let target = Apart(out.as_mut_ptr());
    parallel::for_each_range(values.len(), GRAIN, |start, end| {
        for (n, &value) in values.iter().enumerate().take(end).skip(start) {
            let line = n / per_line.max(1) * length;
            let at = |i: usize| match sorter {
                Some(order) => lines[line + order[line + i] as usize],
                None => lines[line + i],
            };
            let place = place(length, value, right, at);
            // SAFETY: ranges of results are disjoint.
            unsafe { *target.get().add(n) = place as i64 };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_elements_are_passed_on_the_right() {
        let mut out = [0; 3];
        sorted(&[1, 3, 3, 5], 4, &[3, 0, 9], 3, None, false, &mut out);
        assert_eq!(out, [1, 0, 4]);
        sorted(&[1, 3, 3, 5], 4, &[3, 5, 9], 3, None, true, &mut out);
        assert_eq!(out, [3, 4, 4]);
        sorted(&[5.0, 1.0, 3.0, 2.0, 4.0, 6.0], 3, &[1.5, 4.5], 1, Some(&[1, 2, 0, 0, 1, 2]), false, &mut out[..2]);
        assert_eq!(out[..2], [1, 2]);
    }
}
