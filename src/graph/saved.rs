//! Values kept for backward, with the version they had.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::anomaly;
use super::arena::NodeRef;
use super::cycles::{Holder, Object};
use super::forward::{self, Tangents};
use super::meta::Meta;
use super::mode;
use super::node::{Derivative, Edge, Node};
use crate::error::{Error, Result};
use crate::kernels::element::Element;
use crate::memory::spin::Spin;
use crate::ops::cast;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::{Buffer, Storage, Versioning};

/// A value kept for backward, or the place of one that is not needed or no longer there.
#[repr(C)]
pub struct Saved {
    /// A pointer or the bits of a number, as `kind` tells.
    held: u64,
    /// The version that the value had; of a number what it was given as: [`FLOAT`], [`INTEGER`] or [`TRUTH`].
    version: u32,
    /// Which output of the node the value is, plus one; 0 for other values.
    output: u16,
    /// For the owner of the value: which operand it is.
    pub source: u8,
    kind: Kind,
}

/// What a [`Saved`] holds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nothing,
    /// A tensor.
    Tensor,
    /// The memory of an output of the node, which knows its shape and dtype.
    Memory,
    /// A number.
    Number,
    /// What hooks made of a value: a [`Kept`].
    Packed,
    /// None any more: a pass freed it.
    Freed,
}

const FLOAT: u32 = 0;
const INTEGER: u32 = 1;
const TRUTH: u32 = 2;

/// Outputs of up to this many bytes are kept by their memory alone.
const SMALL_OUTPUT: usize = 1024;

impl Saved {
    #[inline]
    const fn new(kind: Kind, held: u64, version: u32, output: u16) -> Self {
        Saved { held, version, output, source: u8::MAX, kind }
    }

    /// Nothing.
    #[inline]
    pub const fn nothing() -> Self {
        Saved::new(Kind::Nothing, 0, 0, 0)
    }

    /// An input, with its history.
    #[inline]
    pub fn input(tensor: &Tensor) -> Self {
        Saved::new(Kind::Tensor, bits(tensor.clone().into_raw()), tensor.version(), 0)
    }

    /// The node's own output: kept without its history, which would be a circle.
    #[inline]
    pub fn output(tensor: &Tensor) -> Self {
        Saved::nth_output(tensor, 0)
    }

    /// One of the outputs of the node.
    #[inline]
    pub fn nth_output(tensor: &Tensor, n: u16) -> Self {
        let plain = tensor.is_plain() && tensor.numel() * tensor.dtype().size() <= SMALL_OUTPUT;
        if plain && !forward::is_active() && !mode::has_saved_hooks() {
            return Saved::new(Kind::Memory, bits(tensor.storage().clone().into_raw()), tensor.version(), n + 1);
        }
        Saved::new(Kind::Tensor, bits(tensor.detach().into_raw()), tensor.version(), n + 1)
    }

    /// A number.
    #[inline]
    pub fn number(number: Scalar) -> Self {
        let given_as = match number {
            Scalar::Float(_) => FLOAT,
            Scalar::Int(_) | Scalar::Unsigned(_) => INTEGER,
            Scalar::Bool(_) => TRUTH,
        };
        Saved::new(Kind::Number, number.as_f64().to_bits(), given_as, 0)
    }

    /// The number, where it is one.
    #[inline]
    pub fn as_number(&self) -> Option<f64> {
        if self.kind == Kind::Number { Some(f64::from_bits(self.held)) } else { None }
    }

    /// The number as it was given, where it is one.
    pub fn as_scalar(&self) -> Option<Scalar> {
        let number = self.as_number()?;
        Some(match self.version {
            INTEGER => Scalar::Int(number as i64),
            TRUTH => Scalar::Bool(number != 0.0),
            _ => Scalar::Float(number),
        })
    }

    /// True where no value is or was here.
    #[inline]
    pub fn is_nothing(&self) -> bool {
        self.kind == Kind::Nothing
    }

    /// True where a pass freed the value.
    pub fn is_freed(&self) -> bool {
        self.kind == Kind::Freed
    }

    /// True where hooks took the value.
    pub fn is_packed(&self) -> bool {
        self.kind == Kind::Packed
    }

    /// Which output of the node the value is, if it is one.
    pub fn as_output(&self) -> Option<usize> {
        usize::from(self.output).checked_sub(1)
    }

    /// What hooks made of the value, where they took it.
    fn as_packed(&self) -> Option<&Kept> {
        // SAFETY: the pointer was given up by an `Arc`, and is taken up when this drops.
        if self.kind == Kind::Packed { Some(unsafe { self.pointer().cast::<Kept>().as_ref() }) } else { None }
    }

    /// The hooks that took the value, and what they made of it.
    pub fn packed(&self) -> Option<(&Arc<dyn SavedHooks>, &Pack)> {
        self.as_packed().map(|kept| (&kept.hooks, &kept.pack))
    }

    /// True for this output of the node.
    pub(super) fn is_output(&self, n: usize) -> bool {
        usize::from(self.output) == n + 1
    }

    #[inline]
    fn pointer(&self) -> NonNull<()> {
        // Kinds with a pointer were made of one that is not null.
        NonNull::new(std::ptr::with_exposed_provenance_mut(self.held as usize)).unwrap_or(NonNull::dangling())
    }

    /// The tensor, where it is kept as one.
    #[inline]
    fn as_tensor(&self) -> Option<&Tensor> {
        // SAFETY: the pointer was given up by a tensor, and is taken up when this drops.
        if self.kind == Kind::Tensor { Some(unsafe { Tensor::borrow_raw(&self.held) }) } else { None }
    }

    /// The memory, where the value is kept by it alone.
    #[inline]
    fn as_memory(&self) -> Option<&Buffer> {
        // SAFETY: the pointer was given up by a storage, and is taken up when this drops.
        if self.kind == Kind::Memory { Some(unsafe { Storage::borrow_raw(self.pointer()) }) } else { None }
    }

    /// The value as it lies here, unchecked; `None` where it was freed, and for numbers.
    pub fn tensor(&self, node: &Node) -> Option<Tensor> {
        if self.kind != Kind::Memory {
            return self.as_tensor().cloned();
        }
        // SAFETY: as in `as_memory`; the storage is given up again.
        let memory = ManuallyDrop::new(unsafe { Storage::from_raw(self.pointer()) });
        let (shape, dtype) = node.output(usize::from(self.output) - 1);
        Some(Tensor::new(Storage::clone(&memory), Layout::contiguous(&shape), dtype, Versioning::Tracked))
    }

    /// Adds the tensor, or what hooks made of it.
    pub(crate) fn links(&self, to: &mut Vec<Object>) {
        to.extend(self.as_tensor().cloned().map(Object::Tensor));
        if let Some(kept) = self.as_packed() {
            // SAFETY: the pointer came from an `Arc` whose count this value holds a part of.
            let kept: Arc<Kept> = unsafe {
                Arc::increment_strong_count(kept);
                Arc::from_raw(kept)
            };
            to.push(Object::Holder(kept));
        }
    }

    /// The value for a backward pass; it stays only where `keep`.
    #[inline]
    pub fn take(&mut self, keep: bool) -> Self {
        if keep {
            return self.clone();
        }
        let kind = if self.kind == Kind::Nothing { Kind::Nothing } else { Kind::Freed };
        let freed = Saved { held: 0, kind, ..*self };
        std::mem::replace(self, freed)
    }

    /// The bytes that go with the value: none where somebody else holds its memory too.
    pub(crate) fn last_bytes(&self) -> usize {
        self.as_tensor().filter(|t| t.is_last()).map_or(0, |t| t.storage().bytes())
    }

    /// Lets the value go, as a pass does that is done with it.
    pub(crate) fn release(&mut self) {
        drop(self.take(false));
    }

    /// The value where it is a single element of type `T`, checked to be the one that was saved: `None` for others, and
    /// where something is wrong, which [`Saved::unpack`] then tells.
    #[inline]
    pub(crate) fn peek<T: Element>(&self, node: &Node) -> Option<T> {
        let (memory, offset, version) = match self.kind {
            Kind::Number => return Some(T::from_f64(f64::from_bits(self.held))),
            Kind::Nothing | Kind::Packed | Kind::Freed => return None,
            Kind::Tensor => {
                let t = self.as_tensor().filter(|t| t.numel() == 1 && t.dtype() == T::DTYPE && t.batch().is_none())?;
                if t.meta().is_some_and(Meta::was_detached) {
                    return None;
                }
                (&**t.storage(), t.layout().offset, t.version())
            }
            Kind::Memory => {
                let memory = self.as_memory().filter(|_| node.is_single(usize::from(self.output) - 1, T::DTYPE))?;
                (memory, 0, memory.version(Versioning::Tracked))
            }
        };
        if version != self.version {
            return None;
        }
        // SAFETY: the element lies in the memory, aligned for its type.
        Some(unsafe { memory.read_element(offset) })
    }

    /// The value, checked to be the one that was saved.
    ///
    /// # Errors
    /// Where it was freed by an earlier backward pass, or changed in place.
    #[inline]
    pub fn unpack(&self, node: &NodeRef) -> Result<Tensor> {
        let tensor = self.unpack_unchecked(node)?;
        if self.kind == Kind::Tensor && tensor.meta().is_some_and(|m| m.was_detached() && m.was_detached_from(node)) {
            return Err(Error::SavedDetached { node: node.name() });
        }
        if tensor.version() != self.version && self.kind != Kind::Packed {
            return Err(self.changed(node, &tensor));
        }
        if self.output > 0 && mode::is_grad_enabled() { Ok(self.recorded(&tensor, node)) } else { Ok(tensor) }
    }

    /// The value as it is now, for those who ask for its layout alone.
    ///
    /// # Errors
    /// Where the graph was freed, and what hooks raise.
    pub fn unpack_unchecked(&self, node: &NodeRef) -> Result<Tensor> {
        match self.as_packed() {
            Some(kept) => kept.value(node.name()),
            None => self.tensor(node).ok_or_else(|| Error::GraphFreed { node: node.name() }),
        }
    }

    /// As [`Saved::unpack`], with its history also while nothing is recorded: for those who look at it.
    ///
    /// # Errors
    /// As [`Saved::unpack`].
    pub fn unpack_with_history(&self, node: &NodeRef) -> Result<Tensor> {
        let tensor = self.unpack(node)?;
        Ok(if self.output > 0 && tensor.grad_fn().is_none() { self.recorded(&tensor, node) } else { tensor })
    }

    /// The node's output with the node behind it again.
    fn recorded(&self, tensor: &Tensor, node: &NodeRef) -> Tensor {
        let output = tensor.detach();
        output.set_meta(Meta::recorded(node.clone(), u32::from(self.output) - 1));
        if forward::is_active() {
            // Nothing is computed for a tensor that is no view.
            let _ = output.copy_tangents(tensor);
        }
        output
    }

    /// The value as hooks keep it; only tensors are given to them.
    ///
    /// # Errors
    /// What the hooks raise.
    fn hooked(&self, value: &Tensor, hooks: Arc<dyn SavedHooks>) -> Result<Saved> {
        let kept = Arc::into_raw(Arc::new(Kept::new(value, hooks)?));
        Ok(Saved { held: bits(kept.cast_mut().cast()), kind: Kind::Packed, ..*self })
    }

    /// Lets hooks take the value of a node that was recorded.
    ///
    /// # Errors
    /// Where there is no value or hooks have it already, and what the hooks raise.
    pub(super) fn hook(&self, node: &NodeRef, hooks: Arc<dyn SavedHooks>) -> Result<Saved> {
        match self.kind {
            Kind::Nothing | Kind::Number => Err(Error::SavedHookOnNone),
            Kind::Packed => Err(Error::SavedHookTwice),
            Kind::Freed => Err(Error::SavedHookFreed),
            Kind::Tensor | Kind::Memory => match self.tensor(node) {
                Some(value) => self.hooked(&value, hooks),
                None => Err(Error::SavedHookOnNone),
            },
        }
    }

    /// Notes a tangent, of a level by its number, of a value that hooks have.
    pub(super) fn add_tangent(&self, number: u64, tangent: &Tensor) {
        if let Some(kept) = self.as_packed() {
            kept.tangents.lock().push((number, 0, tangent.clone()));
        }
    }

    /// True where both hold the same thing.
    pub(super) fn is_same(&self, other: &Saved) -> bool {
        self.kind == other.kind && self.held == other.held
    }

    #[cold]
    fn changed(&self, node: &NodeRef, tensor: &Tensor) -> Error {
        let hint = match anomaly::change(tensor.storage().as_ptr() as usize) {
            Some(line) => format!("it was last changed here:\n{line}"),
            None => "use x = x.op(...) in place of x.op_(...), or clone() the tensor first; under \
                     autograd.set_detect_anomaly(True) this message shows the line that changed it"
                .into(),
        };
        Error::SavedChanged {
            node: node.name(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            found: tensor.version(),
            expected: self.version,
            hint,
        }
    }
}

#[inline]
fn bits(pointer: *mut ()) -> u64 {
    pointer.expose_provenance() as u64
}

impl Clone for Saved {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(tensor) = self.as_tensor() {
            std::mem::forget(tensor.clone());
        }
        if self.kind == Kind::Memory {
            // SAFETY: as in `as_memory`; the storage is given up again, and so is its clone.
            let memory = ManuallyDrop::new(unsafe { Storage::from_raw(self.pointer()) });
            std::mem::forget(Storage::clone(&memory));
        }
        if let Some(kept) = self.as_packed() {
            // SAFETY: the pointer came from an `Arc`, whose count this value holds a part of.
            unsafe { Arc::increment_strong_count(std::ptr::from_ref(kept)) };
        }
        Saved { ..*self }
    }
}

impl Drop for Saved {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the pointer was given up when this was made, and is taken up once, here.
        unsafe {
            match self.kind {
                Kind::Nothing | Kind::Number | Kind::Freed => {}
                Kind::Packed => drop(Arc::from_raw(self.pointer().cast::<Kept>().as_ptr().cast_const())),
                Kind::Tensor => drop(Tensor::from_raw(self.pointer())),
                Kind::Memory => drop(Storage::from_raw(self.pointer())),
            }
        }
    }
}

/// What becomes of a value while it is kept: to a disk and back, to a list, to nothing and computed again.
pub trait SavedHooks: Holder + Any {
    /// What is kept in place of the value.
    ///
    /// # Errors
    /// What the host language raises.
    fn pack(&self, value: &Tensor) -> Result<Pack>;
    /// The value again.
    ///
    /// # Errors
    /// What the host language raises.
    fn unpack(&self, pack: &Pack) -> Result<Tensor>;
    /// Adds the object of the host language that is kept in place of a value.
    fn links_of(&self, _pack: &Pack, _to: &mut Vec<Object>) {}
}

/// What is kept in place of a value.
pub type Pack = Arc<dyn Any + Send + Sync>;

/// Lets a derivative keep what it keeps, and hooks take it where there are any; says whether they did.
///
/// # Errors
/// For tensors made in inference mode, and what the hooks raise.
#[inline]
pub(super) fn admit<D: Derivative>(derivative: &mut D) -> Result<bool> {
    if mode::may_have_inference_tensors() {
        let mut inference = false;
        derivative.visit(&mut |saved| inference |= saved.as_tensor().is_some_and(Tensor::is_inference));
        if inference {
            return Err(Error::SavedInference);
        }
    }
    match mode::saved_hooks() {
        None => Ok(false),
        Some(hooks) => pack(derivative, &hooks).map(|()| true),
    }
}

/// Sends all that a derivative keeps through hooks.
#[cold]
fn pack<D: Derivative>(derivative: &mut D, hooks: &Arc<dyn SavedHooks>) -> Result<()> {
    let mut done = Ok(());
    derivative.visit(&mut |saved| {
        if let (Ok(()), Some(value)) = (&done, saved.as_tensor().cloned()) {
            match saved.hooked(&value, hooks.clone()) {
                Ok(packed) => *saved = packed,
                Err(error) => done = Err(error),
            }
        }
    });
    done
}

/// A value that went through hooks.
struct Kept {
    hooks: Arc<dyn SavedHooks>,
    pack: Pack,
    shape: Shape,
    dtype: DType,
    /// The history of the value, given back with it.
    edge: Option<Edge>,
    /// Its tangents, by the numbers of their levels: so are they.
    tangents: Spin<Tangents>,
}

impl Kept {
    /// Sends a value through the hooks. What they compute is not recorded.
    fn new(value: &Tensor, hooks: Arc<dyn SavedHooks>) -> Result<Kept> {
        let version = value.version();
        let pack = mode::no_grad(|| hooks.pack(value))?;
        if value.version() != version {
            return Err(Error::PackChanges);
        }
        let (shape, dtype) = (value.layout().shape.clone(), value.dtype());
        let tangents = Spin::new(if forward::is_active() { forward::numbered(value) } else { Tangents::new() });
        Ok(Kept { hooks, pack, shape, dtype, edge: value.gradient_edge(), tangents })
    }

    /// The value again, as it looked, with its history.
    fn value(&self, node: &'static str) -> Result<Tensor> {
        let given = self.hooks.unpack(&self.pack)?;
        if *given.shape() != self.shape[..] {
            let (expected, given) = (self.shape.to_vec(), given.shape().to_vec());
            return Err(Error::Unpacked { node, expected, given });
        }
        let tangents = self.tangents.lock().clone();
        if self.edge.is_none() && !given.requires_grad() && given.dtype() == self.dtype && tangents.is_empty() {
            return Ok(given);
        }
        let value = cast::to(&given.detach(), self.dtype)?;
        if let Some(edge) = &self.edge {
            value.set_meta(Meta::recorded(edge.node.clone(), edge.output));
        }
        forward::give(&value, tangents);
        Ok(value)
    }
}

impl Holder for Kept {
    fn links(&self, to: &mut Vec<Object>) {
        to.extend(self.edge.as_ref().map(|edge| Object::Node(edge.node.clone())));
        to.extend(self.tangents.lock().iter().map(|(_, _, tangent)| Object::Tensor(tangent.clone())));
        to.push(Object::Holder(self.hooks.clone()));
        // A pack that somebody uses is held by him.
        if Arc::strong_count(&self.pack) == 1 {
            self.hooks.links_of(&self.pack, to);
        }
    }
}
