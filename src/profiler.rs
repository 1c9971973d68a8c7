//! A record of what runs: operations, derivatives, and programs of operations that waited, each with its times, the shapes
//! of what it was given and the bytes of what it made.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::error::Result;
use crate::graph::{NodeRef, anomaly};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An operation that the program called.
    Operation,
    /// The derivative of a recorded operation.
    Derivative,
    /// A part of the work of either, or a range that the program names.
    Range,
}

/// Something that ran.
#[derive(Clone)]
pub struct Event {
    /// What ran.
    pub name: String,
    /// Of which kind it is.
    pub kind: Kind,
    /// The thread that it ran on; threads are numbered from 1 as they are first seen.
    pub thread: u64,
    /// When it began, in nanoseconds of [`now`].
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Shape and dtype of the tensors it was given.
    pub inputs: Vec<(Vec<usize>, DType)>,
    /// The bytes of what it made, views of what it was given apart.
    pub bytes: usize,
    /// The place in the order of recording of the node that an operation left, or whose derivative this is.
    pub sequence: Option<u64>,
    /// The lines of the program that ran it, where a record asks for them.
    pub lines: Option<anomaly::Origin>,
}

/// How many records there are; they share their events.
static RECORDS: AtomicUsize = AtomicUsize::new(0);
/// How many of them ask for the lines of the program.
static WITH_LINES: AtomicUsize = AtomicUsize::new(0);
static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());
static EPOCH: OnceLock<Instant> = OnceLock::new();
static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// True while there is a record.
#[inline]
pub fn is_on() -> bool {
    RECORDS.load(Ordering::Relaxed) > 0
}

/// Begins a record, also where there is one already; gives when it begins. With the lines of the program that run the
/// operations where it asks for them.
pub fn start(with_lines: bool) -> u64 {
    let _events = EVENTS.lock();
    RECORDS.fetch_add(1, Ordering::Relaxed);
    WITH_LINES.fetch_add(usize::from(with_lines), Ordering::Relaxed);
    now()
}

/// Ends the record that began at a time with the same request, and gives its events in the order of their ends.
pub fn stop(since: u64, with_lines: bool) -> Vec<Event> {
    let mut events = EVENTS.lock();
    WITH_LINES.fetch_sub(usize::from(with_lines), Ordering::Relaxed);
    // What began before belongs to those that record around this one.
    let is_own = |event: &&Event| event.start >= since;
    if RECORDS.fetch_sub(1, Ordering::Relaxed) > 1 {
        return events.iter().filter(is_own).cloned().collect();
    }
    let mut all = std::mem::take(&mut *events);
    all.retain(|event| is_own(&event));
    all
}

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    EPOCH.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The number of this thread.
pub fn thread() -> u64 {
    THREAD.with(|number| {
        if number.get() == 0 {
            number.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

fn looks<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<(Vec<usize>, DType)> {
    tensors.into_iter().map(|t| (t.shape().to_vec(), t.dtype())).collect()
}

/// The bytes of tensors in memory that is not that of others.
fn fresh(made: &[Tensor], given: &[Tensor]) -> usize {
    let shares = |y: &Tensor| given.iter().any(|x| std::ptr::eq(&**x.storage(), &**y.storage()));
    made.iter().filter(|y| !shares(y)).map(|y| y.numel() * y.dtype().size()).sum()
}

fn note(name: &str, kind: Kind, start: u64, inputs: &[Tensor], outputs: &[Tensor], sequence: Option<u64>) {
    let end = now();
    let (inputs, bytes) = (looks(inputs), fresh(outputs, inputs));
    let is_called = kind != Kind::Derivative && WITH_LINES.load(Ordering::Relaxed) > 0;
    let lines = if is_called { anomaly::origin() } else { None };
    EVENTS.lock().push(Event { name: name.into(), kind, thread: thread(), start, end, inputs, bytes, sequence, lines });
}

/// Notes a range of this thread that began at `start` and ends now.
pub fn mark(name: &str, start: u64) {
    note(name, Kind::Range, start, &[], &[], None);
}

/// Runs a part of the work of others.
pub(crate) fn part<R>(name: &str, run: impl FnOnce() -> R) -> R {
    if !is_on() {
        return run();
    }
    let start = now();
    let done = run();
    mark(name, start);
    done
}

/// Runs an operation that was given `inputs`; `outputs` tells its tensors.
///
/// # Errors
/// Those of the operation, which is not noted then.
pub fn operation<R>(
    name: &str,
    inputs: &[Tensor],
    run: impl FnOnce() -> Result<R>,
    outputs: impl FnOnce(&R) -> Vec<Tensor>,
) -> Result<R> {
    let start = now();
    let done = run()?;
    let outputs = outputs(&done);
    let sequence = outputs.iter().find_map(|y| y.grad_fn()).map(|edge| edge.node.sequence());
    note(name, Kind::Operation, start, inputs, &outputs, sequence);
    Ok(done)
}

/// Runs the derivative of a node.
pub(crate) fn derivative<R: AsRef<[Option<Tensor>]>>(
    node: &NodeRef,
    gradients: &[Option<Tensor>],
    run: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let start = now();
    let found = run()?;
    let all = |list: &[Option<Tensor>]| list.iter().flatten().cloned().collect::<Vec<_>>();
    let outputs = all(found.as_ref());
    note(node.name(), Kind::Derivative, start, &all(gradients), &outputs, Some(node.sequence()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_and_parts_are_noted() {
        let outer = start(false);
        let since = start(false);
        let x = Tensor::ones(&[2, 3], DType::F32).unwrap().requiring_grad().unwrap();
        let y = operation("mul", std::slice::from_ref(&x), || &x * 2.0, |y| vec![y.clone()]).unwrap();
        part("mine", || crate::ops::sum::sum(&y, &[], false, None).unwrap().backward().unwrap());
        // Other tests run on other threads.
        let own = |since| stop(since, false).into_iter().filter(|e| e.thread == thread()).collect::<Vec<_>>();
        let events = own(since);
        assert!(is_on());
        part("around", || ());
        assert_eq!(own(outer).len(), events.len() + 1);
        let found = |name: &str| events.iter().find(|e| e.name == name).cloned().unwrap();
        assert_eq!((found("mul").bytes, found("mul").inputs), (24, vec![(vec![2, 3], DType::F32)]));
        let derivative = found("MulBackward0");
        assert_eq!((derivative.kind, derivative.sequence), (Kind::Derivative, found("mul").sequence));
        assert!(found("mine").start <= derivative.start && derivative.end <= found("mine").end);
        assert!(!is_on());
    }
}
