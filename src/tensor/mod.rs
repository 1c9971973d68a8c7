//! What the caller holds: numbers in strided memory, with or without a history.

mod batch;
pub mod create;
pub mod dtype;
pub mod layout;
pub mod pending;
pub mod print;
pub mod read;
pub mod scalar;
pub mod storage;

use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

pub use batch::Batch;

use crate::error::{Error, Result};
use crate::graph::cycles::Object;
use crate::graph::meta::Meta;
use crate::graph::mode;
use crate::memory::shared::Shared;
use dtype::DType;
use layout::Layout;
use storage::{Buffer, Storage, Versioning};

static DEFAULT_DTYPE: AtomicU8 = AtomicU8::new(DType::F32 as u8);

/// The type that floating-point numbers without a type become.
#[inline]
pub fn default_dtype() -> DType {
    match DEFAULT_DTYPE.load(Ordering::Relaxed) {
        n if n == DType::F64 as u8 => DType::F64,
        n if n == DType::F16 as u8 => DType::F16,
        n if n == DType::BF16 as u8 => DType::BF16,
        _ => DType::F32,
    }
}

/// Sets the type that floating-point numbers without a type become.
///
/// # Errors
/// Only floating-point types can be.
pub fn set_default_dtype(dtype: DType) -> Result<()> {
    if !dtype.is_floating_point() {
        return Err(Error::ArgumentType {
            op: "set_default_dtype",
            argument: "d".into(),
            expected: "a floating-point type",
            given: dtype.to_string(),
        });
    }
    DEFAULT_DTYPE.store(dtype as u8, Ordering::Relaxed);
    Ok(())
}

/// An n-dimensional array with a place in the graph. Clones are the same tensor.
///
/// ```
/// use ferrograd::Tensor;
/// let x = Tensor::from_slice(&[2.0f32]).requiring_grad()?;
/// let y = (&x * &x)?;
/// y.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [4.0]);
/// # Ok::<(), ferrograd::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(Shared<Inner>);

/// What a view is a view of.
#[derive(Clone)]
pub struct ViewOf {
    /// The tensor that owns the history; never a view itself.
    pub base: Tensor,
    /// What becomes of histories when the view or its base is changed in place.
    pub bond: Bond,
    /// Whose tangents the view has.
    pub duality: Duality,
}

/// Whose tangents a view shows a part of.
#[derive(Clone)]
pub enum Duality {
    /// Those of its base.
    Base,
    /// Its own: it is a dual tensor, or the primal of one, whose tangents its base does not have.
    Own,
    /// Those of a tensor with tangents of its own, which it is a view of.
    Of(Tensor),
}

/// How the history of a view goes with that of its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bond {
    /// Each follows the other: a change of one is a change of both.
    Both,
    /// The view follows its base. It is one of several outputs of a node, and cannot be changed in place where that is
    /// recorded.
    Follows,
    /// Made while nothing was recorded, or by a function of the user's: the history of neither says what the other's is.
    Apart,
    /// As `Apart`, made in inference mode.
    Inference,
}

impl Bond {
    /// That of views which are made now, where nothing is recorded.
    pub(crate) fn unrecorded() -> Bond {
        if mode::is_inference_mode_enabled() { Bond::Inference } else { Bond::Apart }
    }

    /// True where neither history follows the other.
    pub(crate) fn is_apart(self) -> bool {
        self >= Bond::Apart
    }
}

impl ViewOf {
    /// True where a change of the view in place can be handed on to the base.
    pub(crate) fn is_writable(&self) -> bool {
        self.bond == Bond::Both
    }

    /// The tensor whose tangents the view shows a part of; none where it has its own.
    pub(crate) fn of_tangents(&self) -> Option<&Tensor> {
        match &self.duality {
            Duality::Base => Some(&self.base),
            Duality::Own => None,
            Duality::Of(dual) => Some(dual),
        }
    }
}

struct Inner {
    storage: Storage,
    layout: Layout,
    dtype: DType,
    contiguous: bool,
    versioning: Versioning,
    /// The version that a view was made at.
    made_at: u32,
    view: Option<Shared<ViewOf>>,
    batch: Option<Shared<Batch>>,
    /// The autograd state: a `Shared<Meta>` given up, or null as long as there is none.
    meta: AtomicPtr<()>,
    /// For a host language: the object that stands for this tensor there. Never followed here.
    host: AtomicPtr<()>,
}

impl Drop for Inner {
    #[inline]
    fn drop(&mut self) {
        if let Some(raw) = NonNull::new(*self.meta.get_mut()) {
            // SAFETY: `raw` was given up by `set_meta` and is taken up once, here.
            drop(unsafe { Shared::<Meta>::from_raw(raw) });
        }
    }
}

impl Tensor {
    /// A tensor without history over a part of a storage.
    #[inline]
    pub(crate) fn new(storage: Storage, layout: Layout, dtype: DType, versioning: Versioning) -> Tensor {
        Tensor::with(storage, layout, dtype, versioning, None, null_mut())
    }

    #[inline]
    fn with(
        storage: Storage,
        layout: Layout,
        dtype: DType,
        versioning: Versioning,
        view: Option<Shared<ViewOf>>,
        meta: *mut (),
    ) -> Tensor {
        let contiguous = layout.is_contiguous();
        let (meta, host) = (AtomicPtr::new(meta), AtomicPtr::new(null_mut()));
        let made_at = if view.is_some() { storage.version(versioning) } else { 0 };
        Tensor(Shared::new(Inner {
            storage,
            layout,
            dtype,
            contiguous,
            versioning,
            made_at,
            view,
            batch: None,
            meta,
            host,
        }))
    }

    /// A row-major tensor whose elements are still anything.
    #[inline]
    pub(crate) fn uninitialized(op: &'static str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let numel = layout::checked_numel(op, shape, dtype.size())?;
        let storage = Buffer::allocate(op, numel * dtype.size())?;
        Ok(Tensor::new(storage, Layout::contiguous(shape), dtype, Versioning::fresh()))
    }

    /// The same elements under another layout, as a view that writes go through. Without history: `ops::view` records.
    pub(crate) fn alias(&self, layout: Layout, recorded: bool) -> Tensor {
        self.alias_with(layout, if recorded { Bond::Both } else { Bond::unrecorded() })
    }

    /// As [`Tensor::alias`], with a bond; the view of a view has the looser one of the two.
    pub(crate) fn alias_with(&self, layout: Layout, bond: Bond) -> Tensor {
        let view = match &self.0.view {
            Some(view) if view.bond >= bond && !matches!(view.duality, Duality::Own) => view.clone(),
            Some(view) => {
                let duality = match &view.duality {
                    Duality::Own => Duality::Of(self.clone()),
                    other => other.clone(),
                };
                Shared::new(ViewOf { base: view.base.clone(), bond: bond.max(view.bond), duality })
            }
            None => Shared::new(ViewOf { base: self.clone(), bond, duality: Duality::Base }),
        };
        Tensor::with(self.0.storage.clone(), layout, self.0.dtype, self.0.versioning, Some(view), null_mut())
    }

    /// This view, whose tangents are its own from now on and neither those of its base nor changed with them. Nobody else has it.
    pub(crate) fn with_own_tangents(self) -> Tensor {
        if let Some(batch) = self.batch() {
            return Tensor::batched(&batch.value.clone().with_own_tangents(), batch.level);
        }
        let Some(view) = &self.0.view else { return self };
        self.as_view(Some(Shared::new(ViewOf { base: view.base.clone(), bond: view.bond, duality: Duality::Own })))
    }

    /// The same variable as a view of something else, or of nothing.
    fn as_view(&self, view: Option<Shared<ViewOf>>) -> Tensor {
        let (inner, meta) = (&self.0, self.meta().map_or(null_mut(), |_| self.meta_or_new().into_raw()));
        Tensor::with(inner.storage.clone(), inner.layout.clone(), inner.dtype, inner.versioning, view, meta)
    }

    /// The tensor that takes the place of this one when its layout is changed in place to that of `view`, a view of it.
    /// It is the same variable: history, tangents and gradient go on, and views of what it was are views of it. A view of
    /// another tensor goes on as that view.
    pub(crate) fn relaid(&self, view: &Tensor) -> Tensor {
        if self.0.view.is_some() && view.meta().is_some() {
            view.take_gradient_of(self);
            return view.clone();
        }
        let tensor = self.with_layout(view.0.layout.clone());
        if self.0.view.is_none() {
            tensor.meta_or_new().lay_out(Some((tensor.0.storage.as_ptr() as usize, view.layout().clone())));
            tensor.take_history_of(view);
        }
        tensor.succeed();
        tensor
    }

    /// The same variable under another layout.
    fn with_layout(&self, layout: Layout) -> Tensor {
        let (inner, meta) = (&self.0, self.meta_or_new().into_raw());
        Tensor::with(inner.storage.clone(), layout, inner.dtype, inner.versioning, inner.view.clone(), meta)
    }

    /// The tensor under the layout that it has now: its layout may have been changed in place since a view was made of it.
    pub(crate) fn as_laid_out(&self) -> Tensor {
        let memory = self.0.storage.as_ptr() as usize;
        let changed = self.meta().and_then(|meta| meta.layout(memory)).filter(|layout| layout != self.layout());
        changed.map_or_else(|| self.clone(), |layout| self.with_layout(layout))
    }

    /// The same elements without history, sharing memory and versions: `detach()`.
    pub fn detach(&self) -> Tensor {
        if let Some(batch) = self.batch() {
            return Tensor::batched(&batch.value.detach(), batch.level);
        }
        Tensor::new(self.0.storage.clone(), self.0.layout.clone(), self.0.dtype, self.0.versioning)
    }

    /// This tensor's memory seen as another tensor sees its own, without history.
    ///
    /// # Panics
    /// Where it is smaller than the other's.
    pub fn with_layout_of(&self, other: &Tensor) -> Tensor {
        assert!(self.0.storage.bytes() >= other.0.storage.bytes(), "a layout needs the memory that it was made for");
        Tensor::new(self.0.storage.clone(), other.0.layout.clone(), other.0.dtype, Versioning::fresh())
    }

    /// The same elements without history and with a version counter of their own: `.data`.
    pub fn data(&self) -> Tensor {
        if let Some(batch) = self.batch() {
            return Tensor::batched(&batch.value.data(), batch.level);
        }
        let versioning = if self.is_inference() { Versioning::Inference } else { Versioning::Untracked };
        Tensor::new(self.0.storage.clone(), self.0.layout.clone(), self.0.dtype, versioning)
    }

    /// The same elements without history, whose changes count although they were made in inference mode.
    pub(crate) fn counted(&self) -> Tensor {
        match self.batch() {
            Some(batch) => Tensor::batched(&batch.value.counted(), batch.level),
            None => Tensor::new(self.0.storage.clone(), self.0.layout.clone(), self.0.dtype, Versioning::Tracked),
        }
    }

    /// This tensor's place in the graph with the elements of another tensor: what assigning `.data` makes. With its own
    /// elements it is the tensor itself, a view as before; with others it is no view.
    ///
    /// # Errors
    /// Where the tensor requires grad and the new elements could not.
    pub fn with_data(&self, data: &Tensor) -> Result<Tensor> {
        if self.has_elements_of(data) {
            return Ok(self.clone());
        }
        if self.requires_grad() && !data.dtype().is_floating_point() {
            return Err(Error::DataDType { dtype: data.dtype() });
        }
        self.own_history();
        let meta = self.meta_or_new();
        meta.lay_out(None);
        let meta = meta.clone().into_raw();
        let d = &data.0;
        let changes = self.changes();
        let versioning = if data.is_inference() { Versioning::Inference } else { Versioning::Tracked };
        let tensor = Tensor::with(d.storage.clone(), d.layout.clone(), d.dtype, versioning, None, meta);
        tensor.count_from(changes);
        tensor.succeed();
        Ok(tensor)
    }

    /// True where two tensors are element on element the same memory, of one dtype.
    pub(crate) fn has_elements_of(&self, other: &Tensor) -> bool {
        let alike = self.layout() == other.layout() && self.dtype() == other.dtype();
        alike && self.batch().is_none() && other.batch().is_none() && self.storage().same(other.storage())
    }

    /// The tensor, no longer a view where it is one of a tensor that nobody else has: what an operation made on its way
    /// to a result, or a derivative to a gradient. Nobody else has the view either.
    pub fn without_hidden_base(self) -> Tensor {
        if self.has_hidden_base() && self.0.is_unique() { self.as_view(None) } else { self }
    }

    /// True of a view of a tensor that nobody else has.
    fn has_hidden_base(&self) -> bool {
        self.0.view.as_ref().is_some_and(|view| view.is_unique() && view.base.owners() == 1)
    }

    /// True where the memory goes with this tensor, and nobody outside has it: its elements may be used up.
    #[inline]
    pub(crate) fn is_last(&self) -> bool {
        let storage = &self.0.storage;
        self.0.is_unique() && storage.count() == 1 + u32::from(self.has_hidden_base()) && !storage.is_exposed()
    }

    /// Sizes.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.0.layout.shape
    }

    /// Steps between neighbours along each dimension, in elements.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.0.layout.strides
    }

    /// Shape, strides and offset.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The type of the elements.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// How many dimensions there are.
    #[inline]
    pub fn rank(&self) -> usize {
        self.0.layout.rank()
    }

    /// How many elements there are.
    #[inline]
    pub fn numel(&self) -> usize {
        self.0.layout.numel()
    }

    /// True for row-major elements without gaps.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.0.contiguous
    }

    /// The memory.
    #[inline]
    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Which version counter writes through this tensor move.
    #[inline]
    pub(crate) fn versioning(&self) -> Versioning {
        self.0.versioning
    }

    /// How often the memory was changed in place, as torch's `_version`.
    #[inline]
    pub fn version(&self) -> u32 {
        self.0.storage.version(self.0.versioning)
    }

    /// True for a view whose memory was changed since it was made.
    #[inline]
    pub(crate) fn is_changed_view(&self) -> bool {
        self.0.view.is_some() && self.0.made_at != self.version()
    }

    /// True for tensors made in inference mode, which never take part in recording.
    #[inline]
    pub fn is_inference(&self) -> bool {
        self.0.versioning == Versioning::Inference
    }

    /// The address of the first element. Reading or writing through it needs a lock on the storage.
    #[inline]
    pub(crate) fn data_ptr(&self) -> *mut u8 {
        assert!(self.0.batch.is_none(), "this operation has no rule for batched tensors");
        self.0.storage.as_ptr().wrapping_add(self.0.layout.offset * self.0.dtype.size())
    }

    /// The elements of a contiguous tensor.
    ///
    /// # Safety
    /// The tensor is contiguous and of this type, and its storage is locked, or nobody else has it, as long as the slice
    /// is used.
    #[inline]
    pub(crate) unsafe fn elements<T: crate::kernels::element::Element>(&self) -> &[T] {
        debug_assert!(self.is_contiguous() && self.dtype() == T::DTYPE);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.data_ptr().cast(), self.numel()) }
    }

    /// The elements of a contiguous tensor, to write.
    ///
    /// # Safety
    /// As [`Self::elements`]; nobody else reads or writes them meanwhile.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "a tensor's memory is shared, and locked while it is written")]
    pub(crate) unsafe fn elements_mut<T: crate::kernels::element::Element>(&self) -> &mut [T] {
        debug_assert!(self.is_contiguous() && self.dtype() == T::DTYPE);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.data_ptr().cast(), self.numel()) }
    }

    /// What this is a view of, if it is one.
    #[inline]
    pub(crate) fn view_of(&self) -> Option<&ViewOf> {
        self.0.view.as_deref()
    }

    /// The tensor this is a view of, torch's `_base`.
    pub fn base(&self) -> Option<&Tensor> {
        self.0.view.as_ref().map(|v| &v.base)
    }

    /// True where both are the same tensor, not only equal ones.
    #[inline]
    pub fn is_same(&self, other: &Tensor) -> bool {
        self.0.same(&other.0)
    }

    /// True where no other tensor shares this one or its memory; somebody outside may still know its address.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        self.0.is_unique() && self.0.storage.is_unique()
    }

    /// The autograd state, where nobody else holds this tensor or its state.
    #[inline]
    pub(crate) fn last_meta(&self) -> Option<&Meta> {
        let raw = NonNull::new(self.0.meta.load(Ordering::Acquire)).filter(|_| self.0.is_unique())?;
        // SAFETY: once set, the state stays until the tensor drops.
        unsafe { if Shared::<Meta>::count_raw(raw) == 1 { Some(Shared::<Meta>::borrow_raw(raw)) } else { None } }
    }

    /// What tells the tensor from all others.
    pub(crate) fn address(&self) -> usize {
        self.0.address()
    }

    /// How many references to the tensor there are.
    pub(crate) fn owners(&self) -> usize {
        self.0.count() as usize
    }

    /// Adds what the tensor refers to.
    pub(crate) fn links(&self, to: &mut Vec<Object>) {
        to.extend(self.0.view.clone().map(Object::View));
        to.extend(self.0.batch.clone().map(Object::Batch));
        if let Some(raw) = NonNull::new(self.0.meta.load(Ordering::Acquire)) {
            // SAFETY: the tensor's own count keeps the state alive; it is given up again.
            let meta = unsafe { Shared::<Meta>::from_raw(raw) };
            to.push(Object::Meta(meta.clone()));
            meta.into_raw();
        }
    }

    /// The autograd state, if there is one.
    #[inline]
    pub(crate) fn meta(&self) -> Option<&Meta> {
        if let Some(batch) = self.batch() {
            return batch.value.meta();
        }
        let raw = NonNull::new(self.0.meta.load(Ordering::Acquire))?;
        // SAFETY: once set, the state stays until the tensor drops.
        Some(unsafe { Shared::<Meta>::borrow_raw(raw) })
    }

    /// The autograd state, made where there is none.
    pub(crate) fn meta_or_new(&self) -> Shared<Meta> {
        if let Some(batch) = self.batch() {
            return batch.value.meta_or_new();
        }
        let present = |raw: NonNull<()>| {
            // SAFETY: the tensor's own count keeps the state alive; the clone is ours and the original is given up again.
            let meta = unsafe { Shared::<Meta>::from_raw(raw) };
            let clone = meta.clone();
            meta.into_raw();
            clone
        };
        if let Some(raw) = NonNull::new(self.0.meta.load(Ordering::Acquire)) {
            return present(raw);
        }
        let fresh = Shared::new(Meta::default()).into_raw();
        match self.0.meta.compare_exchange(null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => NonNull::new(fresh).map(present),
            Err(theirs) => {
                // SAFETY: `fresh` was given up above and nobody else saw it.
                NonNull::new(fresh).into_iter().for_each(|f| drop(unsafe { Shared::<Meta>::from_raw(f) }));
                NonNull::new(theirs).map(present)
            }
        }
        .unwrap_or_else(|| Shared::new(Meta::default()))
    }

    /// Gives a tensor that nobody else has seen its autograd state.
    #[inline]
    pub(crate) fn set_meta(&self, meta: Meta) {
        debug_assert!(self.meta().is_none());
        self.0.meta.store(Shared::new(meta).into_raw(), Ordering::Release);
    }

    /// True for a row-major tensor that has the whole of its memory, in the common mode and without a batch: its
    /// memory, shape and dtype say all there is about its elements.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        let inner = &*self.0;
        inner.contiguous
            && inner.layout.offset == 0
            && inner.versioning == Versioning::Tracked
            && inner.view.is_none()
            && inner.batch.is_none()
    }

    /// Gives up the tensor; [`Self::from_raw`] takes it up again.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut () {
        self.0.into_raw()
    }

    /// Takes up a tensor given up by [`Self::into_raw`].
    ///
    /// # Safety
    /// `raw` came from `into_raw`, and is taken up once.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: as the caller says.
        Tensor(unsafe { Shared::from_raw(raw) })
    }

    /// Looks at a tensor given up by [`Self::into_raw`] by the place where the pointer is kept.
    ///
    /// # Safety
    /// The place holds what `into_raw` gave, not taken up while the reference lives.
    #[inline]
    pub(crate) unsafe fn borrow_raw(place: &u64) -> &Self {
        const { assert!(size_of::<Tensor>() == size_of::<u64>()) };
        // SAFETY: a tensor is the pointer that `into_raw` gave.
        unsafe { &*std::ptr::from_ref(place).cast::<Tensor>() }
    }

    /// The object that stands for this tensor in a host language, or null.
    #[inline]
    pub fn host(&self) -> *mut () {
        self.0.host.load(Ordering::Relaxed)
    }

    /// Notes the object that stands for this tensor in a host language.
    #[inline]
    pub fn set_host(&self, object: *mut ()) {
        self.0.host.store(object, Ordering::Relaxed);
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print::repr(self).unwrap_or_else(|e| e.to_string()))
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
