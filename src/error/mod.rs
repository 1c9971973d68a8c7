//! The one catalogue of errors. Each variant carries the operation's name and the values at fault, and belongs to one
//! [`Kind`], which the Python bindings turn into the exception class that torch raises.

mod class;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

pub use class::Kind;

use crate::tensor::dtype::DType;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum Error {
    /// Shapes that do not broadcast together.
    #[error(
        "{op}: the shapes {left:?} and {right:?} do not broadcast together: sizes must be equal or 1 at dimension {dim}"
    )]
    Broadcast { op: &'static str, left: Vec<usize>, right: Vec<usize>, dim: usize },
    /// Matrix operands whose inner sizes differ.
    #[error("{op}: the inner sizes must agree, got {left:?} and {right:?}")]
    InnerSizes { op: &'static str, left: Vec<usize>, right: Vec<usize> },
    /// An operand of too low or too high a rank.
    #[error("{op}: expected {expected}, got shape {shape:?}")]
    Rank { op: &'static str, expected: &'static str, shape: Vec<usize> },
    /// Shapes that had to be the same.
    #[error("{op}: {what}: expected shape {expected:?}, got {given:?}")]
    Shape { op: &'static str, what: &'static str, expected: Vec<usize>, given: Vec<usize> },
    /// A dimension that the tensor does not have.
    #[error("{op}: Dimension out of range (expected to be in range of [{}, {}], but got {dim})", -(*.rank.max(&1) as isize), *.rank.max(&1) as isize - 1)]
    DimRange { op: &'static str, dim: isize, rank: usize },
    /// A dimension of a tensor that has none.
    #[error("{op}: Dimension specified as {dim} but tensor has no dimensions")]
    NoDimensions { op: &'static str, dim: isize },
    /// The same dimension named twice.
    #[error("{op}: dim {dim} appears multiple times in the list of dims")]
    DimRepeated { op: &'static str, dim: usize },
    /// An index beyond the size.
    #[error("{op}: index {index} is out of bounds for dimension {dim} with size {size}")]
    IndexRange { op: &'static str, index: i64, dim: usize, size: usize },
    /// An index into a dimension that has no elements.
    #[error("{op}: index is out of bounds for dimension {dim} with size 0")]
    NothingToIndex { op: &'static str, dim: usize },
    /// An index beyond the size, of `gather` and its kin.
    #[error("{op}: index {index} is out of bounds for dimension {dim} with size {size}")]
    GatherRange { op: &'static str, index: i64, dim: usize, size: usize },
    /// Indices, or what stands beside them, of a shape that does not fit.
    #[error("{op}: {what}: expected shape {expected:?}, got {given:?}")]
    IndexShape { op: &'static str, what: &'static str, expected: Vec<usize>, given: Vec<usize> },
    /// More indices than dimensions.
    #[error("{op}: too many indices for tensor of dimension {rank}: got {given}")]
    TooManyIndices { op: &'static str, rank: usize, given: usize },
    /// Indices that are no integers.
    #[error("{op}: tensors used as indices must be long, int, byte or bool tensors, got {dtype}")]
    IndexDType { op: &'static str, dtype: DType },
    /// An index of a tensor without dimensions.
    #[error("{op}: invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to a number")]
    IndexScalar { op: &'static str },
    /// A shape that does not hold the elements there are.
    #[error("{op}: shape {shape:?} is invalid for input of size {numel}")]
    ReshapeSize { op: &'static str, shape: Vec<isize>, numel: usize },
    /// A reshape whose unknown size is not determined.
    #[error(
        "{op}: cannot reshape tensor of 0 elements into shape {shape:?} because the unspecified dimension size -1 can be any value and is ambiguous"
    )]
    ReshapeAmbiguous { op: &'static str, shape: Vec<isize> },
    /// A view that would need a copy.
    #[error(
        "{op}: the view {shape:?} is not compatible with the input's size {size:?} and strides {strides:?} (at least one dimension spans across two contiguous subspaces); use .reshape(...) instead"
    )]
    ViewNeedsCopy { op: &'static str, shape: Vec<usize>, size: Vec<usize>, strides: Vec<isize> },
    /// An expansion of a dimension that is not 1.
    #[error(
        "{op}: the expanded size of the tensor ({expanded}) must match the existing size ({size}) at non-singleton dimension {dim}; target sizes: {target:?}, tensor sizes: {shape:?}"
    )]
    Expand { op: &'static str, expanded: isize, size: usize, dim: usize, target: Vec<isize>, shape: Vec<usize> },
    /// An expansion to fewer dimensions.
    #[error(
        "{op}: the number of sizes provided ({given}) must be greater or equal to the number of dimensions in the tensor ({rank})"
    )]
    ExpandRank { op: &'static str, given: usize, rank: usize },
    /// A list of dimensions that is not a permutation.
    #[error(
        "{op}: the number of dimensions in the tensor input does not match the length of the desired ordering of dimensions, i.e. input.dim() = {rank} is not equal to len(dims) = {given}"
    )]
    PermuteRank { op: &'static str, rank: usize, given: usize },
    /// Sizes whose product does not fit, or negative sizes.
    #[error("{op}: sizes must be non-negative and their product must fit in memory's address range, got {shape:?}")]
    SizeOverflow { op: &'static str, shape: Vec<isize> },
    /// A view outside of its storage.
    #[error("{op}: sizes {size:?}, strides {strides:?} and offset {offset} reach beyond a storage of {len} elements")]
    StorageBounds { op: &'static str, size: Vec<usize>, strides: Vec<isize>, offset: usize, len: usize },
    /// A dtype that the operation does not take.
    #[error("{op}: not implemented for dtype {dtype}: {hint}")]
    DTypeUnsupported { op: &'static str, dtype: DType, hint: &'static str },
    /// A dtype for which the operation has no meaning.
    #[error("{op}: {rule}, got {dtype}")]
    DTypeInvalid { op: &'static str, dtype: DType, rule: &'static str },
    /// Operands whose dtypes had to agree.
    #[error("{op}: expected operands of the same dtype, got {left} and {right}")]
    DTypeMismatch { op: &'static str, left: DType, right: DType },
    /// A result that the in-place target cannot hold.
    #[error("{op}: result type {result} can't be cast to the desired output type {target}")]
    ResultCast { op: &'static str, result: DType, target: DType },
    /// An in-place operation whose result is larger than its target.
    #[error("{op}: output with shape {target:?} doesn't match the broadcast shape {result:?}")]
    InPlaceShape { op: &'static str, target: Vec<usize>, result: Vec<usize> },
    /// An in-place write to memory that several elements share.
    #[error(
        "{op}: more than one element of the written-to tensor refers to a single memory location; clone() the tensor before the in-place operation"
    )]
    Overlap { op: &'static str },
    /// An operand that shares memory with the tensor that is written to.
    #[error(
        "{op}: unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. Please clone() the tensor before performing the operation."
    )]
    SharedMemory { op: &'static str },
    /// A write to memory that NumPy marked as read-only.
    #[error("{op}: the tensor's memory is read-only")]
    ReadOnly { op: &'static str },
    /// Integer division by zero.
    #[error("{op}: ZeroDivisionError: integer division by zero")]
    IntegerDivisionByZero { op: &'static str },
    /// Integers to negative integer powers.
    #[error("{op}: integers to negative integer powers are not allowed, got the power {given}")]
    NegativeIntegerPower { op: &'static str, given: String },
    /// A reduction with no identity over nothing.
    #[error("{op}: Expected reduction dim {dims:?} to have non-zero size, got shape {shape:?}")]
    EmptyReduction { op: &'static str, shape: Vec<usize>, dims: Vec<isize> },
    /// A reduction with no identity over nothing and over all dimensions.
    #[error("{op}: Expected reduction dim to be specified for input.numel() == 0, got shape {shape:?}")]
    EmptyTotal { op: &'static str, shape: Vec<usize> },
    /// The place of an extreme element where there is none, over all dimensions.
    #[error("{op}: Expected reduction dim to be specified for input.numel() == 0, got shape {shape:?}")]
    EmptyPlaces { op: &'static str, shape: Vec<usize> },
    /// A conversion to one number of a tensor with more.
    #[error("{op}: a Tensor with {numel} elements cannot be converted to Scalar")]
    NotScalar { op: &'static str, numel: usize },
    /// A truth value of a tensor with no or several elements.
    #[error("{op}: Boolean value of Tensor with {what} is ambiguous, got shape {shape:?}")]
    AmbiguousTruth { op: &'static str, what: &'static str, shape: Vec<usize> },
    /// Numbers that make no range.
    #[error("{op}: {argument} {rule}, got {given}")]
    Range { op: &'static str, argument: &'static str, rule: &'static str, given: f64 },
    /// Bytes that are no state of a generator.
    #[error("{op}: the state {rule}, got {given}")]
    RandomState { op: &'static str, rule: String, given: String },
    /// Memory for a device that there is not.
    #[error("{op}: pin_memory=True requires an accelerator; this library computes on the CPU only")]
    PinMemory { op: &'static str },
    /// Values that do not go together, or that the operation does not take.
    #[error("{op}: {what}")]
    Invalid { op: &'static str, what: String },
    /// A value that its argument does not allow.
    #[error("{op}: {argument} {rule}, got {given}")]
    Argument { op: &'static str, argument: &'static str, rule: &'static str, given: String },
    /// An argument of the wrong type.
    #[error("{op}: {argument} must be {expected}, not {given}")]
    ArgumentType { op: &'static str, argument: String, expected: &'static str, given: String },
    /// A scale that does not go with the dtypes.
    #[error("{op}: {rule}")]
    Alpha { op: &'static str, rule: &'static str },
    /// A way of rounding that there is not.
    #[error("{op}: expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{given}'")]
    RoundingMode { op: &'static str, given: String },
    /// A number that an integer dtype does not hold.
    #[error("{op}: value cannot be converted to type {dtype} without overflow, got {given}")]
    Overflow { op: &'static str, dtype: DType, given: String },
    /// Indices side by side that do not broadcast.
    #[error("{op}: shape mismatch: indexing tensors could not be broadcast together with shapes {shapes:?}")]
    IndexShapes { op: &'static str, shapes: Vec<Vec<usize>> },
    /// A stretch of a dimension that reaches beyond it.
    #[error("{op}: start ({start}) + length ({length}) exceeds dimension size ({size})")]
    Stretch { op: &'static str, start: isize, length: isize, size: usize },
    /// A value that does not broadcast to what is indexed.
    #[error(
        "{op}: shape mismatch: value tensor of shape {value:?} cannot be broadcast to indexing result of shape {result:?}"
    )]
    IndexedShape { op: &'static str, value: Vec<usize>, result: Vec<usize> },
    /// A mask of another shape.
    #[error(
        "{op}: The shape of the mask {mask:?} does not match the shape of the indexed tensor {shape:?} at index {dim}"
    )]
    MaskShape { op: &'static str, mask: Vec<usize>, shape: Vec<usize>, dim: usize },
    /// A clamp to nothing.
    #[error("{op}: At least one of 'min' or 'max' must not be None")]
    NoBounds { op: &'static str },
    /// Data that is ragged or holds something that is not a number.
    #[error("{op}: {what}")]
    Data { op: &'static str, what: String },
    /// An empty list of tensors.
    #[error("{op}: expected a non-empty list of Tensors")]
    EmptyList { op: &'static str },
    /// No tensors to put one behind the other.
    #[error("{op}: expected a non-empty list of Tensors")]
    NothingToJoin { op: &'static str },
    /// Something torch has and this crate does not.
    #[error("{op}: {what} is not implemented")]
    NotImplemented { op: &'static str, what: String },
    /// An allocation that could not be had.
    #[error("{op}: cannot allocate {bytes} bytes")]
    OutOfMemory { op: &'static str, bytes: usize },

    /// Backward from a tensor without history.
    #[error("element {index} of tensors does not require grad and does not have a grad_fn")]
    NoGradient { index: usize },
    /// Backward from more than one element without a gradient.
    #[error(
        "grad can be implicitly created only for scalar outputs, got shape {shape:?}; pass gradient= to backward(), or grad_outputs= to grad()"
    )]
    ImplicitGradient { shape: Vec<usize> },
    /// A starting gradient of another shape.
    #[error(
        "Mismatch in shape: grad_output[{index}] has a shape of torch.Size({grad:?}) and output[{index}] has a shape of torch.Size({output:?})."
    )]
    GradientShape { index: usize, grad: Vec<usize>, output: Vec<usize> },
    /// As many gradients as outputs are needed.
    #[error("got {outputs} tensors and {grads} gradients")]
    GradientCount { outputs: usize, grads: usize },
    /// Backward a second time.
    #[error(
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward. The freed node is {node}"
    )]
    GraphFreed { node: &'static str },
    /// A saved value changed in place.
    #[error(
        "one of the variables needed for gradient computation has been modified by an inplace operation: {dtype} {shape:?}, which {node} saved, is at version {found}; expected version {expected} instead. Hint: {hint}"
    )]
    SavedChanged { node: &'static str, dtype: DType, shape: Vec<usize>, found: u32, expected: u32, hint: String },
    /// A saved value whose tensor was detached in place since.
    #[error(
        "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_(). This is not supported, please use out-of-place `.detach()` instead; {node} saved it"
    )]
    SavedDetached { node: &'static str },
    /// An input that the outputs do not depend on.
    #[error(
        "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior. It is input {index}."
    )]
    UnusedInput { index: usize },
    /// An input of `grad` that requires no gradient.
    #[error("One of the differentiated Tensors does not require grad: input {index}")]
    InputWithoutGrad { index: usize },
    /// In place on a leaf.
    #[error("{op}: a leaf Variable that requires grad is being used in an in-place operation; do it under no_grad()")]
    InPlaceLeaf { op: &'static str },
    /// In place on a view of a leaf.
    #[error(
        "{op}: a view of a leaf Variable that requires grad is being used in an in-place operation; do it under no_grad()"
    )]
    InPlaceLeafView { op: &'static str },
    /// In place on a view that was made while gradients were not recorded.
    #[error(
        "{op}: A view was created in {mode} mode and is being modified inplace with grad mode enabled. Make the view where gradients are recorded, or write where they are not. (Of a view that came out of a custom Function: This view was created inside a custom Function, which does not tell how the view and its base depend on each other; clone() it.)"
    )]
    InPlaceUnrecordedView { op: &'static str, mode: &'static str },
    /// In place on one of several outputs of one operation.
    #[error(
        "{op}: Output {output} of {node} is a view and is being modified inplace. This view {origin}. Such views cannot be modified inplace; clone() it first"
    )]
    InPlaceMultiView { op: &'static str, output: usize, node: &'static str, origin: &'static str },
    /// A hook gave a gradient where there is none.
    #[error(
        "{node}: can't replace a None gradient with a non-None value; a hook that is given None, as nothing depends on the tensor, must return None"
    )]
    HookOnUndefined { node: &'static str },
    /// Asking for a call at the end of a backward pass, outside of any.
    #[error("Final callbacks can only be installed during backward pass.")]
    CallbackOutsidePass,
    /// Differentiating a view that a function of the user's made, after its base was changed in place.
    #[error(
        "Output {output} of {node} is a view and its base or another view of its base has been modified inplace. This view was created inside a custom Function (or because an input was returned as-is), whose backward says nothing of the view as it is now; clone() the output of the custom Function"
    )]
    OutdatedView { output: usize, node: &'static str },
    /// Differentiating a view that was made while gradients were not recorded, after its base was changed in place.
    #[error(
        "A view was created in {mode} mode and its base or another view of its base has been modified inplace with grad mode enabled: the history of the view is not known. Make the view where gradients are recorded, or change its base where they are not"
    )]
    StrayView { mode: &'static str },
    /// Keeping for backward what was made in inference mode.
    #[error(
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use no_grad() instead of inference_mode()."
    )]
    SavedInference,
    /// Changing in place, outside of inference mode, what was made in it.
    #[error(
        "{op}: Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal tensor before doing inplace update."
    )]
    InPlaceInference { op: &'static str },
    /// Asking gradients, outside of inference mode, of what was made in it.
    #[error("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")]
    InferenceGrad,
    /// A hook that changes the value it is to keep.
    #[error(
        "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot be modified by in-place operations: they are needed as they are; clone() them first"
    )]
    PackChanges,
    /// A value that hooks gave back in another shape.
    #[error(
        "{node}: the unpack hook gave a tensor of shape {given:?} for a saved tensor of shape {expected:?}; unpack_hook(pack_hook(t)) must have the shape of t"
    )]
    Unpacked { node: &'static str, expected: Vec<usize>, given: Vec<usize> },
    /// Hooks on a saved value that is none.
    #[error("Calling register_hooks on a saved tensor with value None is forbidden")]
    SavedHookOnNone,
    /// Hooks on a saved value that has some.
    #[error(
        "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of hooks is allowed at a time."
    )]
    SavedHookTwice,
    /// Hooks on a saved value that a pass freed.
    #[error(
        "Calling register_hooks on a saved tensor after it has been freed. Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward."
    )]
    SavedHookFreed,
    /// Hooks on saved values where they are disabled.
    #[error("{message}")]
    SavedHooksDisabled { message: String },
    /// Numbers read within `vmap`, where there are as many as examples.
    #[error(
        "vmap: It looks like you're {what}. We don't support vmap over {what}: the batch has many values where one is read; please try to rewrite what you're doing with other operations, such as where()."
    )]
    BatchedRead { what: &'static str },
    /// A mask that every example has its own of as an index.
    #[error(
        "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over indexing with a boolean mask: how many elements it takes depends on the example; where() keeps the shape."
    )]
    BatchedMask,
    /// A result that has as many elements as the numbers of each example say.
    #[error(
        "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over {op}: how many elements it gives depends on the numbers of each example; where() keeps the shape"
    )]
    BatchedSize { op: &'static str },
    /// A change in place of a tensor that has no room for all examples.
    #[error(
        "vmap: {op}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that has more elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped over in a vmap. Please try to use out-of-place operators instead of {op}."
    )]
    BatchedInPlace { op: &'static str },
    /// Leaving a level of forward mode that is not the innermost.
    #[error(
        "Trying to exit a forward AD level that was not the last one that was created: {given}, the last is {innermost}"
    )]
    DualLevel { given: usize, innermost: isize },
    /// A dual tensor outside of every level.
    #[error(
        "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
    )]
    NoDualLevel,
    /// A dual tensor of a dtype without derivatives.
    #[error("Expected {what} to be floating point or complex, but got: {dtype}")]
    DualDType { what: &'static str, dtype: DType },
    /// A tangent of another shape than its primal.
    #[error(
        "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. Tensor is of size {primal:?} while the given forward gradient is of size {tangent:?}."
    )]
    DualShape { primal: Vec<usize>, tangent: Vec<usize> },
    /// A tangent that has a tangent itself, at the same level.
    #[error(
        "Trying to set a forward gradient that has a forward gradient at the same level {level} of its own: its tangent would be lost; take its primal by unpack_dual(), or enter another level"
    )]
    DualTangent { level: usize },
    /// Random numbers within `vmap` that was not told which.
    #[error(
        "{op}: vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness flags on vmap or perform the randomness operation out of vmap"
    )]
    BatchedRandom { op: &'static str },
    /// Random numbers in a backward pass for a batch of gradients, or beside a batch of tangents.
    #[error(
        "{op}: vmap: We do not yet support calling random operations inside of vmap. Please perform random operations outside of vmap as a workaround"
    )]
    BatchedRandomGradient { op: &'static str },
    /// A view that shows what lies outside of one example.
    #[error(
        "result = tensor.as_strided({size:?}, {strides:?}, {offset}) can access memory outside of `tensor`. {reach}. This is not supported inside of vmap, please try to rewrite the `as_strided` call as a sequence of PyTorch view operations"
    )]
    ExampleBounds { size: Vec<usize>, strides: Vec<isize>, offset: usize, reach: String },
    /// A gradient by what a map hides the other examples of, which is no tensor of its own.
    #[error(
        "grad: input {index} does not require grad: it is a single example of a vmap, whose gradient is that of all. func.grad and func.vjp give each example its own"
    )]
    ExampleInput { index: usize },
    /// A change within a transform of what was there before it.
    #[error(
        "During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({op}) that would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to explicitly accept the mutated Tensor(s) as inputs."
    )]
    InPlaceCaptured { op: &'static str },
    /// A gradient by what all examples of a map share, outside of the transforms that give each example its own.
    #[error(
        "grad: input {index} is the same for all examples of a vmap and the outputs are not: there are as many gradients as examples. func.grad and func.vjp give each example its own"
    )]
    SharedInput { index: usize },
    /// A tangent where the derivative is not known.
    #[error(
        "Trying to use forward AD with {op} that does not support it: its derivative by operand {operand} is not known"
    )]
    NoTangent { op: &'static str, operand: usize },
    /// A gradient asked of integers.
    #[error("only Tensors of floating point dtype can require gradients, got {dtype}")]
    GradDType { dtype: DType },
    /// Other elements for a leaf that requires a gradient.
    #[error("data set to a tensor that requires gradients must be floating point or complex dtype, got {dtype}")]
    DataDType { dtype: DType },
    /// `requires_grad = False` on a result.
    #[error(
        "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
    )]
    NotLeaf,
    /// `retain_grad` without history.
    #[error("can't retain_grad on Tensor that has requires_grad=False")]
    RetainGrad,
    /// A derivative that gave something which is not a number, under anomaly mode.
    #[error("Function '{node}' returned nan values in its {index}th output, the first at {at:?}.")]
    NanGradient { node: &'static str, index: usize, at: Vec<usize> },
    /// A hook where no gradient will come.
    #[error("cannot register a hook on a tensor that doesn't require gradient")]
    HookWithoutGrad,
    /// A hook after accumulation where nothing accumulates.
    #[error("post accumulate grad hooks cannot be registered on non-leaf tensors")]
    HookNotLeaf,
    /// A hook that gave another number of gradients than it was given.
    #[error("{node}: a hook has changed the number of gradients: expected {expected}, got {given}")]
    HookCount { node: &'static str, expected: usize, given: usize },
    /// A hook that gave a gradient of another look than it was given.
    #[error("{node}: a hook has changed the {property} of value: expected {expected}, got {given}")]
    HookValue { node: &'static str, property: &'static str, expected: String, given: String },
    /// Work that another thread ended.
    #[error("interrupted")]
    Interrupted,
    /// What a function of the host language raised, as it raised it.
    #[error("{0}")]
    Host(HostError),
    /// NumPy view of a tensor with history.
    #[error("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")]
    NumpyRequiresGrad,
    /// A `.grad` or `.data` that does not fit its tensor.
    #[error("assigned {what} has {property} {given}, expected {expected}")]
    Assignment { what: &'static str, property: &'static str, given: String, expected: String },
    /// A batched tensor outside of its map.
    #[error(
        "{op}: your tensor may have escaped from inside a function being vmapped: it is a single example of a map that does not run any more. Return it from the function instead"
    )]
    Escaped { op: &'static str },
    /// A gradient of another dtype than a leaf was told to have.
    #[error(
        "attempting to assign a gradient with dtype '{0}' to a tensor with grad_dtype '{1}'. The gradient must match the tensor's grad_dtype (defaults to the tensor's dtype). You can set the tensor's grad_dtype attribute with a specific dtype, or None to allow any dtype", given.scalar_type(), expected.scalar_type()
    )]
    GradDTypeMismatch { given: DType, expected: DType },
    /// Another dtype for a gradient than that which is there.
    #[error(
        "Cannot set grad_dtype to '{0}' because there is already a gradient with dtype '{1}'. Please clear the gradient (.grad = None) before changing grad_dtype", asked.scalar_type(), there.scalar_type()
    )]
    GradDTypeTaken { asked: DType, there: DType },
    /// The dtype of the gradient of what is no leaf.
    #[error("grad_dtype can only be {verb} on leaf tensors.")]
    GradDTypeOfResult { verb: &'static str },
    /// A gradient of the wrong shape from a derivative.
    #[error(
        "Function {node} returned an invalid gradient at index {index} - got {given:?} but expected shape compatible with {expected:?}"
    )]
    InvalidGradient { node: &'static str, index: usize, given: Vec<usize>, expected: Vec<usize> },
    /// Analytical and numerical derivatives differ.
    #[error("{0}")]
    GradCheck(String),
    /// The derivative of an operation that has none.
    #[error("derivative for {op} is not implemented")]
    NoDerivative { op: &'static str },
    /// A panic inside a kernel, caught.
    #[error("internal error in {op}: {what}; please report it")]
    Internal { op: &'static str, what: String },
}

/// An exception of the host language on its way through this crate.
#[derive(Clone)]
pub struct HostError(Arc<dyn Any + Send + Sync>, String);

impl HostError {
    /// Wraps an exception, with its text.
    pub fn new(exception: impl Any + Send + Sync, text: String) -> HostError {
        HostError(Arc::new(exception), text)
    }

    /// The exception, where it is of this type.
    pub fn exception<E: Any>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl PartialEq for HostError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl Error {
    /// The error as that of an operation: what fails within one that is made of others is an error of the one that was called.
    pub fn of(mut self, name: &'static str) -> Error {
        if let Some(op) = self.op_mut() {
            *op = name;
        }
        self
    }
}
