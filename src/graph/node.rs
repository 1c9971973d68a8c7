//! A recorded operation: what it was, where its inputs came from, what its outputs look like.

use std::any::Any;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::anomaly::{self, Origin};
use super::arena::NodeRef;
use super::hooks::{HookHandle, Hooks, PostHook, PreHook, TensorHook};
use super::saved::{self, Packed, Saved};
use crate::error::Result;
use crate::memory::pool;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;

/// The gradients of an operation's inputs, in the order of its edges. `None`: not asked for, or zero everywhere.
pub type Gradients = SmallVec<[Option<Tensor>; 2]>;

/// An output of a node: where the gradient of a tensor is sent.
#[derive(Clone)]
pub struct Edge {
    /// The node that made the tensor, or that accumulates into a leaf.
    pub node: NodeRef,
    /// Which of its outputs the tensor is.
    pub output: u32,
}

/// What a derivative is given.
pub struct Backward<'a> {
    /// The gradients of the outputs; `None` where nothing depends on an output.
    pub gradients: &'a [Option<Tensor>],
    /// Which inputs' gradients are wanted, by edge.
    pub needs: &'a [bool],
    /// The node itself.
    pub node: &'a NodeRef,
}

impl Backward<'_> {
    /// The gradient of the first output.
    ///
    /// The engine calls derivatives with at least one gradient, so operations with one output have this one.
    pub fn gradient(&self) -> Result<Tensor> {
        match self.gradients.first() {
            Some(Some(g)) => Ok(g.clone()),
            _ => {
                let (shape, dtype) = self.node.output(0);
                Tensor::zeros(&shape, dtype)
            }
        }
    }

    /// True where the gradient of input `n` is wanted.
    #[inline]
    pub fn needs(&self, n: usize) -> bool {
        self.needs.get(n).copied().unwrap_or(false)
    }
}

/// How an operation passes gradients from its outputs to its inputs: it returns them and leaves adding, summing over
/// broadcast dimensions and casting to the engine.
pub trait Derivative: Clone + Send + Sync + 'static {
    /// torch's name of the node: `TanhBackward0`.
    fn name(&self) -> &'static str;

    /// The gradients of the inputs.
    ///
    /// # Errors
    /// What its operations raise, and saved values that were freed or changed.
    fn backward(&self, call: &Backward) -> Result<Gradients>;

    /// A copy to run backward with. Where `keep` is false the saved values move into it, and the node is left freed.
    fn take(&mut self, keep: bool) -> Self;

    /// The tensor that this node accumulates into, for the nodes at the leaves.
    fn leaf(&self) -> Option<Tensor> {
        None
    }

    /// Calls `f` with every value that is kept, in a fixed order.
    fn visit(&mut self, _f: &mut dyn FnMut(&mut Saved)) {}

    /// True for derivatives that call the host language: they run on the thread that the pass was started on.
    const CALLS_HOST: bool = false;
    /// True for derivatives that run even where no output has a gradient.
    const TAKES_UNDEFINED: bool = false;
}

/// Room inside of a node for what its operation keeps.
const INLINE: usize = 10;
type Payload = [MaybeUninit<u64>; INLINE];

/// Who looks at the values that a derivative keeps.
type Visitor<'a> = &'a mut dyn FnMut(&mut Saved);

/// The functions of one kind of derivative, for a payload of that kind.
struct Functions {
    name: unsafe fn(*const u64) -> &'static str,
    take: unsafe fn(*mut u64, bool, *mut Payload),
    backward: unsafe fn(*const u64, &Backward) -> Result<Gradients>,
    drop: unsafe fn(*mut u64),
    leaf: unsafe fn(*const u64) -> Option<Tensor>,
    visit: unsafe fn(*mut u64, Visitor),
    calls_host: bool,
    takes_undefined: bool,
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
            let Some(block) = pool::allocate(size_of::<D>()) else {
                std::alloc::handle_alloc_error(std::alloc::Layout::new::<D>())
            };
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
        // SAFETY: as above; the new payload is filled with the same kind of derivative.
        take: |p, keep, to| unsafe { store((*locate::<D>(p)).take(keep), &mut *to) },
        // SAFETY: as above.
        backward: |p, call| unsafe { (*locate::<D>(p)).backward(call) },
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
        calls_host: D::CALLS_HOST,
        takes_undefined: D::TAKES_UNDEFINED,
        type_id: std::any::TypeId::of::<D>,
    };
}

/// A derivative taken out of its node, ready to run.
pub struct Taken {
    functions: &'static Functions,
    payload: Payload,
}

impl Taken {
    /// Runs the derivative.
    #[inline]
    pub fn backward(&self, call: &Backward) -> Result<Gradients> {
        // SAFETY: the payload was stored beside these functions.
        unsafe { (self.functions.backward)(self.payload.as_ptr().cast(), call) }
    }
}

impl Drop for Taken {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `backward`; the payload is not used after.
        unsafe { (self.functions.drop)(self.payload.as_mut_ptr().cast()) }
    }
}

/// What one output, or each of several, looked like.
enum Outputs {
    /// The common case: one output of few dimensions.
    One {
        dtype: DType,
        rank: u8,
        sizes: [u32; 5],
    },
    Many(Box<[(DType, Shape)]>),
}

impl Outputs {
    #[inline]
    fn new(outputs: &[(&[usize], DType)]) -> Outputs {
        if let [(shape, dtype)] = *outputs
            && shape.len() <= 5
            && shape.iter().all(|&s| s <= u32::MAX as usize)
        {
            let mut sizes = [0u32; 5];
            sizes.iter_mut().zip(shape).for_each(|(to, &from)| *to = from as u32);
            return Outputs::One { dtype, rank: shape.len() as u8, sizes };
        }
        Outputs::Many(outputs.iter().map(|&(shape, dtype)| (dtype, Shape::from_slice(shape))).collect())
    }
}

/// A recorded operation.
pub struct Node {
    functions: &'static Functions,
    sequence: u64,
    lock: AtomicBool,
    payload: std::cell::UnsafeCell<Payload>,
    outputs: Outputs,
    edges: SmallVec<[Option<Edge>; 2]>,
    extras: OnceLock<Box<Extras>>,
}

/// What belongs to one output or another.
type ByOutput<T> = SmallVec<[(u32, T); 1]>;

/// What few nodes have.
#[derive(Default)]
pub struct Extras {
    /// Outputs whose gradients are kept, and the gradients.
    retained: Mutex<ByOutput<Option<Tensor>>>,
    /// Hooks on the tensors that are outputs.
    tensor_hooks: Mutex<ByOutput<Hooks<TensorHook>>>,
    /// Hooks before the derivative runs.
    pub pre_hooks: Hooks<PreHook>,
    /// Hooks after the derivative ran.
    pub post_hooks: Hooks<PostHook>,
    /// Where the host language recorded the node, for those who look for a mistake.
    pub origin: OnceLock<Origin>,
    /// What the host language keeps with the node.
    pub host: OnceLock<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: payloads are `Send + Sync` derivatives, reached under `lock`.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl Node {
    /// A node of one output whose derivative keeps no values.
    #[inline]
    pub fn new<D: Derivative>(
        derivative: D,
        edges: SmallVec<[Option<Edge>; 2]>,
        shape: &[usize],
        dtype: DType,
    ) -> Node {
        Node::with(derivative, edges, Outputs::new(&[(shape, dtype)]))
    }

    /// A node whose derivative keeps values, which the hooks of the present mode may see.
    ///
    /// # Errors
    /// What the hooks raise, and for tensors made in inference mode.
    #[inline]
    pub fn keeping<D: Derivative>(
        derivative: D,
        edges: SmallVec<[Option<Edge>; 2]>,
        outputs: &[(&[usize], DType)],
    ) -> Result<Node> {
        let (derivative, hooks) = saved::admitted(derivative)?;
        let outputs = Outputs::new(outputs);
        match hooks {
            None => Ok(Node::with(derivative, edges, outputs)),
            Some(hooks) => Ok(Node::with(Packed::new(derivative, hooks)?, edges, outputs)),
        }
    }

    #[inline]
    fn with<D: Derivative>(derivative: D, edges: SmallVec<[Option<Edge>; 2]>, outputs: Outputs) -> Node {
        let mut payload: Payload = [MaybeUninit::uninit(); INLINE];
        store(derivative, &mut payload);
        let node = Node {
            functions: const { &Table::<D>::FUNCTIONS },
            // Made after all the nodes it points to, so numbers fall along edges whichever threads made the nodes.
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
            lock: AtomicBool::new(false),
            payload: std::cell::UnsafeCell::new(payload),
            outputs,
            edges,
            extras: OnceLock::new(),
        };
        if anomaly::is_enabled()
            && let Some(origin) = anomaly::origin()
        {
            let _ = node.extras_or_new().origin.set(origin);
        }
        node
    }

    /// What few nodes have, if this one does.
    #[inline]
    pub fn extras(&self) -> Option<&Extras> {
        self.extras.get().map(Box::as_ref)
    }

    /// What few nodes have, made where it is not there yet.
    pub fn extras_or_new(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// Runs `f` on the payload, alone.
    #[inline]
    fn locked<R>(&self, f: impl FnOnce(*mut u64) -> R) -> R {
        while self.lock.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        let result = f(self.payload.get().cast());
        self.lock.store(false, Ordering::Release);
        result
    }

    /// torch's name of the node.
    pub fn name(&self) -> &'static str {
        // SAFETY: the payload was stored beside these functions.
        self.locked(|p| unsafe { (self.functions.name)(p) })
    }

    /// Takes the derivative out to run it; saved values stay in the node only where `keep`.
    #[inline]
    pub fn take(&self, keep: bool) -> Taken {
        let mut payload: Payload = [MaybeUninit::uninit(); INLINE];
        // SAFETY: as in `name`; `take` fills the new payload with the same kind of derivative.
        self.locked(|p| unsafe { (self.functions.take)(p, keep, &mut payload) });
        Taken { functions: self.functions, payload }
    }

    /// The tensor that this node accumulates into, for the nodes at the leaves.
    pub fn leaf(&self) -> Option<Tensor> {
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.leaf)(p) })
    }

    /// The values that the node keeps.
    pub fn saved(&self) -> Vec<Saved> {
        let mut all = Vec::new();
        // SAFETY: as in `name`.
        self.locked(|p| unsafe { (self.functions.visit)(p, &mut |saved| all.push(saved.clone())) });
        all
    }

    /// Looks at the derivative where it is of this kind.
    pub fn with_derivative<D: Derivative, R>(&self, f: impl FnOnce(&D) -> R) -> Option<R> {
        if (self.functions.type_id)() != std::any::TypeId::of::<D>() {
            return None;
        }
        // SAFETY: the payload is a `D`, as its type tells, and nobody else has it while it is locked.
        Some(self.locked(|p| f(unsafe { &*locate::<D>(p) })))
    }

    /// True for the nodes at the leaves.
    #[inline]
    pub fn is_accumulator(&self) -> bool {
        (self.functions.type_id)() == std::any::TypeId::of::<super::accumulator::AccumulateGrad>()
    }

    /// The node's place in the order of recording.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Where the inputs came from; `None` for those that need no gradient.
    #[inline]
    pub fn edges(&self) -> &[Option<Edge>] {
        &self.edges
    }

    /// How many outputs there are.
    pub fn output_count(&self) -> usize {
        match &self.outputs {
            Outputs::One { .. } => 1,
            Outputs::Many(all) => all.len(),
        }
    }

    /// Shape and dtype of an output.
    pub fn output(&self, n: usize) -> (Shape, DType) {
        match &self.outputs {
            Outputs::One { dtype, rank, sizes } => {
                (sizes[..*rank as usize].iter().map(|&s| s as usize).collect(), *dtype)
            }
            Outputs::Many(all) => all.get(n).map_or((Shape::new(), DType::F32), |(d, s)| (s.clone(), *d)),
        }
    }

    /// How many elements the first output has.
    #[inline]
    pub fn output_numel(&self) -> usize {
        match &self.outputs {
            Outputs::One { rank, sizes, .. } => sizes[..*rank as usize].iter().map(|&s| s as usize).product(),
            Outputs::Many(all) => all.first().map_or(0, |(_, s)| s.iter().product()),
        }
    }

    /// True where running the node may call functions of the host language.
    #[inline]
    pub fn calls_host(&self) -> bool {
        self.functions.calls_host || self.extras.get().is_some()
    }

    /// True where the derivative runs even if none of its outputs has a gradient.
    #[inline]
    pub fn takes_undefined(&self) -> bool {
        self.functions.takes_undefined
    }

    /// True where a gradient of this shape and dtype is an output's without change.
    #[inline]
    pub fn output_is(&self, n: usize, shape: &[usize], dtype: DType) -> bool {
        match &self.outputs {
            Outputs::One { dtype: d, rank, sizes } => {
                *d == dtype && *rank as usize == shape.len() && sizes.iter().zip(shape).all(|(&a, &b)| a as usize == b)
            }
            Outputs::Many(all) => all.get(n).is_some_and(|(d, s)| *d == dtype && s.as_slice() == shape),
        }
    }
}

impl Extras {
    /// Keeps the gradient of an output from the next pass on.
    pub(crate) fn retain(&self, output: u32) {
        let mut retained = self.retained.lock();
        if !retained.iter().any(|(o, _)| *o == output) {
            retained.push((output, None));
        }
    }

    /// The gradient kept for an output.
    pub(crate) fn retained(&self, output: u32) -> Option<Tensor> {
        self.retained.lock().iter().find(|(o, _)| *o == output)?.1.clone()
    }

    /// Stores a gradient where one is kept.
    pub(crate) fn store_retained(&self, output: u32, grad: Option<Tensor>) {
        let mut retained = self.retained.lock();
        let slot = retained.iter_mut().find(|(o, _)| *o == output);
        let before = slot.and_then(|(_, kept)| std::mem::replace(kept, grad));
        drop(retained);
        drop(before);
    }

    /// Adds a hook on the tensor that is an output.
    pub(crate) fn hook_tensor(&self, output: u32, hook: Arc<TensorHook>) -> HookHandle {
        let mut all = self.tensor_hooks.lock();
        if let Some((_, hooks)) = all.iter().find(|(o, _)| *o == output) {
            return hooks.add(hook);
        }
        let hooks = Hooks::default();
        let handle = hooks.add(hook);
        all.push((output, hooks));
        handle
    }

    /// The hooks on the tensor that is an output.
    pub(crate) fn tensor_hooks(&self, output: u32) -> Vec<Arc<TensorHook>> {
        let all = self.tensor_hooks.lock();
        all.iter().find(|(o, _)| *o == output).map_or_else(Vec::new, |(_, hooks)| hooks.all())
    }
}

impl Drop for Node {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the payload was stored beside these functions and is not used after.
        unsafe { (self.functions.drop)(self.payload.get().cast()) }
    }
}

/// Nodes are to stay near two cache lines.
const _: () = assert!(size_of::<super::arena::Slot>() <= 208);
