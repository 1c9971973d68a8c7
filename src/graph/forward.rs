//! Forward mode: tangents that travel with tensors through operations.
//!
//! Levels nest. What is computed for the tangent of a level sees the tangents of the levels outside of it and no others,
//! so that derivatives of derivatives come out and none is confused with another.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::arena::NodeRef;
use super::mode::{self, enable_grad, is_grad_enabled};
use super::node::Backward;
use super::transform;
use crate::engine::{self, accumulate};
use crate::error::{Error, Result};
use crate::ops::{arithmetic, batch, cast, copy, inplace, view, window};
use crate::tensor::Tensor;

/// A level that was entered.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    /// A number that no other level has, ever.
    number: u64,
    /// Whether tangents were carried where it was entered.
    was_enabled: bool,
    /// False where tangents are not carried: here, or at the entry of a level further in.
    is_seen: bool,
}

thread_local! {
    /// The levels that were entered, the innermost last.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A tensor's tangents: the number of the level, the version of the primal's memory, the tangent.
pub(super) type Tangents = SmallVec<[(u64, u32, Tensor); 1]>;

/// True where some operation may have a tangent to carry.
#[inline]
pub fn is_active() -> bool {
    mode::visible_levels() > 0
}

/// Has operations carry tangents, or not; gives what it was. Levels that were entered while they did not hide those around them.
pub fn set_enabled(enabled: bool) -> bool {
    let before = mode::set_tangents_enabled(enabled);
    ENTERED.with_borrow_mut(|all| look_again(all));
    before
}

fn look_again(entered: &mut [Entered]) {
    let mut seen = mode::are_tangents_enabled();
    for level in entered.iter_mut().rev() {
        level.is_seen = seen;
        seen &= level.was_enabled;
    }
}

/// Enters a level; gives its place, counted from 0.
pub fn enter_level() -> usize {
    let enabled = mode::are_tangents_enabled();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let level = ENTERED.with_borrow_mut(|all| {
        all.push(Entered { number, was_enabled: enabled, is_seen: enabled });
        all.len() - 1
    });
    mode::set_visible_levels(level + 1);
    mode::enter_dual();
    level
}

/// Leaves the innermost level: its tangents are gone.
///
/// # Errors
/// Where `level` is not the innermost.
pub fn exit_level(level: usize) -> Result<()> {
    let left = ENTERED.with_borrow_mut(|all| {
        if level + 1 != all.len() {
            return Err(Error::DualLevel { given: level, innermost: all.len() as isize - 1 });
        }
        all.pop();
        look_again(all);
        Ok(all.len())
    })?;
    mode::set_visible_levels(left);
    mode::exit_dual();
    Ok(())
}

/// How many levels are seen.
#[inline]
pub(crate) fn depth() -> usize {
    mode::visible_levels()
}

/// The innermost level, if there is one.
pub fn current_level() -> Option<usize> {
    mode::visible_levels().checked_sub(1)
}

/// A level that operations here belong to.
fn entered(level: usize) -> Option<Entered> {
    if level < mode::visible_levels() { ENTERED.with_borrow(|all| all.get(level).copied()) } else { None }
}

/// The number of a level that is seen.
fn number(level: usize) -> Option<u64> {
    entered(level).filter(|level| level.is_seen).map(|level| level.number)
}

/// Runs a closure that sees only the levels outside of `level`.
pub(crate) fn outside<R>(level: usize, f: impl FnOnce() -> R) -> R {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            mode::set_visible_levels(self.0);
        }
    }
    let _restore = Restore(mode::set_visible_levels(level));
    f()
}

/// Runs a closure whose operations leave neither nodes nor tangents.
pub(crate) fn unrecorded<R>(f: impl FnOnce() -> R) -> R {
    if is_active() { outside(0, || mode::no_grad(f)) } else { mode::no_grad(f) }
}

/// The levels of a thread, for another that works for it.
pub(super) fn snapshot() -> Option<Vec<Entered>> {
    is_active().then(|| ENTERED.with_borrow(Vec::clone))
}

/// Takes over the levels of another thread; gives those before.
pub(super) fn restore(entered: Vec<Entered>) -> Vec<Entered> {
    ENTERED.replace(entered)
}

/// The levels that any of these tensors has a tangent of, from the outermost.
pub(crate) fn levels<'a>(tensors: impl IntoIterator<Item = &'a Tensor> + Clone) -> SmallVec<[usize; 2]> {
    let seen = |level: &usize| tensors.clone().into_iter().any(|t| t.tangent(*level).is_ok_and(|t| t.is_some()));
    (0..depth()).filter(seen).collect()
}

impl Tensor {
    /// The tangent of a level, if there is one.
    ///
    /// # Errors
    /// Where there is no memory for that of a view whose base was changed in place.
    pub fn tangent(&self, level: usize) -> Result<Option<Tensor>> {
        let Some(number) = number(level) else { return Ok(None) };
        let found = self.meta().and_then(|m| m.tangent(number));
        // Of all views, also of those whose history is not that of their base: tangents are recorded by no mode.
        let Some(dual) = self.view_of().and_then(|view| view.of_tangents()) else { return Ok(found.map(|(_, t)| t)) };
        match found {
            Some((version, tangent)) if version == self.version() => Ok(Some(tangent)),
            _ if dual.version() == 0 => Ok(found.map(|(_, t)| t)),
            _ => match dual.tangent(level)? {
                Some(whole) => {
                    let seen = window::Window::new(dual.as_laid_out().layout(), self.layout());
                    outside(level, || window::extract(&whole, &seen)).map(Some)
                }
                None => Ok(None),
            },
        }
    }

    /// Sets or removes the tangent of a level.
    pub(crate) fn set_tangent(&self, level: usize, tangent: Option<Tensor>) {
        if let Some(number) = number(level)
            && (tangent.is_some() || self.meta().is_some())
        {
            self.meta_or_new().set_tangent(number, self.version(), tangent);
        }
    }

    /// Sets the tangents that another tensor of the same elements has.
    pub(crate) fn copy_tangents(&self, from: &Tensor) -> Result<()> {
        (0..depth()).try_for_each(|level| {
            self.set_tangent(level, from.tangent(level)?);
            Ok(())
        })
    }
}

/// A dual tensor: the elements of `primal`, in the same memory, that carry `tangent` at a level.
///
/// # Errors
/// For tensors that cannot have derivatives, and tangents of another shape or dtype.
pub fn make_dual(primal: &Tensor, tangent: &Tensor, level: usize) -> Result<Tensor> {
    let Some(entered) = entered(level) else { return Err(Error::NoDualLevel) };
    if !primal.dtype().is_floating_point() {
        return Err(Error::DualDType { what: "primal", dtype: primal.dtype() });
    }
    if !tangent.dtype().is_floating_point() {
        return Err(Error::DualDType { what: "tangent", dtype: tangent.dtype() });
    }
    if tangent.dtype() != primal.dtype() {
        return Err(Error::DTypeMismatch { op: "make_dual", left: primal.dtype(), right: tangent.dtype() });
    }
    if tangent.shape() != primal.shape() {
        return Err(Error::DualShape { primal: primal.shape().to_vec(), tangent: tangent.shape().to_vec() });
    }
    if bottom(tangent).tangent(level)?.is_some() {
        return Err(Error::DualTangent { level });
    }
    // A view, as changes of the dual are changes of the primal with their history; the tangents are the dual's alone.
    let dual = view::alias(primal)?.with_own_tangents();
    let bottom = bottom(&dual);
    // Also where tangents are not carried now.
    let tangent = match (primal.batch(), tangent.batch()) {
        (None, None) => laid_beside(primal, tangent)?,
        _ => batch::peeled(tangent, &batch::levels(primal))?,
    };
    bottom.meta_or_new().set_tangent(entered.number, bottom.version(), Some(tangent));
    Ok(dual)
}

/// The primal without the tangent of a level, and that tangent.
///
/// # Errors
/// Where there is no memory.
pub fn unpack_dual(dual: &Tensor, level: usize) -> Result<(Tensor, Option<Tensor>)> {
    let tangent = bottom(dual).tangent(level)?.map(|t| batch::dressed(&t, &batch::levels(dual))).transpose()?;
    let primal = outside(level, || view::alias(dual))?.with_own_tangents();
    Ok((primal, tangent))
}

/// The tangents that a tensor has, with their levels.
pub(super) fn tangents(t: &Tensor) -> SmallVec<[(usize, Tensor); 1]> {
    (0..depth()).filter_map(|level| Some((level, t.tangent(level).ok()??))).collect()
}

/// The tangents that a tensor has, by the numbers of their levels.
pub(super) fn numbered(t: &Tensor) -> Tangents {
    tangents(t).into_iter().filter_map(|(level, tangent)| Some((number(level)?, t.version(), tangent))).collect()
}

/// Gives a tensor tangents of levels by their numbers.
pub(super) fn give(t: &Tensor, all: Tangents) {
    for (number, _, tangent) in all {
        t.meta_or_new().set_tangent(number, t.version(), Some(tangent));
    }
}

/// True where somebody differentiates by what tangents of any of these tensors came from, or tangents of these.
pub(crate) fn has_open_tangents<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<bool> {
    let mut open: Vec<(Tensor, usize)> = Vec::new();
    if is_active() {
        open.extend(tensors.into_iter().map(|t| (t.clone(), depth())));
    }
    while let Some((t, levels)) = open.pop() {
        for level in 0..levels {
            if let Some(tangent) = bottom(&t).tangent(level)? {
                if transform::has_open_leaves(&tangent) {
                    return Ok(true);
                }
                open.push((tangent, level));
            }
        }
    }
    Ok(false)
}

/// The value at the bottom of all batches: tangents live there, as histories do.
pub(crate) fn bottom(t: &Tensor) -> &Tensor {
    let mut t = t;
    while let Some(batch) = t.batch() {
        t = &batch.value;
    }
    t
}

/// Carries tangents through a recorded operation by its derivative alone. The derivative is linear in the gradient `u`,
/// `v(u) = J^T u`; so the derivative of `v` with respect to `u`, applied to the tangents, is `J t`.
pub(crate) fn through(node: &NodeRef, inputs: &[&Tensor], outputs: &[&Tensor]) -> Result<()> {
    for level in levels(inputs.iter().copied()) {
        let tangents: SmallVec<[Option<Tensor>; 2]> = inputs.iter().map(|x| x.tangent(level)).collect::<Result<_>>()?;
        for (n, y) in outputs.iter().enumerate().filter(|(_, y)| y.dtype().is_floating_point()) {
            let found = outside(level, || product(node, inputs, &tangents, outputs.len(), n, y))?;
            carry(node, n, y, level, own(found, inputs.iter().copied(), y, level)?);
        }
    }
    Ok(())
}

/// Sets the tangent of an output, also where the node keeps the output for backward.
pub(crate) fn carry(node: &NodeRef, output: usize, y: &Tensor, level: usize, tangent: Tensor) {
    let Some(number) = number(level) else { return };
    for saved in node.saved().iter().filter(|saved| saved.is_output(output)) {
        match saved.tensor(node) {
            Some(kept) => kept.set_tangent(level, Some(tangent.clone())),
            None => saved.add_tangent(number, &tangent),
        }
    }
    y.set_tangent(level, Some(tangent));
}

/// A tangent for a result: a copy where it is that of an operand whose memory the result does not share.
pub(crate) fn own<'a>(
    tangent: Tensor,
    operands: impl IntoIterator<Item = &'a Tensor>,
    y: &Tensor,
    level: usize,
) -> Result<Tensor> {
    for x in operands.into_iter().filter(|x| !x.storage().same(y.storage())) {
        if x.tangent(level)?.is_some_and(|t| t.storage().same(tangent.storage())) {
            return outside(level, || copy::clone(&tangent));
        }
    }
    Ok(tangent)
}

/// A tangent as it lies beside its primal: a copy in the primal's layout where it has another, or memory of another size.
fn laid_beside(primal: &Tensor, tangent: &Tensor) -> Result<Tensor> {
    let (own, given) = (primal.layout(), tangent.layout());
    let is_same = |d: usize| own.shape[d] == 1 || own.strides[d] == given.strides[d];
    let lies_so = own.offset == given.offset
        && primal.storage().bytes() == tangent.storage().bytes()
        && (0..own.rank()).all(is_same);
    if lies_so || own.numel() == 0 || !own.is_non_overlapping() {
        return Ok(tangent.clone());
    }
    let memory = Tensor::zeros(&[own.end()], primal.dtype())?;
    let y = Tensor::new(memory.storage().clone(), own.clone(), primal.dtype(), memory.versioning());
    inplace::copy_(&y, tangent)
}

/// `J t` for output `n` of a node.
fn product(
    node: &NodeRef,
    inputs: &[&Tensor],
    tangents: &[Option<Tensor>],
    outputs: usize,
    n: usize,
    y: &Tensor,
) -> Result<Tensor> {
    let u = Tensor::ones(y.shape(), y.dtype())?.requiring_grad()?;
    let needs: SmallVec<[bool; 4]> = tangents.iter().map(Option::is_some).collect();
    let mut gradients: SmallVec<[Option<Tensor>; 1]> = smallvec::smallvec![None; outputs];
    gradients[n] = Some(u.clone());
    let found = enable_grad(|| node.run(true, &Backward { gradients: &gradients, needs: &needs, node }))?;
    let (mut ends, mut starts) = (Vec::new(), Vec::new());
    for (index, (gradient, tangent)) in found.into_iter().zip(tangents).enumerate() {
        if let (Some(g), Some(t)) = (gradient, tangent) {
            let g = enable_grad(|| accumulate::fitted(g, inputs[index].shape(), inputs[index].dtype(), node, index))?;
            if g.requires_grad() {
                ends.push(g);
                starts.push(Some(t.clone()));
            }
        }
    }
    if ends.is_empty() {
        return Tensor::zeros(y.shape(), y.dtype());
    }
    // Nobody else differentiates by `u`.
    transform::close(&u);
    let recorded = is_grad_enabled();
    let found = engine::transform(&ends, &[u], &starts, recorded, false)?.run()?.pop().flatten();
    found.map_or_else(|| Tensor::zeros(y.shape(), y.dtype()), |t| transform::released(&t, recorded))
}

/// A tangent as an operand of an element-wise operation has it: in the result's shape and dtype.
pub(crate) fn spread(tangent: &Tensor, y: &Tensor) -> Result<Tensor> {
    view::expand(&cast::to(tangent, y.dtype())?, &view::signed(y.shape()))
}

/// The sum of what several operands add to a tangent.
pub(crate) fn added(sum: Option<Tensor>, term: Tensor) -> Result<Tensor> {
    match sum {
        Some(sum) => arithmetic::add(&sum, &term),
        None => Ok(term),
    }
}
