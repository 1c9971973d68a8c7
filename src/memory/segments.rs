//! Large blocks: ranges of segments that the system gave, cut to the size that is asked for and joined with their free
//! neighbours when they come back. So what was freed in one size serves every other, and the most that a program has from the
//! system is little more than the most that it uses at one time.
//!
//! Tags at both ends of a range say how long it is and whether it is free; they lie beside the memory, whose contents nobody
//! here looks at. Free ranges are listed by size class, the last one freed first (the two-level segregated fit of Masmano,
//! Ripoll, Crespo and Real, "TLSF", 2004).

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use super::pool::{CLASSES, class_bytes, class_of};
use super::spin::Spin;
use super::{NAMELESS, account, discard, reserve};

/// Sizes are multiples of this many bytes.
const GRANULE: usize = 16 << 10;
/// A large page: segments are aligned to it and whole ones long.
const LARGE_PAGE: usize = 2 << 20;
/// The least and the most bytes that are asked of the system at once for more than one block; those that nobody has touched
/// are addresses only.
const LEAST: usize = 32 << 20;
const MOST: usize = 64 << 20;
/// Free ranges of a class that are looked at for the one that fits best.
const LOOKS: usize = 16;
const WORDS: usize = CLASSES.div_ceil(64);

/// Ends a list: no range begins there.
const NOWHERE: usize = 0;

/// What is known of a range: all of it at its first granule, its length and whether it is free at the last one too.
#[derive(Clone, Copy, Default)]
struct Tag {
    granules: usize,
    free: bool,
    /// Granules of a free range that may have pages of the system.
    resident: usize,
    /// Addresses of the free ranges of the same class before and after it.
    previous: usize,
    next: usize,
}

/// Memory that came from the system at once.
struct Segment {
    start: NonNull<u8>,
    layout: Layout,
    /// One for each granule.
    tags: Vec<Tag>,
}

// SAFETY: a segment owns its memory, which belongs to no thread.
unsafe impl Send for Segment {}

impl Segment {
    /// Addresses for so many granules at least, none of them touched; `None` where the system has none.
    fn ask(granules: usize, bytes: usize) -> Option<Segment> {
        let bytes = (granules * GRANULE).max(bytes).next_multiple_of(LARGE_PAGE);
        let layout = Layout::from_size_align(bytes, LARGE_PAGE).ok()?;
        // SAFETY: the layout has a size above zero.
        let start = NonNull::new(reserve::asking(|| unsafe { alloc(layout) }))?;
        prefer_large_pages(start, bytes);
        let mut segment = Segment { start, layout, tags: Vec::new() };
        segment.tags = super::filled(NAMELESS, Tag::default(), bytes / GRANULE).ok()?;
        Some(segment)
    }

    fn address(&self, granule: usize) -> usize {
        self.start.addr().get() + granule * GRANULE
    }

    /// Writes what is known of a range at both of its ends.
    fn mark(&mut self, at: usize, tag: Tag) {
        self.tags[at + tag.granules - 1] = tag;
        self.tags[at] = tag;
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: `ask` allocated the memory with this layout, and no range of it is in use.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Asks the system for large pages: a kernel that runs over many small ones waits for their addresses.
fn prefer_large_pages(start: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the pages are the segment's. It is advice: where it is refused, the pages are small.
    unsafe {
        libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// All segments by address, and their free ranges by size.
struct Segments {
    all: Vec<Segment>,
    /// Free ranges all of whose granules were in use before.
    ready: Lists,
    /// Others: a block of them may need new pages of the system.
    bare: Lists,
}

/// Free ranges by their class.
struct Lists {
    /// The first range of each class: of those that hold a block of the class and none of the next.
    first: [usize; CLASSES],
    /// A bit for each class that has a range.
    filled: [u64; WORDS],
}

impl Lists {
    const EMPTY: Lists = Lists { first: [NOWHERE; CLASSES], filled: [0; WORDS] };

    fn set_first(&mut self, class: usize, address: usize) {
        self.first[class] = address;
        let (word, bit) = (&mut self.filled[class / 64], 1 << (class % 64));
        *word = if address == NOWHERE { *word & !bit } else { *word | bit };
    }

    /// The first class from `class` on that has a range.
    fn filled_from(&self, class: usize) -> Option<usize> {
        let within = self.filled[class / 64] & (!0 << (class % 64));
        let words = std::iter::once(within).chain(self.filled[class / 64 + 1..].iter().copied());
        words.zip(class / 64..).find(|&(word, _)| word != 0).map(|(word, at)| at * 64 + word.trailing_zeros() as usize)
    }
}

static SEGMENTS: Spin<Segments> = Spin::new(Segments::new());

/// The class that a free range of so many granules is listed under.
fn class_within(granules: usize) -> usize {
    let class = class_of(granules * GRANULE);
    if class_bytes(class) > granules * GRANULE { class - 1 } else { class }
}

impl Segments {
    const fn new() -> Segments {
        Segments { all: Vec::new(), ready: Lists::EMPTY, bare: Lists::EMPTY }
    }

    /// Adds a segment, free as a whole; false where there is no memory for the list of them.
    fn add(&mut self, segment: Segment) -> bool {
        let room = super::grow(NAMELESS, &mut self.all, 1).is_ok();
        if room {
            let (number, granules) = (self.all.partition_point(|s| s.start < segment.start), segment.tags.len());
            self.all.insert(number, segment);
            self.link(number, 0, granules, 0);
        }
        room
    }

    /// The segment and the granule of an address.
    fn place(&self, address: usize) -> (usize, usize) {
        let segment = self.all.partition_point(|s| s.start.addr().get() <= address) - 1;
        (segment, (address - self.all[segment].start.addr().get()) / GRANULE)
    }

    fn tag(&mut self, address: usize) -> &mut Tag {
        let (segment, granule) = self.place(address);
        &mut self.all[segment].tags[granule]
    }

    /// The lists that a range is in.
    fn lists(&mut self, tag: &Tag) -> &mut Lists {
        if tag.resident == tag.granules { &mut self.ready } else { &mut self.bare }
    }

    /// Makes a range free, and puts it first in the list of its class.
    fn link(&mut self, segment: usize, at: usize, granules: usize, resident: usize) {
        let (class, address) = (class_within(granules), self.all[segment].address(at));
        let mut tag = Tag { granules, free: true, resident, ..Tag::default() };
        let lists = self.lists(&tag);
        tag.next = lists.first[class];
        lists.set_first(class, address);
        self.all[segment].mark(at, tag);
        if tag.next != NOWHERE {
            self.tag(tag.next).previous = address;
        }
    }

    /// Takes a free range out of its list; its tags are to be written anew.
    fn unlink(&mut self, segment: usize, at: usize) -> Tag {
        let tag = self.all[segment].tags[at];
        if tag.next != NOWHERE {
            self.tag(tag.next).previous = tag.previous;
        }
        if tag.previous != NOWHERE {
            self.tag(tag.previous).next = tag.next;
        } else {
            self.lists(&tag).set_first(class_within(tag.granules), tag.next);
        }
        tag
    }

    /// A free range for so many granules of which all were in use: of the smallest class that has one, the one that leaves least
    /// among the first.
    fn find_ready(&mut self, granules: usize) -> Option<usize> {
        let mut class = class_within(granules);
        loop {
            class = self.ready.filled_from(class)?;
            if let Some((address, _)) = self.least(self.ready.first[class], granules, |tag| tag.granules - granules) {
                return Some(address);
            }
            class += 1;
        }
    }

    /// One of the others: the one whose block needs the fewest new pages.
    fn find_bare(&mut self, granules: usize) -> Option<usize> {
        let (mut best, mut class) = (None, class_within(granules));
        while let Some(filled) = self.bare.filled_from(class) {
            let found = self.least(self.bare.first[filled], granules, |tag| granules.saturating_sub(tag.resident));
            best = best.into_iter().chain(found).min_by_key(|&(_, cost)| cost);
            class = filled + 1;
        }
        best.map(|(address, _)| address)
    }

    /// The range among the first of a list that holds so many granules at the least cost.
    fn least(&mut self, first: usize, granules: usize, cost: impl Fn(&Tag) -> usize) -> Option<(usize, usize)> {
        let (mut best, mut address) = (None, first);
        for _ in 0..LOOKS {
            if address == NOWHERE || best.is_some_and(|(_, cost)| cost == 0) {
                break;
            }
            let tag = *self.tag(address);
            if tag.granules >= granules && best.is_none_or(|(_, least)| cost(&tag) < least) {
                best = Some((address, cost(&tag)));
            }
            address = tag.next;
        }
        best
    }

    /// Cuts a block out of a free range, of one that needs no new pages if there is one.
    fn cut(&mut self, granules: usize) -> Option<NonNull<u8>> {
        let address = self.find_ready(granules).or_else(|| self.find_bare(granules))?;
        let (segment, at) = self.place(address);
        let whole = self.unlink(segment, at);
        let resident = whole.resident.min(granules);
        account::reuse(resident * GRANULE);
        account::take((granules - resident) * GRANULE);
        self.all[segment].mark(at, Tag { granules, ..Tag::default() });
        if whole.granules > granules {
            self.link(segment, at + granules, whole.granules - granules, whole.resident - resident);
        }
        // SAFETY: the range lies in the segment.
        Some(unsafe { self.all[segment].start.add(at * GRANULE) })
    }

    /// Takes back a range that is in use, and joins it with its free neighbours; the segment's number and the first granule.
    fn give(&mut self, address: usize) -> (usize, usize) {
        let (segment, mut at) = self.place(address);
        let mut granules = self.all[segment].tags[at].granules;
        account::keep(granules * GRANULE);
        let (mut resident, after) = (granules, at + granules);
        if self.all[segment].tags.get(after).is_some_and(|t| t.free) {
            let right = self.unlink(segment, after);
            (granules, resident) = (granules + right.granules, resident + right.resident);
        }
        if at > 0 && self.all[segment].tags[at - 1].free {
            at -= self.all[segment].tags[at - 1].granules;
            let left = self.unlink(segment, at);
            (granules, resident) = (granules + left.granules, resident + left.resident);
        }
        self.link(segment, at, granules, resident);
        (segment, at)
    }

    /// Gives the system a free range: the segment, where it is free as a whole, to be dropped, or the pages.
    fn part_with(&mut self, segment: usize, at: usize) -> Option<Segment> {
        let tag = self.all[segment].tags[at];
        let whole = tag.granules == self.all[segment].tags.len();
        // SAFETY: the range lies in the segment and is free.
        if !whole && !unsafe { discard(self.all[segment].start.add(at * GRANULE), tag.granules * GRANULE) } {
            return None;
        }
        self.unlink(segment, at);
        account::reuse(tag.resident * GRANULE);
        account::give(tag.resident * GRANULE);
        if whole {
            return Some(self.all.remove(segment));
        }
        self.link(segment, at, tag.granules, 0);
        None
    }

    /// The first free range from an address on that can be given to the system.
    fn spare_from(&self, address: usize) -> Option<(usize, usize)> {
        let first = self.all.partition_point(|s| s.address(s.tags.len()) <= address);
        self.all.iter().enumerate().skip(first).find_map(|(number, segment)| {
            let mut at = (address.saturating_sub(segment.address(0))) / GRANULE;
            while let Some(tag) = segment.tags.get(at) {
                if tag.free && (tag.resident > 0 || tag.granules == segment.tags.len()) {
                    return Some((number, at));
                }
                at += tag.granules;
            }
            None
        })
    }
}

/// A block of at least `bytes` bytes, its contents anything, at the beginning of a page; `None` when there is no memory.
pub(super) fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    let granules = bytes.div_ceil(GRANULE);
    let found = SEGMENTS.lock().cut(granules);
    found.or_else(|| grow(granules))
}

/// A block of a new segment.
#[cold]
fn grow(granules: usize) -> Option<NonNull<u8>> {
    let more = account::stats().reserved.clamp(LEAST, MOST);
    let segment = Segment::ask(granules, more).or_else(|| Segment::ask(granules, 0)).or_else(|| {
        super::pool::trim();
        Segment::ask(granules, 0)
    })?;
    let mut segments = SEGMENTS.lock();
    if segments.add(segment) { segments.cut(granules) } else { None }
}

/// Takes a block back; where enough is kept, the system has it.
///
/// # Safety
/// `block` came from [`allocate`], and nobody uses it any more.
pub(super) unsafe fn free(block: NonNull<u8>) {
    let mut segments = SEGMENTS.lock();
    let (segment, at) = segments.give(block.addr().get());
    let gone = if account::has_enough() { segments.part_with(segment, at) } else { None };
    drop(segments);
    drop(gone);
}

/// Gives the system all that is free.
pub(super) fn trim() {
    let mut address = 0;
    loop {
        let mut segments = SEGMENTS.lock();
        let Some((segment, at)) = segments.spare_from(address) else { return };
        address = segments.all[segment].address(at + segments.all[segment].tags[at].granules);
        let gone = segments.part_with(segment, at);
        drop(segments);
        drop(gone);
    }
}

/// Keeps everybody else from the segments until [`let_go`].
pub(super) fn hold() {
    SEGMENTS.hold();
}

/// Ends what [`hold`] began.
///
/// # Safety
/// `hold` was called once before.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller says.
    unsafe { SEGMENTS.release() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look drawn.
    fn draw(state: &mut u64, below: usize) -> usize {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*state >> 33) as usize % below
    }

    /// Every granule is in one range, free ranges touch no others, and each is in the list of its class.
    fn check(segments: &mut Segments, used: usize) {
        let mut free = 0;
        let mut found = 0;
        for segment in &segments.all {
            let (mut at, mut before) = (0, false);
            while at < segment.tags.len() {
                let (first, last) = (segment.tags[at], segment.tags[at + segment.tags[at].granules - 1]);
                assert!(first.granules == last.granules && first.free == last.free);
                assert!(!(before && first.free), "free neighbours");
                assert!(first.resident <= first.granules);
                free += if first.free { first.granules } else { 0 };
                found += usize::from(first.free);
                (at, before) = (at + first.granules, first.free);
            }
            assert_eq!(at, segment.tags.len());
        }
        assert_eq!(free + used, segments.all.iter().map(|s| s.tags.len()).sum::<usize>());
        let mut listed = 0;
        for (is_ready, class) in (0..CLASSES).flat_map(|class| [(true, class), (false, class)]) {
            let lists = if is_ready { &segments.ready } else { &segments.bare };
            let mut address = lists.first[class];
            assert_eq!(address != NOWHERE, lists.filled[class / 64] >> (class % 64) & 1 == 1);
            while address != NOWHERE {
                let tag = *segments.tag(address);
                assert!(tag.free && class_within(tag.granules) == class);
                assert_eq!(tag.resident == tag.granules, is_ready);
                (listed, address) = (listed + 1, tag.next);
            }
        }
        assert_eq!(listed, found);
    }

    #[test]
    fn ranges_are_cut_and_joined() {
        let mut segments = Segments::new();
        (0..3).for_each(|_| assert!(segments.add(Segment::ask(1, 4 << 20).unwrap())));
        let (mut state, mut held, mut used) = (1, Vec::new(), 0);
        for turn in 0..4000 {
            if draw(&mut state, 100) < 55 {
                let granules = 1 + draw(&mut state, 40);
                if let Some(block) = segments.cut(granules) {
                    // SAFETY: the block is ours.
                    unsafe { block.write_bytes(turn as u8, granules * GRANULE) };
                    held.push((block, granules, turn as u8));
                    used += granules;
                }
            } else if !held.is_empty() {
                let (block, granules, mark) = held.swap_remove(draw(&mut state, held.len()));
                // SAFETY: the block is ours until it is given back.
                let ends = unsafe { [block.read(), block.add(granules * GRANULE - 1).read()] };
                assert_eq!(ends, [mark; 2], "somebody else had the block");
                segments.give(block.addr().get());
                used -= granules;
            }
            if turn % 50 == 0 {
                check(&mut segments, used);
            }
        }
        for (block, ..) in held {
            segments.give(block.addr().get());
        }
        check(&mut segments, 0);
        let mut given = 0;
        while let Some((segment, at)) = segments.spare_from(0) {
            given += usize::from(segments.part_with(segment, at).is_some());
        }
        assert!(given == 3 && segments.all.is_empty());
        assert!(segments.ready.filled == [0; WORDS] && segments.bare.filled == [0; WORDS]);
    }

    #[test]
    fn what_is_freed_in_one_size_serves_another() {
        let mut segments = Segments::new();
        assert!(segments.add(Segment::ask(100, 0).unwrap()));
        let [first, second, third] = [30, 40, 58].map(|granules| segments.cut(granules).unwrap());
        assert!(segments.cut(1).is_none());
        for block in [first, second] {
            segments.give(block.addr().get());
        }
        assert_eq!(segments.cut(70), Some(first));
        segments.give(first.addr().get());
        // Of what is free as a whole or in part, the pages go, and the addresses of the part stay.
        let spare = segments.spare_from(0).unwrap();
        let gone = segments.part_with(spare.0, spare.1);
        assert!(gone.is_none() && segments.spare_from(0).is_none() == cfg!(unix));
        assert_eq!(segments.cut(70), Some(first));
        for block in [first, third] {
            segments.give(block.addr().get());
        }
        let spare = segments.spare_from(0).unwrap();
        assert!(segments.part_with(spare.0, spare.1).is_some());
    }
}
