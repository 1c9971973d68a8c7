//! A recorded operation: what it was, where its inputs came from, what its outputs look like.

mod derivative;

use std::any::Any;
use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

pub use derivative::{Backward, Derivative, Gradients, Label, Setting};
use smallvec::SmallVec;

use super::accumulator::AccumulateGrad;
use super::anomaly;
use super::arena::NodeRef;
use super::cycles::Object;
use super::extras::Extras;
use super::saved::Saved;
use crate::error::Result;
use crate::fork;
use crate::memory::{self, boxed_or_new, pool};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;

/// An output of a node: where the gradient of a tensor is sent.
#[derive(Clone)]
pub struct Edge {
    /// The node that made the tensor, or that accumulates into a leaf.
    pub node: NodeRef,
    /// Which of its outputs the tensor is.
    pub output: u32,
}

/// Room inside of a node for what its operation keeps.
const INLINE: usize = 8;
type Payload = [MaybeUninit<u64>; INLINE];

/// Who looks at the values that a derivative keeps.
type Visitor<'a> = &'a mut dyn FnMut(&mut Saved);

/// The functions of one kind of derivative, for a payload of that kind.
struct Functions {
    name: unsafe fn(*const u64) -> &'static str,
    run: unsafe fn(&Node, bool, &Backward) -> Result<Gradients>,
    drop: unsafe fn(*mut u64),
    leaf: unsafe fn(*const u64) -> Option<Tensor>,
    visit: unsafe fn(*mut u64, Visitor),
    links: unsafe fn(*mut u64, &mut Vec<Object>),
    labelled: unsafe fn(*const u64) -> Vec<(Label, Saved)>,
    settings: unsafe fn(*const u64, &Node) -> Vec<(&'static str, Setting)>,
    calls_host: bool,
    is_accumulator: bool,
    takes_undefined: bool,
    is_light: bool,
    type_id: fn() -> std::any::TypeId,
}

/// Where a payload of type `D` is: in the node, or in a block of the pool whose address is in the node.
const fn is_inline<D>() -> bool {
    size_of::<D>() <= size_of::<Payload>() && align_of::<D>() <= align_of::<u64>()
}

/// # Safety
/// `payload` holds a `D` as [`store`] left it.
unsafe fn locate<D>(payload: *const u64) -> *mut D {
    if is_inline::<D>() {
        payload.cast_mut().cast()
    } else {
        // SAFETY: `store` wrote the block's address.
        unsafe { payload.cast::<*mut D>().read() }
    }
}

fn store<D: Any>(value: D, payload: &mut Payload) {
    let at = payload.as_mut_ptr();
    // SAFETY: an inline value fits; the address of a block always does.
    unsafe {
        if is_inline::<D>() {
            at.cast::<D>().write(value);
        } else {
            let Some(block) = pool::allocate(size_of::<D>()) else { memory::exhausted(size_of::<D>()) };
            block.cast::<D>().write(value);
            at.cast::<NonNull<D>>().write(block.cast());
        }
    }
}

struct Table<D>(std::marker::PhantomData<D>);

impl<D: Derivative> Table<D> {
    const FUNCTIONS: Functions = Functions {
        // SAFETY: each function is called with the payload it was stored beside.
        name: |p| unsafe { (*locate::<D>(p)).name() },
        // SAFETY: as above, for the payload of the node.
        run: |node, keep, call| unsafe { node.run_as::<D>(keep, call) },
        // SAFETY: as above; the payload is not used after.
        drop: |p| unsafe {
            let at = locate::<D>(p);
            at.drop_in_place();
            if !is_inline::<D>() {
                pool::free(NonNull::new_unchecked(at.cast()), size_of::<D>());
            }
        },
        // SAFETY: as above.
        leaf: |p| unsafe { (*locate::<D>(p)).leaf() },
        // SAFETY: as above.
        visit: |p, f| unsafe { (*locate::<D>(p)).visit(f) },
        // SAFETY: as above.
        links: |p, to| unsafe { (*locate::<D>(p)).links(to) },
        // SAFETY: as above.
        labelled: |p| unsafe { (*locate::<D>(p)).labelled() },
        // SAFETY: as above.
        settings: |p, node| unsafe { (*locate::<D>(p)).settings(node) },
        calls_host: D::CALLS_HOST,
        is_accumulator: D::IS_ACCUMULATOR,
        is_light: D::IS_LIGHT,
        takes_undefined: D::TAKES_UNDEFINED,
        type_id: std::any::TypeId::of::<D>,
    };
}

/// The edges of a node that is being made.
pub type Edges = SmallVec<[Option<Edge>; 4]>;

/// Edges that a node has within itself.
const INLINE_EDGES: usize = 2;

/// The edges: within the node, or where there are more of them in a block of the pool.
union EdgeStore {
    inline: ManuallyDrop<[MaybeUninit<Option<Edge>>; INLINE_EDGES]>,
    block: NonNull<Option<Edge>>,
}

impl EdgeStore {
    #[inline]
    fn new(mut edges: Edges) -> EdgeStore {
        let count = edges.len();
        let mut store = EdgeStore { inline: ManuallyDrop::new([const { MaybeUninit::uninit() }; INLINE_EDGES]) };
        if count == 0 {
            return store;
        }
        if count > INLINE_EDGES {
            let bytes = count * size_of::<Option<Edge>>();
            let Some(block) = pool::allocate(bytes) else { memory::exhausted(bytes) };
            store = EdgeStore { block: block.cast() };
        }
        // SAFETY: there is room for `count` edges, which are the store's from now on and not the list's.
        unsafe {
            store.first(count).cast_mut().copy_from_nonoverlapping(edges.as_ptr(), count);
            edges.set_len(0);
        }
        store
    }

    /// The first of `count` edges.
    #[inline]
    fn first(&self, count: usize) -> *const Option<Edge> {
        // SAFETY: more edges than fit are in a block, fewer are inline.
        unsafe { if count > INLINE_EDGES { self.block.as_ptr() } else { (&raw const self.inline).cast() } }
    }

    /// # Safety
    /// There are `count` edges, which nobody uses any more.
    #[inline]
    unsafe fn free(&mut self, count: usize) {
        let first = self.first(count).cast_mut();
        // SAFETY: as the caller says.
        unsafe {
            std::ptr::slice_from_raw_parts_mut(first, count).drop_in_place();
            if count > INLINE_EDGES {
                pool::free(self.block.cast(), count * size_of::<Option<Edge>>());
            }
        }
    }
}

/// What one output, or each of several, looked like.
pub(super) struct Outputs {
    dtype: DType,
    /// [`MANY`] where `sizes` has the address of a box.
    rank: u8,
    /// The common case: one output of few dimensions.
    sizes: [u32; 4],
}

/// The sizes of an output as they are kept.
enum Sizes<'a> {
    Few(&'a [u32]),
    Any(&'a [usize]),
}

type Many = Box<[(DType, Shape)]>;
const MANY: u8 = u8::MAX;

/// The sizes of a small output of few dimensions.
#[inline]
fn few(shape: &[usize]) -> Option<[u32; 4]> {
    let sizes = match *shape {
        [] => [0; 4],
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c] => [a, b, c, 0],
        [a, b, c, d] => [a, b, c, d],
        _ => return None,
    };
    (sizes.iter().fold(0, |all, &s| all | s) <= u32::MAX as usize).then(|| sizes.map(|s| s as u32))
}

impl Outputs {
    #[inline]
    pub fn new(outputs: &[(&[usize], DType)]) -> Outputs {
        if let [(shape, dtype)] = *outputs
            && let Some(sizes) = few(shape)
        {
            return Outputs { dtype, rank: shape.len() as u8, sizes };
        }
        Outputs::many(outputs)
    }

    #[cold]
    #[inline(never)]
    fn many(outputs: &[(&[usize], DType)]) -> Outputs {
        let many: Many = outputs.iter().map(|&(shape, dtype)| (dtype, Shape::from_slice(shape))).collect();
        let mut sizes = [0u32; 4];
        // SAFETY: the address has room, at any alignment.
        unsafe { sizes.as_mut_ptr().cast::<*mut Many>().write_unaligned(Box::into_raw(Box::new(many))) };
        Outputs { dtype: DType::F32, rank: MANY, sizes }
    }
}

/// A recorded operation.
pub struct Node {
    functions: &'static Functions,
    extras: AtomicPtr<Extras>,
    payload: UnsafeCell<Payload>,
    edges: EdgeStore,
    sizes: [u32; 4],
    edge_count: u32,
    dtype: DType,
    rank: u8,
    lock: AtomicU8,
}

// SAFETY: payloads are `Send + Sync` derivatives, reached under `lock`.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    /// Writes a node into its slot.
    ///
    /// # Safety
    /// `at` is room for a node, and nobody else's.
    #[inline]
    pub(super) unsafe fn write<D: Derivative>(at: *mut Node, derivative: D, edges: Edges, outputs: Outputs) {
        // SAFETY: as the caller says; every field is written.
        unsafe {
            (&raw mut (*at).functions).write(const { &Table::<D>::FUNCTIONS });
            (&raw mut (*at).extras).write(AtomicPtr::new(null_mut()));
            store(derivative, &mut *(&raw mut (*at).payload).cast::<Payload>());
            (&raw mut (*at).edge_count).write(edges.len() as u32);
            (&raw mut (*at).edges).write(EdgeStore::new(edges));
            (&raw mut (*at).sizes).write(outputs.sizes);
            (&raw mut (*at).dtype).write(outputs.dtype);
            (&raw mut (*at).rank).write(outputs.rank);
            (&raw mut (*at).lock).write(AtomicU8::new(0));
        }
    }

    /// Keeps the lines of the program that record the node, where the mode asks for them.
    #[inline]
    pub(super) fn note_origin(&self) {
        if anomaly::is_enabled()
            && let Some(origin) = anomaly::origin()
        {
            let _ = self.extras_or_new().origin.set(origin);
        }
    }

    /// What few nodes have, if this one does.
    #[inline]
    pub fn extras(&self) -> Option<&Extras> {
        // SAFETY: once set, the extras stay until the node drops.
        unsafe { self.extras.load(Ordering::Acquire).as_ref() }
    }

    /// What few nodes have, made where it is not there yet.
    pub fn extras_or_new(&self) -> &Extras {
        // SAFETY: the extras come from a box, and once set stay until the node drops.
        unsafe { boxed_or_new(&self.extras) }
    }

    /// Runs `f` on the payload, alone.
    #[inline]
    fn locked<R>(&self, f: impl FnOnce(*mut u64) -> R) -> R {
        let stamp = fork::stamp();
        while self.lock.swap(stamp, Ordering::Acquire) == stamp {
            std::thread::yield_now();
        }
        let result = f(self.payload.get().cast());
        self.lock.store(0, Ordering::Release);
        result
    }

    /// torch's name of the node.
    pub fn name(&self) -> &'static str {
        // SAFETY: the payload was stored beside these functions.
        self.locked(|p| unsafe { (self.functions.name)(p) })
    }

    /// Runs the derivative. Saved values stay in the node only where `keep`, or where it fails: another pass may succeed.
    ///
    /// # Errors
    /// As [`Derivative::backward`].
    #[inline]
    pub fn run(&self, keep: bool, call: &Backward) -> Result<Gradients> {
        // SAFETY: the node's payload was stored beside these functions.
        unsafe { (self.functions.run)(self, keep, call) }
    }

    /// As [`Node::run`]. The derivative runs outside of the node, which others may look at meanwhile.
    ///
    /// # Safety
    /// The payload is a `D`.
    #[inline]
    unsafe fn run_as<D: Derivative>(&self, keep: bool, call: &Backward) -> Result<Gradients> {
        // SAFETY: as the caller says; nobody else has the payload while it is locked.
        let mut derivative = self.locked(|p| unsafe { (*locate::<D>(p)).take(keep) });
        let found = derivative.backward(call);
        if found.is_err() && !keep {
            // SAFETY: as above.
            drop(self.locked(|p| unsafe { std::mem::replace(&mut *locate::<D>(p), derivative) }));
        }
        found
    }

    /// The tensor that this node accumulates into, for the nodes at the leaves.
    pub fn leaf(&self) -> Option<Tensor> {
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.leaf)(p) })
    }

    /// Lets the node of a leaf accumulate into the tensor that took the leaf's place.
    pub(super) fn replace_leaf(&self, leaf: Tensor) {
        if self.is_accumulator() {
            // SAFETY: the payload is an `AccumulateGrad`, and nobody else has it while it is locked.
            let before = self.locked(|p| unsafe { std::mem::replace(&mut (*locate::<AccumulateGrad>(p)).leaf, leaf) });
            drop(before);
        }
    }

    /// The values that the node keeps.
    pub fn saved(&self) -> Vec<Saved> {
        let mut all = Vec::new();
        self.visit(&mut |saved| all.push(saved.clone()));
        all
    }

    /// Calls `f` with every value that the node keeps; it must not call the node.
    pub(super) fn visit(&self, f: &mut dyn FnMut(&mut Saved)) {
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.visit)(p, f) });
    }

    /// As [`Derivative::labelled`].
    pub fn labelled(&self) -> Vec<(Label, Saved)> {
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.labelled)(p) })
    }

    /// As [`Derivative::settings`].
    pub fn settings(&self) -> Vec<(&'static str, Setting)> {
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.settings)(p, self) })
    }

    /// The sizes of input `n`, where it needs a gradient.
    pub fn input_sizes(&self, n: usize) -> Option<Shape> {
        let edge = self.edges().get(n)?.as_ref()?;
        Some(edge.node.output(edge.output as usize).0)
    }

    /// Adds what the node refers to.
    pub(super) fn links(&self, to: &mut Vec<Object>) {
        to.extend(self.edges().iter().flatten().map(|edge| Object::Node(edge.node.clone())));
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.links)(p, to) });
        if let Some(extras) = self.extras() {
            extras.links(to);
        }
    }

    /// Cuts the references to what few nodes have, where nobody has the node.
    pub(super) fn clear(&self) {
        if let Some(extras) = self.extras() {
            extras.clear();
        }
    }

    /// Looks at the derivative where it is of this kind.
    pub fn with_derivative<D: Derivative, R>(&self, f: impl FnOnce(&D) -> R) -> Option<R> {
        let kind = (self.functions.type_id)();
        if kind == std::any::TypeId::of::<D>() {
            // SAFETY: the payload is a `D`, as its type tells, and nobody else has it while it is locked.
            return Some(self.locked(|p| f(unsafe { &*locate::<D>(p) })));
        }
        None
    }

    /// True for the nodes at the leaves.
    #[inline]
    pub fn is_accumulator(&self) -> bool {
        self.functions.is_accumulator
    }

    /// Where the inputs came from; `None` for those that need no gradient.
    #[inline]
    pub fn edges(&self) -> &[Option<Edge>] {
        let count = self.edge_count as usize;
        // SAFETY: there are as many, and they never change.
        unsafe { std::slice::from_raw_parts(self.edges.first(count), count) }
    }

    /// Where the outputs are several, or of many dimensions: what they look like.
    #[inline]
    fn many(&self) -> Option<*mut Many> {
        // SAFETY: `Outputs::new` wrote the address.
        if self.rank == MANY { Some(unsafe { self.sizes.as_ptr().cast::<*mut Many>().read_unaligned() }) } else { None }
    }

    /// What output `n` looks like: the sizes of the common case, or the shape of one of many.
    #[inline]
    fn look(&self, n: usize) -> (DType, Sizes<'_>) {
        let Some(many) = self.many() else { return (self.dtype, Sizes::Few(&self.sizes[..self.rank as usize])) };
        // SAFETY: the box lives as long as the node.
        unsafe { &*many }.get(n).map_or((DType::F32, Sizes::Any(&[])), |(dtype, shape)| (*dtype, Sizes::Any(shape)))
    }

    /// How many outputs there are.
    #[inline]
    pub fn output_count(&self) -> usize {
        // SAFETY: as in `look`.
        self.many().map_or(1, |many| unsafe { &*many }.len())
    }

    /// Shape and dtype of an output.
    pub fn output(&self, n: usize) -> (Shape, DType) {
        match self.look(n) {
            (dtype, Sizes::Few(sizes)) => (sizes.iter().map(|&s| s as usize).collect(), dtype),
            (dtype, Sizes::Any(shape)) => (shape.into(), dtype),
        }
    }

    /// How many elements the first output has.
    #[inline]
    pub fn output_numel(&self) -> usize {
        match self.look(0).1 {
            Sizes::Few(sizes) => sizes.iter().map(|&s| s as usize).product(),
            Sizes::Any(shape) => shape.iter().product(),
        }
    }

    /// True where an output is a single element of this dtype.
    #[inline]
    pub fn is_single(&self, n: usize, dtype: DType) -> bool {
        match self.look(n) {
            (d, Sizes::Few(sizes)) => d == dtype && sizes.iter().all(|&s| s == 1),
            (d, Sizes::Any(shape)) => d == dtype && shape.iter().all(|&s| s == 1),
        }
    }

    /// True where a gradient of this shape and dtype is an output's without change.
    #[inline]
    pub fn output_is(&self, n: usize, shape: &[usize], dtype: DType) -> bool {
        match self.look(n) {
            (d, Sizes::Few(sizes)) => {
                d == dtype && sizes.len() == shape.len() && sizes.iter().zip(shape).all(|(&a, &b)| a as usize == b)
            }
            (d, Sizes::Any(sizes)) => d == dtype && sizes == shape,
        }
    }

    /// True where running the node may call functions of the host language.
    #[inline]
    pub fn calls_host(&self) -> bool {
        self.is_host_function() || self.extras().is_some()
    }

    /// True where the derivative is a function of the host language.
    #[inline]
    pub fn is_host_function(&self) -> bool {
        self.functions.calls_host
    }

    /// True where the derivative only says what is to be computed.
    pub fn is_light(&self) -> bool {
        self.functions.is_light
    }

    /// True where the derivative runs even if none of its outputs has a gradient.
    #[inline]
    pub fn takes_undefined(&self) -> bool {
        self.functions.takes_undefined
    }
}

impl Drop for Node {
    #[inline]
    fn drop(&mut self) {
        let extras = *self.extras.get_mut();
        // SAFETY: the payload was stored beside these functions, the extras came from a box, and none of it is used after.
        unsafe {
            (self.functions.drop)(self.payload.get().cast());
            self.edges.free(self.edge_count as usize);
            if let Some(many) = self.many() {
                drop(Box::from_raw(many));
            }
            if !extras.is_null() {
                drop(Box::from_raw(extras));
            }
        }
    }
}
