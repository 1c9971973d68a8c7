//! Values that are not computed yet. Element-wise operations on large tensors wait until somebody looks at a result; the
//! operations that wait then run as one program, so that memory is read and written once for all of them.
//!
//! A value that waits holds what it reads. Whoever writes to memory first lets those compute that read it as it is
//! ([`Access::lock`]); memory that others can write is never waited with.

mod fused;

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use fused::Fused;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Tensor;
use super::dtype::DType;
use super::layout::{Layout, Shape, Strides, checked_numel};
use super::scalar::Scalar;
use super::storage::{Buffer, Storage, Versioning};
use crate::error::{Error, Result};
use crate::kernels::expr::Program;
use crate::kernels::pointwise::{self, Numbers, Output, Values};
use crate::memory::spin::Spin;
use crate::memory::{self, pool};
use crate::profiler;

/// Steps of a program at the most: its registers stay in the first-level cache and its compilation cheap.
const LONGEST: usize = 96;
/// How often a value is computed on the way to another before it is kept.
const PASSES: u8 = 2;
/// Elements from which operations wait, where nobody set another number.
const ELEMENTS: usize = 12 * 1024;
/// The threshold that turns waiting off.
const NEVER: usize = usize::MAX;

static THRESHOLD: AtomicUsize = AtomicUsize::new(0);

/// Elements from which operations wait: `FERROGRAD_FUSION_ELEMENTS`, or none where `FERROGRAD_FUSION` is 0.
#[inline]
pub fn threshold() -> usize {
    match THRESHOLD.load(Ordering::Relaxed) {
        0 => first_threshold(),
        n => n,
    }
}

#[cold]
fn first_threshold() -> usize {
    let given = std::env::var("FERROGRAD_FUSION_ELEMENTS").ok().and_then(|v| v.parse().ok());
    let is_off = std::env::var("FERROGRAD_FUSION").is_ok_and(|v| v == "0");
    let elements = if is_off { NEVER } else { given.unwrap_or(ELEMENTS) };
    set_threshold(Some(elements));
    elements
}

/// Sets the number of elements from which operations wait; `None` for never. What waits already is not affected.
fn set_threshold(elements: Option<usize>) {
    THRESHOLD.store(elements.unwrap_or(NEVER).max(2), Ordering::Relaxed);
}

/// Lets operations on so many elements wait, those of a common size where no number is given; or none.
pub fn set_fusion(enabled: bool, elements: Option<usize>) {
    set_threshold(enabled.then(|| elements.unwrap_or(ELEMENTS)));
}

/// The number of elements from which operations wait, if they do.
pub fn fusion_elements() -> Option<usize> {
    Some(threshold()).filter(|&n| n != NEVER)
}

/// A value that waits to be computed, or was.
pub struct Pending {
    /// The elements, once they are computed.
    block: AtomicPtr<u8>,
    bytes: usize,
    /// Whose memory the elements lie in, where that is not the value's own.
    lender: OnceLock<Storage>,
    /// Held while the value is computed.
    running: Spin<()>,
    /// What the value is, until it is computed.
    formula: Mutex<Option<Arc<Formula>>>,
    /// How many programs have computed the value on their way to another.
    passes: AtomicU8,
}

/// What a value is: one operation on memory, numbers, and values that may wait themselves.
pub(crate) struct Formula {
    op: &'static str,
    program: &'static Program,
    compute: DType,
    result: DType,
    shape: Shape,
    sources: SmallVec<[Source; 3]>,
    /// Moves with every formula: a value's sources have lower ones.
    number: u64,
    /// The steps of the program and of all that it waits for, at the most.
    steps: usize,
}

/// A formula and the address of the value that it makes, which is none where the value is not waiting itself.
type Member = (usize, Arc<Formula>);

/// What a formula reads.
#[derive(Clone)]
pub(crate) enum Source {
    /// Elements in memory, under the strides of the formula's shape.
    #[allow(missing_docs, reason = "the fields of a view of memory")]
    Memory { storage: Storage, dtype: DType, offset: usize, strides: Strides },
    /// The same number for all elements.
    Number(Scalar),
}

impl Source {
    /// What a formula of a shape reads of a tensor.
    pub fn of(tensor: &Tensor, shape: &[usize]) -> Source {
        let (storage, dtype, offset) = (tensor.storage().clone(), tensor.dtype(), tensor.layout().offset);
        Source::Memory { storage, dtype, offset, strides: tensor.layout().broadcast_to(shape).strides }
    }

    /// True where both give the same elements; zeros differ by their sign.
    fn same(&self, other: &Source) -> bool {
        match (self, other) {
            (
                Source::Memory { storage, dtype, offset, strides },
                Source::Memory { storage: s, dtype: d, offset: o, strides: t },
            ) => storage.same(s) && dtype == d && offset == o && strides == t,
            (Source::Number(Scalar::Float(a)), Source::Number(Scalar::Float(b))) => a.to_bits() == b.to_bits(),
            (Source::Number(a), Source::Number(b)) => a == b,
            _ => false,
        }
    }

    /// The value behind this source with its formula, as long as it waits.
    fn waiting(&self) -> Option<(&Pending, Arc<Formula>)> {
        let Source::Memory { storage, .. } = self else { return None };
        let pending = storage.pending()?;
        let formula = pending.formula.lock().clone()?;
        Some((pending, formula))
    }
}

/// A tensor whose elements are the results of `program`, computed when somebody looks.
///
/// # Errors
/// Where the tensor cannot have so many elements, or what must be computed first fails.
pub(crate) fn defer(
    op: &'static str,
    program: &'static Program,
    (compute, result): (DType, DType),
    sources: SmallVec<[Source; 3]>,
    shape: &[usize],
) -> Result<Tensor> {
    let numel = checked_numel(op, shape, result.size())?;
    let layout = Layout::contiguous(shape);
    let formula = Formula::new(op, program, (compute, result), sources, &layout)?;
    let pending = Arc::new(Pending {
        block: AtomicPtr::default(),
        bytes: numel * result.size(),
        lender: OnceLock::new(),
        running: Spin::new(()),
        formula: Mutex::new(Some(formula.clone())),
        passes: AtomicU8::new(0),
    });
    for source in &formula.sources {
        if let Source::Memory { storage, .. } = source {
            storage.note_reader(&pending);
        }
    }
    Ok(Tensor::new(Buffer::waiting(pending), layout, result, Versioning::fresh()))
}

/// Runs `program` into a tensor of the type computed in, in one pass with all that its sources wait for: the in-place form
/// of [`defer`]. False where the tensor is read otherwise than element on element.
///
/// # Errors
/// Where what must be computed first fails.
pub(crate) fn run_into(
    op: &'static str,
    program: &'static Program,
    sources: SmallVec<[Source; 3]>,
    target: &Tensor,
) -> Result<bool> {
    let dtype = target.dtype();
    let formula = Formula::new(op, program, (dtype, dtype), sources, &Layout::contiguous(target.shape()))?;
    run_formula_into(&formula, target, true)
}

/// Computes what waits straight into a tensor of its type and shape. False where it does not wait, somebody else needs it
/// too, or it reads the tensor.
///
/// # Errors
/// Where what must be computed first fails.
pub(crate) fn write_into(target: &Tensor, value: &Tensor) -> Result<bool> {
    let fits = value.dtype() == target.dtype() && value.shape() == target.shape();
    // A formula may be that of the same elements in another order of dimensions, of which some have one index.
    match unshared(value).filter(|formula| fits && formula.shape[..] == *target.shape()) {
        Some(formula) => run_formula_into(&formula, target, false),
        None => Ok(false),
    }
}

/// Runs a formula into a tensor, which it may read element on element if at all.
fn run_formula_into(formula: &Arc<Formula>, target: &Tensor, may_read: bool) -> Result<bool> {
    target.settle()?;
    let fused = Fused::of(formula)?;
    let layout = target.layout();
    let is_safe = |(source, _): &(Source, u16)| match source {
        Source::Memory { storage, dtype, offset, strides } => {
            let is_same = *offset == layout.offset && *strides == layout.strides && *dtype == target.dtype();
            !storage.same(target.storage()) || may_read && is_same
        }
        Source::Number(_) => true,
    };
    if !fused.reads.iter().all(is_safe) {
        return Ok(false);
    }
    let output = Output { data: target.data_ptr(), dtype: target.dtype(), strides: target.strides() };
    profiler::part(&fused.label(), || fused.run(formula, output, Some(target.storage())))?;
    Ok(true)
}

/// Hands the elements of a tensor to `read`, computed while they are read and kept nowhere; `None` where they do not wait or
/// somebody else needs them too.
///
/// # Errors
/// Where what must be computed first fails.
pub(crate) fn with_values<R>(tensor: &Tensor, read: impl FnOnce(&dyn Values) -> R) -> Result<Option<R>> {
    let Some(formula) = unshared(tensor) else { return Ok(None) };
    let fused = Fused::of(&formula)?;
    let strides = Layout::contiguous(&formula.shape).strides;
    let shape = (&formula.shape[..], &strides[..]);
    profiler::part(&fused.label(), || {
        fused.with_inputs(None, |program, inputs| {
            let numbers = Numbers { dtype: formula.compute, exact: 0 };
            // SAFETY: the sources' layouts lie in their storages, which are locked.
            unsafe { pointwise::with_values(formula.op, program, numbers, inputs, shape, read) }
        })
    })
}

/// How many blocks of memory a value that waits keeps to be read when it is computed; none of one that does not wait.
pub(crate) fn held(tensor: &Tensor) -> Result<usize> {
    let Some(pending) = tensor.storage().pending() else { return Ok(0) };
    let Some(formula) = pending.formula.lock().clone() else { return Ok(0) };
    let mut members = vec![(0, formula.clone())];
    add_waiting(&mut members, &formula.sources, |_| Ok(true))?;
    let mut found: SmallVec<[&Storage; 8]> = SmallVec::new();
    for source in members.iter().flat_map(|(_, formula)| &formula.sources) {
        if let Source::Memory { storage, .. } = source
            && !storage.is_waiting()
            && !found.iter().any(|known| known.same(storage))
        {
            found.push(storage);
        }
    }
    Ok(found.len())
}

/// The formula of a tensor that waits and is all of its memory, where nobody else holds that: it may be computed for one
/// reader and kept nowhere, a few times.
fn unshared(tensor: &Tensor) -> Option<Arc<Formula>> {
    let (storage, layout) = (tensor.storage(), tensor.layout());
    let pending = storage.pending().filter(|p| p.is_waiting())?;
    let formula = pending.formula.lock().clone()?;
    let is_whole =
        layout.offset == 0 && tensor.is_contiguous() && tensor.numel() == formula.shape.iter().product::<usize>();
    let is_number = formula.result == formula.compute && tensor.dtype() == formula.result;
    let may = storage.is_unique() && is_whole && is_number;
    (may && pending.passes.fetch_add(1, Ordering::Relaxed) < PASSES).then_some(formula)
}

/// Computes a value that nobody but the caller has, if it waits: into the memory of something that it alone reads, if there is
/// such. Where that ends in its midst, neither is of use any more.
///
/// # Errors
/// As [`Pending::settle`].
pub(crate) fn settle_within(tensor: &Tensor) -> Result<()> {
    let Some(pending) = tensor.storage().pending().filter(|p| p.is_waiting()) else { return Ok(()) };
    let lender = pending.formula.lock().as_ref().and_then(|formula| formula.lender(pending.bytes));
    let Some((lender, layout, dtype)) = lender else { return pending.settle() };
    let running = pending.running.lock();
    let Some(formula) = pending.formula.lock().take() else { return Ok(()) };
    lender.forget_readers();
    let target = Tensor::new(lender.clone(), layout, dtype, Versioning::fresh());
    let done = run_formula_into(&formula, &target, true);
    if let Ok(true) = done {
        drop(formula);
        let elements = lender.as_ptr();
        pending.lender.get_or_init(|| lender);
        pending.block.store(elements, Ordering::Release);
        return Ok(());
    }
    *pending.formula.lock() = Some(formula);
    drop(running);
    done.and_then(|_| pending.settle())
}

impl Formula {
    /// The memory of a source that nothing but the formula holds, where the results fit in its elements' places.
    fn lender(self: &Arc<Formula>, bytes: usize) -> Option<(Storage, Layout, DType)> {
        let layout = Layout::contiguous(&self.shape);
        let fits = |source: &&Source| {
            let Source::Memory { storage, dtype, offset, strides } = source else { return false };
            let is_same = |s: &&Source| matches!(s, Source::Memory { storage: other, .. } if other.same(storage));
            let own = self.sources.iter().filter(is_same).count();
            *dtype == self.result
                && *offset == 0
                && *strides == layout.strides
                && storage.bytes() == bytes
                && storage.count() as usize == own
                && !storage.is_exposed()
                && !storage.is_waiting()
        };
        // The formula is that of one value, which nobody computes on the way to another.
        let Some(Source::Memory { storage, .. }) = self.sources.iter().find(fits) else { return None };
        (Arc::strong_count(self) == 1 && self.compute == self.result).then(|| (storage.clone(), layout, self.result))
    }

    /// A formula whose sources wait only where they can be part of its program.
    fn new(
        op: &'static str,
        program: &'static Program,
        (compute, result): (DType, DType),
        sources: SmallVec<[Source; 3]>,
        layout: &Layout,
    ) -> Result<Arc<Formula>> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let fits = |source: &Source, f: &Formula| {
            let Source::Memory { offset, strides, .. } = source else { return false };
            *offset == 0 && *strides == layout.strides && f.shape == layout.shape && f.compute == compute
        };
        let mut steps = program.steps.len();
        for source in &sources {
            match source.waiting() {
                Some((_, formula)) if fits(source, &formula) => steps += formula.steps,
                Some((pending, _)) => pending.settle()?,
                None => {}
            }
        }
        if steps > LONGEST {
            steps = shortened(program.steps.len(), &sources)?;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let shape = layout.shape.clone();
        Ok(Arc::new(Formula { op, program, compute, result, shape, sources, number, steps }))
    }
}

/// The steps of a program and of all that its sources wait for, each value counted once. While they are too many, the
/// source that waits for most is computed.
fn shortened(own: usize, sources: &[Source]) -> Result<usize> {
    loop {
        let mut members = Vec::new();
        add_waiting(&mut members, sources, |_| Ok(true))?;
        let steps = own + members.iter().map(|m| m.1.program.steps.len()).sum::<usize>();
        let longest = sources.iter().filter_map(Source::waiting).max_by_key(|(_, formula)| formula.steps);
        match longest {
            Some((pending, _)) if steps > LONGEST => pending.settle()?,
            _ => return Ok(steps),
        }
    }
}

/// Adds all formulas that sources wait for and that `is_part` lets in, each once, found level by level.
fn add_waiting(
    members: &mut Vec<Member>,
    sources: &[Source],
    mut is_part: impl FnMut(&Pending) -> Result<bool>,
) -> Result<()> {
    let mut next = members.len();
    let mut add = |members: &mut Vec<Member>, source: &Source| -> Result<()> {
        let Some((pending, formula)) = source.waiting() else { return Ok(()) };
        let address = std::ptr::from_ref(pending).addr();
        if members.iter().all(|m| m.0 != address) && is_part(pending)? {
            members.push((address, formula));
        }
        Ok(())
    };
    sources.iter().try_for_each(|source| add(members, source))?;
    while let Some((_, formula)) = members.get(next).cloned() {
        next += 1;
        formula.sources.iter().try_for_each(|source| add(members, source))?;
    }
    Ok(())
}

impl Pending {
    /// Bytes that the elements take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True as long as the elements are not computed.
    pub fn is_waiting(&self) -> bool {
        self.block.load(Ordering::Acquire).is_null()
    }

    /// The elements, computed where they are not yet.
    ///
    /// # Panics
    /// As [`memory::give_up`], where there is no memory for them; [`Pending::settle`] gives the error.
    #[inline]
    pub fn elements(&self) -> *mut u8 {
        let block = self.block.load(Ordering::Acquire);
        if !block.is_null() {
            return block;
        }
        if let Err(error) = self.settle() {
            memory::give_up(error);
        }
        self.block.load(Ordering::Acquire)
    }

    /// Computes the elements where they are not yet.
    ///
    /// # Errors
    /// Where there is no memory for them. The value waits on.
    #[cold]
    pub fn settle(&self) -> Result<()> {
        let _running = self.running.lock();
        let Some(formula) = self.formula.lock().clone() else { return Ok(()) };
        let fused = Fused::of(&formula)?;
        let block = Fresh::new(formula.op, self.bytes)?;
        let layout = Layout::contiguous(&formula.shape);
        let output = Output { data: block.at.as_ptr(), dtype: formula.result, strides: &layout.strides };
        profiler::part(&fused.label(), || fused.run(&formula, output, None))?;
        self.block.store(block.keep(), Ordering::Release);
        let done = self.formula.lock().take();
        drop(done);
        Ok(())
    }
}

/// Memory for elements that are being computed: it goes back where that fails or ends in its midst.
struct Fresh {
    at: NonNull<u8>,
    bytes: usize,
}

impl Fresh {
    fn new(op: &'static str, bytes: usize) -> Result<Fresh> {
        let at = pool::allocate_aligned(bytes).ok_or(Error::OutOfMemory { op, bytes })?;
        Ok(Fresh { at, bytes })
    }

    /// The memory, which is the caller's from now on.
    fn keep(self) -> *mut u8 {
        ManuallyDrop::new(self).at.as_ptr()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this size, and nobody has seen it.
        unsafe { pool::free_aligned(self.at, self.bytes) };
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.lender.get().is_none()
            && let Some(block) = NonNull::new(*self.block.get_mut())
        {
            // SAFETY: the block came from `pool::allocate_aligned` with this size, and the last owner is going.
            unsafe { pool::free_aligned(block, self.bytes) };
        }
    }
}

impl Tensor {
    /// True as long as the elements are not computed.
    pub fn is_pending(&self) -> bool {
        self.storage().is_waiting()
    }

    /// Computes the elements where they wait to be.
    ///
    /// # Errors
    /// Where there is no memory for them.
    pub fn settle(&self) -> Result<()> {
        match self.storage().pending() {
            Some(pending) if pending.is_waiting() => pending.settle(),
            _ => Ok(()),
        }
    }

    /// The address of the first element for somebody outside, who may write to it whenever they like: operations that
    /// read this memory no longer wait.
    ///
    /// # Errors
    /// Where there is no memory for elements that wait.
    pub fn expose(&self) -> Result<*mut u8> {
        self.settle()?;
        self.storage().expose();
        Ok(self.data_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{arithmetic, inplace, unary};

    fn large() -> Tensor {
        let numbers: Vec<f32> = (0..2 * ELEMENTS).map(|i| (i % 1000) as f32 / 500.0 - 1.0).collect();
        Tensor::from_slice(&numbers)
    }

    #[test]
    fn a_chain_waits_and_gives_the_same_bits() {
        let x = large();
        let y = arithmetic::mul(&unary::tanh(&arithmetic::add(&x, 0.5).unwrap()).unwrap(), &x).unwrap();
        assert!(y.is_pending());
        let expected: Vec<u32> = {
            let a = arithmetic::add(&x, 0.5).unwrap();
            a.settle().unwrap();
            let b = unary::tanh(&a).unwrap();
            b.settle().unwrap();
            arithmetic::mul(&b, &x).unwrap().to_vec::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()
        };
        let found: Vec<u32> = y.to_vec::<f32>().unwrap().iter().map(|v| v.to_bits()).collect();
        assert!(!y.is_pending());
        assert_eq!(found, expected);
    }

    #[test]
    fn a_write_leaves_the_old_values_to_those_that_wait() {
        let x = large();
        let first = x.to_vec::<f32>().unwrap()[3];
        let y = arithmetic::add(&x, 1.0).unwrap();
        let z = arithmetic::mul(&y, 2.0).unwrap();
        inplace::fill_(&x, 7.0.into()).unwrap();
        assert_eq!(z.to_vec::<f32>().unwrap()[3], (first + 1.0) * 2.0);
        assert_eq!(y.to_vec::<f32>().unwrap()[3], first + 1.0);
    }

    #[test]
    fn long_chains_are_cut_and_freed_in_constant_stack() {
        let mut y = large();
        for _ in 0..10_000 {
            y = arithmetic::add(&y, 1.0).unwrap();
        }
        assert!(y.is_pending());
        drop(y);
    }
}
