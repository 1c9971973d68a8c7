//! Sorting and selection in lines. Every element becomes an integer that orders as the element does, with its place in
//! the lower bits: all orders are total, so equal elements stay in their order and every way of sorting gives the same.

use super::element::Element;
use super::parallel::{self, Apart};
use crate::memory::scratch;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 12;
/// Lines up to this length are sorted by comparisons.
const SHORT: usize = 512;
/// Parts that a long line is sorted in, before they are merged.
const PARTS: usize = 16;
/// Elements from which a line is sorted in parts.
const LONG: usize = 1 << 15;

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the least; what is not a number last.
    Ascending,
    /// From the greatest; what is not a number first.
    Descending,
}

/// An element's rank and its place, in one integer.
pub trait Packed: Copy + Ord + Send + Sync + Default {
    /// Digits of 11 bits that the rank has.
    const DIGITS: usize;
    /// Puts a rank and a place together.
    fn pack(rank: u64, place: usize) -> Self;
    /// The place.
    fn place(self) -> usize;
    /// A digit of the rank, the lowest first.
    fn digit(self, n: usize) -> usize;
}

impl Packed for u64 {
    const DIGITS: usize = 3;
    #[inline(always)]
    fn pack(rank: u64, place: usize) -> u64 {
        rank << 32 | place as u64
    }
    #[inline(always)]
    fn place(self) -> usize {
        self as u32 as usize
    }
    #[inline(always)]
    fn digit(self, n: usize) -> usize {
        (self >> (32 + 11 * n)) as usize & 0x7ff
    }
}

impl Packed for u128 {
    const DIGITS: usize = 6;
    #[inline(always)]
    fn pack(rank: u64, place: usize) -> u128 {
        (rank as u128) << 64 | place as u128
    }
    #[inline(always)]
    fn place(self) -> usize {
        self as usize
    }
    #[inline(always)]
    fn digit(self, n: usize) -> usize {
        ((self >> 64) as u64 >> (11 * n)) as usize & 0x7ff
    }
}

/// The integer that orders as an element does: zeros are equal, and all that is not a number is equal and greatest.
/// Elements of at most four bytes have one of 32 bits.
#[inline(always)]
pub fn rank<T: Element>(x: T) -> u64 {
    if T::DTYPE.is_floating_point() {
        let value = x.to_f64();
        if size_of::<T>() <= 4 {
            let bits = if value.is_nan() { 0x7fff_ffff } else { (value as f32 + 0.0).to_bits() };
            let mask = ((bits as i32) >> 31) as u32 | 0x8000_0000;
            return (bits ^ mask) as u64;
        }
        let bits = if value.is_nan() { 0x7fff_ffff_ffff_ffff } else { (value + 0.0).to_bits() };
        let mask = ((bits as i64) >> 63) as u64 | 1 << 63;
        return bits ^ mask;
    }
    let signed = u64::from(T::DTYPE.is_signed());
    if size_of::<T>() <= 4 { (x.to_i64() as u32) as u64 ^ signed << 31 } else { x.to_i64() as u64 ^ signed << 63 }
}

#[inline(always)]
fn packed<T: Element, P: Packed>(order: Order, x: T, place: usize) -> P {
    let rank = rank(x);
    let rank = match order {
        Order::Ascending => rank,
        Order::Descending if size_of::<T>() <= 4 => rank ^ 0xffff_ffff,
        Order::Descending => !rank,
    };
    P::pack(rank, place)
}

/// Sorts by the digits of the rank, from the lowest; equal ranks keep their order, which is that of their places.
fn by_digits<P: Packed>(data: &mut [P], room: &mut [P]) {
    let mut counts = vec![[0u32; 2048]; P::DIGITS];
    for x in data.iter() {
        counts.iter_mut().enumerate().for_each(|(n, c)| c[x.digit(n)] += 1);
    }
    let (mut from, mut to) = (data, room);
    let mut swapped = false;
    for (n, counts) in counts.iter_mut().enumerate() {
        if counts.iter().any(|&c| c as usize == from.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &x in from.iter() {
            let slot = &mut counts[x.digit(n)];
            to[*slot as usize] = x;
            *slot += 1;
        }
        std::mem::swap(&mut from, &mut to);
        swapped = !swapped;
    }
    if swapped {
        to.copy_from_slice(from);
    }
}

fn sort_part<P: Packed>(data: &mut [P], room: &mut [P]) {
    if data.len() <= SHORT { data.sort_unstable() } else { by_digits(data, room) }
}

/// Merges two sorted stretches that together are as long as `to`.
fn merge<P: Packed>(a: &[P], b: &[P], to: &mut [P]) {
    let (mut i, mut j) = (0, 0);
    for slot in to.iter_mut() {
        if i == a.len() || j == b.len() {
            break;
        }
        let take_b = b[j] < a[i];
        *slot = if take_b { b[j] } else { a[i] };
        j += usize::from(take_b);
        i += usize::from(!take_b);
    }
    let done = i + j;
    let rest = if i < a.len() { &a[i..] } else { &b[j..] };
    to[done..].copy_from_slice(rest);
}

/// How many of the first `k` of two merged stretches come from the first of them.
fn split<P: Packed>(a: &[P], b: &[P], k: usize) -> usize {
    let (mut low, mut high) = (k.saturating_sub(b.len()), k.min(a.len()));
    while low < high {
        let middle = (low + high) / 2;
        if a[middle] < b[k - middle - 1] { low = middle + 1 } else { high = middle }
    }
    low
}

/// Sorts one long line: parts by themselves, then merged pair by pair, every merge cut into pieces.
fn sort_long<P: Packed>(data: &mut [P], room: &mut [P]) {
    let n = data.len();
    let bounds: Vec<usize> = (0..=PARTS).map(|p| n * p / PARTS).collect();
    let (mut from, mut to) = (Apart(data.as_mut_ptr()), Apart(room.as_mut_ptr()));
    // SAFETY: the stretches lie in the arrays; threads work on disjoint ones, and read from one array what they write to
    // the other.
    unsafe {
        let part =
            |all: Apart<P>, start: usize, end: usize| std::slice::from_raw_parts_mut(all.get().add(start), end - start);
        parallel::for_each(PARTS, |p| {
            sort_part(part(from, bounds[p], bounds[p + 1]), part(to, bounds[p], bounds[p + 1]))
        });
        let mut width = 1;
        while width < PARTS {
            let pairs = PARTS / (2 * width);
            let pieces = PARTS / pairs;
            parallel::for_each(pairs * pieces, |piece| {
                let (first, q) = (piece / pieces * 2 * width, piece % pieces);
                let (start, middle, end) = (bounds[first], bounds[first + width], bounds[first + 2 * width]);
                let (a, b) = (&*part(from, start, middle), &*part(from, middle, end));
                let (low, high) = ((end - start) * q / pieces, (end - start) * (q + 1) / pieces);
                let (i, j) = (split(a, b, low), split(a, b, high));
                merge(&a[i..j], &b[low - i..high - j], part(to, start + low, start + high));
            });
            std::mem::swap(&mut from, &mut to);
            width *= 2;
        }
    }
    // An even number of merges: the result is back in `data`.
    const { assert!(PARTS == 16) };
}

/// Runs `body(line, its packed elements, room)` for each line of `length`, on all threads.
fn for_each_line<T: Element, P: Packed>(
    data: &[T],
    length: usize,
    order: Order,
    body: impl Fn(usize, &mut [P], &mut [P]) + Sync,
) {
    let run = |start: usize, end: usize| {
        let make = || scratch(P::default(), length);
        let (mut line, mut room) = (make(), make());
        for n in start..end {
            let from = &data[n * length..(n + 1) * length];
            line.iter_mut().zip(from).enumerate().for_each(|(i, (slot, &x))| *slot = packed(order, x, i));
            body(n, &mut line, &mut room);
        }
    };
    let lines = data.len() / length.max(1);
    if lines == 0 {
        return;
    }
    if length >= LONG && lines < parallel::num_threads() {
        run(0, lines);
    } else {
        parallel::for_each_range(lines, (GRAIN / length.max(1)).max(1), run);
    }
}

/// Runs a block with `P` bound to the integer that an element and its place fit in.
macro_rules! with_packed {
    ($T:ty, $length:expr, $P:ident => $body:expr) => {
        if size_of::<$T>() <= 4 && $length <= u32::MAX as usize {
            type $P = u64;
            $body
        } else {
            type $P = u128;
            $body
        }
    };
}

/// The places of each line's elements in order.
///
/// # Panics
/// Where the slices are not of one length.
pub fn sort<T: Element>(data: &[T], length: usize, order: Order, places: &mut [i64]) {
    assert!(data.len() == places.len());
    let target = Apart(places.as_mut_ptr());
    let write = |line: usize, i: usize, place: usize| {
        // SAFETY: each line's places are written by one thread.
        unsafe { *target.get().add(line * length + i) = place as i64 };
    };
    with_packed!(T, length, P => for_each_line::<T, P>(data, length, order, |n, line, room| {
        if length >= LONG { sort_long(line, room) } else { sort_part(line, room) }
        line.iter().enumerate().for_each(|(i, x)| write(n, i, x.place()));
    }));
}

/// The places of each line's first `k` elements in order.
///
/// # Panics
/// Where `k` is greater than the length, or there is no room for `k` places a line.
pub fn first<T: Element>(data: &[T], length: usize, k: usize, order: Order, places: &mut [i64]) {
    assert!(k <= length && places.len() == data.len() / length.max(1) * k);
    let target = Apart(places.as_mut_ptr());
    with_packed!(T, length, P => for_each_line::<T, P>(data, length, order, |n, line, room| {
        if k < length && k > 0 {
            line.select_nth_unstable(k - 1);
        }
        sort_part(&mut line[..k], &mut room[..k]);
        for (i, x) in line[..k].iter().enumerate() {
            // SAFETY: as in `sort`.
            unsafe { *target.get().add(n * k + i) = x.place() as i64 };
        }
    }));
}

/// The place of one element of each line: that with the number `choose(line)` in ascending order.
///
/// # Panics
/// Where there is no room for a place a line.
pub fn nth<T: Element>(data: &[T], length: usize, choose: impl Fn(&[T]) -> usize + Sync, places: &mut [i64]) {
    assert!(places.len() == data.len() / length.max(1));
    let target = Apart(places.as_mut_ptr());
    with_packed!(T, length, P => for_each_line::<T, P>(data, length, Order::Ascending, |n, line, _| {
        let k = choose(&data[n * length..(n + 1) * length]);
        let place = line.select_nth_unstable(k).1.place();
        // SAFETY: as in `sort`.
        unsafe { *target.get().add(n) = place as i64 };
    }));
}

/// The place of the most frequent element of each line: the least of those, where it is for the last time.
///
/// # Panics
/// As [`nth`].
pub fn mode<T: Element>(data: &[T], length: usize, places: &mut [i64]) {
    assert!(places.len() == data.len() / length.max(1));
    let target = Apart(places.as_mut_ptr());
    with_packed!(T, length, P => for_each_line::<T, P>(data, length, Order::Ascending, |n, line, room| {
        sort_part(line, room);
        let value = |i: usize| data[n * length + line[i].place()];
        let (mut run, mut most, mut place) = (0, 0, 0);
        for (i, element) in line.iter().enumerate() {
            run += 1;
            if i + 1 == length || value(i) != value(i + 1) {
                if run > most {
                    (most, place) = (run, element.place());
                }
                run = 0;
            }
        }
        // SAFETY: as in `sort`.
        unsafe { *target.get().add(n) = place as i64 };
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 7919 + i * i % 104_729) % 5003) as f32 - 2500.0;
        (0..n).map(|i| if i % 501 == 500 { f32::NAN } else { number(i) }).collect()
    }

    #[test]
    fn lines_of_every_length_are_sorted_and_stable() {
        for n in [1, 2, 100, 513, 40_000, 100_001] {
            for order in [Order::Ascending, Order::Descending] {
                let data = numbers(n);
                let mut places = vec![0; n];
                sort(&data, n, order, &mut places);
                let mut expected: Vec<i64> = (0..n as i64).collect();
                let key = |i: &i64| if data[*i as usize].is_nan() { f32::INFINITY } else { data[*i as usize] };
                expected.sort_by(|a, b| {
                    let order_of = key(a).total_cmp(&key(b));
                    if order == Order::Ascending { order_of } else { order_of.reverse() }
                });
                assert_eq!(places, expected, "{n}");
            }
        }
    }

    #[test]
    fn integers_and_doubles_too() {
        let data = [3i64, i64::MIN, -1, i64::MAX, 0];
        let mut places = [0; 5];
        sort(&data, 5, Order::Ascending, &mut places);
        assert_eq!(places, [1, 2, 4, 0, 3]);
        let data = [0.0f64, -0.0, -1.5, f64::NEG_INFINITY, f64::NAN];
        sort(&data, 5, Order::Ascending, &mut places);
        assert_eq!(places, [3, 2, 0, 1, 4]);
        let data = [200u8, 3, 100];
        let mut places = [0; 3];
        sort(&data, 3, Order::Descending, &mut places);
        assert_eq!(places, [0, 2, 1]);
    }

    #[test]
    fn selections_agree_with_the_order() {
        let data = numbers(1000);
        let (mut all, mut some, mut one) = (vec![0; 1000], vec![0; 70], [0; 10]);
        sort(&data, 100, Order::Ascending, &mut all);
        first(&data, 100, 7, Order::Ascending, &mut some);
        nth(&data, 100, |_| 6, &mut one);
        for line in 0..10 {
            assert_eq!(all[line * 100..line * 100 + 7], some[line * 7..line * 7 + 7]);
            assert_eq!(all[line * 100 + 6], one[line]);
        }
        let mut place = [0];
        mode(&[3, 1, 2, 2, 1], 5, &mut place);
        assert_eq!(place, [4]);
    }
}
