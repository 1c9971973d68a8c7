"""Which operations of a checkpoint keep their results: selective checkpoints."""

import enum
import threading
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .. import _ferrograd, ops
from .._ferrograd import Tensor
from ..random import get_rng_state, set_rng_state
from ._pytree import tree_leaves, tree_map

#: Of a thread: `pack`, that of the innermost run of a checkpoint, and `recent`, what it packed since an operation began.
current = threading.local()


def note(value: Tensor) -> None:
    """Says that a run of a checkpoint keeps a value."""
    recent = getattr(current, "recent", None)
    if recent is not None:
        recent.append(value)


class CheckpointPolicy(enum.Enum):
    """What becomes of an operation's result between the first and the second run of a checkpoint.

    `SAVE`: it is kept, and the operation does not run again. `RECOMPUTE`: it is not kept. `CPU_OFFLOAD`: it is kept, as all
    memory is the CPU's. `MUST` and `PREFER` are the same here: nobody else has a say.

    >>> CheckpointPolicy.MUST_SAVE
    <CheckpointPolicy.MUST_SAVE: 0>
    """

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


_RECOMPUTED = (CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE)


class SelectiveCheckpointContext:
    """What a policy is told beside the operation and its arguments: `op_output`, the result. `is_recompute` is False.

    >>> SelectiveCheckpointContext(is_recompute=False).is_recompute
    False
    """

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute = is_recompute
        self.op_output = op_output


_BELOW = {
    "softmax": "_softmax",
    "log_softmax": "_log_softmax",
    "scaled_dot_product_attention": "_scaled_dot_product_flash_attention_for_cpu",
    "einsum": "bmm",
    "layer_norm": "native_layer_norm",
    "group_norm": "native_group_norm",
    "batch_norm": "native_batch_norm",
    "instance_norm": "native_batch_norm",
    "max_pool2d": "max_pool2d_with_indices",
    "max_pool3d": "max_pool3d_with_indices",
}


def _below(name: str, args: tuple, kwargs: dict) -> str:
    """The name that torch has for the operation below autograd, or for the one that does most of its work there."""
    if name == "linear":
        return "addmm" if len(args) > 2 and args[2] is not None or kwargs.get("bias") is not None else "mm"
    if name.startswith("conv") and name[-2:] in ("1d", "2d", "3d"):
        return "convolution"
    if name == "matmul" and all(isinstance(x, Tensor) for x in args) and len(args) == 2:
        left, right = args[0].dim(), args[1].dim()
        if left == right == 1:
            return "dot"
        # One matrix beside many makes one product with all of their rows; on the left only where that saves a copy.
        is_one = right <= 2 or left <= 2 and args[0].requires_grad
        return ("mv" if right == 1 or left == 1 < right - 1 else "mm") if is_one else "bmm"
    return _BELOW.get(name, name)


def _changes(name: str, kwargs: dict) -> bool:
    """True for operations that write into an argument."""
    return name.endswith("_") or bool(kwargs.get("inplace")) or kwargs.get("out") is not None


def _shares(result: Any, arguments: list) -> bool:
    """True for results in the memory of an argument: views, and arguments themselves."""
    memory = {x.untyped_storage().data_ptr() for x in arguments if isinstance(x, Tensor)}
    return any(isinstance(y, Tensor) and y.untyped_storage().data_ptr() in memory for y in tree_leaves(result))


def _is_transformed(values: list) -> bool:
    batched = any(isinstance(x, Tensor) and _ferrograd._batch_level(x) for x in values)
    return batched or _ferrograd._current_dual_level() >= 0


def _same(value: Tensor, other: Any) -> bool:
    """True for the same elements in the same places."""
    if value is other or not isinstance(other, Tensor):
        return value is other
    look = (value.shape, value.stride(), value.dtype)
    return look == (other.shape, other.stride(), other.dtype) and value.data_ptr() == other.data_ptr()


def _place(value: Tensor, arguments: list) -> tuple[int | None, Tensor | None]:
    """Which of the arguments a value is; else the value itself."""
    for n, argument in enumerate(arguments):
        if _same(value, argument):
            return n, None
    return None, value.detach()


class _Entry:
    """A call whose result is kept, and what its node kept: arguments by their places, and everything else itself."""

    def __init__(self, result: Any, arguments: list, packed: list[Tensor], state: Tensor | None) -> None:
        results = [y for y in tree_leaves(result) if isinstance(y, Tensor)]
        self.nodes = [_ferrograd._node_name(y) for y in results]
        self.result = tree_map(lambda y: y.detach() if isinstance(y, Tensor) else y, result)
        self.versions = [y._version for y in results]
        self.state = state
        self.packed = [_place(value, arguments) for value in packed]

    def given(self, arguments: list, allow_mutation: bool) -> Any:
        """The result again, with what the run would have kept packed and the random numbers drawn."""
        results = [y for y in tree_leaves(self.result) if isinstance(y, Tensor)]
        if not allow_mutation and [y._version for y in results] != self.versions:
            raise RuntimeError("Tensor cached during selective activation checkpoint has been mutated")
        for n, value in self.packed:
            current.pack(value if n is None else arguments[n])
        if self.state is not None:
            set_rng_state(self.state)
        nodes = iter(self.nodes)

        def again(y: Any) -> Any:
            node = next(nodes) if isinstance(y, Tensor) else None
            # It has a history, as the result had.
            return _ferrograd._given(y, node) if node else y

        return tree_map(again, self.result)


_AGAIN = object()
_TAKEN = object()
_WHY = (
    "This can happen if the operations in the checkpointed region are nondeterministic or depend on global state that "
    "changed between forward and backward."
)


class _Results:
    """The calls of the first run, by operation and in order."""

    def __init__(self) -> None:
        self.calls: dict[Any, list] = defaultdict(list)
        #: The function differentiates what it computes: only a run of all operations leaves a graph for that.
        self.all_again = False


class _Watch:
    """A context within which the operations that the thread calls are seen."""

    def __init__(self, results: _Results) -> None:
        self.results = results
        self.outer: list = []

    def __enter__(self) -> None:
        self.outer.append((_ferrograd._set_watch(self), getattr(current, "recent", None)))
        current.recent = None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        watch, current.recent = self.outer.pop()
        _ferrograd._set_watch(watch)

    def differentiated(self) -> None:
        self.results.all_again = True
        # The graph may reach what a checkpoint around this one computed.
        around = self.outer[-1][0]
        if around is not None:
            around.differentiated()


class _First(_Watch):
    """The first run: the policy is asked of every operation."""

    def __init__(self, results: _Results, policy: Callable) -> None:
        super().__init__(results)
        self.policy = policy

    def before(self, name: str, args: tuple, kwargs: dict) -> None:
        current.recent = []
        self.state = get_rng_state()

    def after(self, name: str, args: tuple, kwargs: dict, result: Any) -> None:
        packed, current.recent = current.recent, None
        operation = ops._operations()[_below(name, args, kwargs)]
        context = SelectiveCheckpointContext(is_recompute=False, op_output=result)
        policy = self.policy(context, operation, *args, **kwargs)
        arguments = tree_leaves((args, kwargs))
        is_kept = policy not in _RECOMPUTED if isinstance(policy, CheckpointPolicy) else bool(policy)
        # Views cost nothing to make again, and what writes into an argument must.
        if not is_kept or _changes(name, kwargs) or _is_transformed([*arguments, *tree_leaves(result)]) or _shares(result, arguments):
            self.results.calls[operation].append(_AGAIN)
            return
        state = get_rng_state()
        drawn = None if state.equal(self.state) else state
        self.results.calls[operation].append(_Entry(result, arguments, packed, drawn))


class _Again(_Watch):
    """The second run: what was kept is given in the place of an operation."""

    def __init__(self, results: _Results, allow_mutation: bool) -> None:
        super().__init__(results)
        self.allow_mutation = allow_mutation

    def __enter__(self) -> None:
        super().__enter__()
        self.counts: dict[Any, int] = defaultdict(int)

    def before(self, name: str, args: tuple, kwargs: dict) -> Any:
        # Such a function asks for a second run before the first has ended.
        if self.results.all_again:
            return None
        operation = ops._operations()[_below(name, args, kwargs)]
        n = self.counts[operation]
        self.counts[operation] += 1
        calls = self.results.calls.get(operation, [])
        if n >= len(calls):
            raise RuntimeError(f"{operation}: call {n} of the second run, which the first run did not make. {_WHY}")
        entry = calls[n]
        if entry is _TAKEN:
            raise RuntimeError(
                "Trying to backward an extra time. You are only allowed to backward once on any region computed under "
                "selective activation checkpoint."
            )
        if entry is _AGAIN:
            return None
        calls[n] = _TAKEN
        return entry.given(tree_leaves((args, kwargs)), self.allow_mutation)

    def after(self, name: str, args: tuple, kwargs: dict, result: Any) -> None:
        pass


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Callable | list, allow_cache_entry_mutation: bool = False
) -> tuple[_Watch, _Watch]:
    """The two contexts of a checkpoint that keeps the results of some operations: what `context_fn` gives to
    `utils.checkpoint.checkpoint`.

    A policy is called as `policy(ctx, op, *args, **kwargs)` after every operation that the first run calls, `ctx` a
    `SelectiveCheckpointContext`, `op` one of `ferrograd.ops.aten`, and the arguments as they were given. It gives a
    `CheckpointPolicy`, or whether to save. A list of operations stands for a policy that saves theirs. Operations are named
    as torch has them below autograd: `matmul` of matrices and `linear` are `aten.mm` or `aten.addmm`, of batches `aten.bmm`,
    convolutions `aten.convolution`, normalisations `aten.native_layer_norm` and its kin, `softmax` is `aten._softmax`, attention
    `aten._scaled_dot_product_flash_attention_for_cpu`. Other functions that torch makes of several operations are one here, and
    are asked of as one, under their own name.

    With a result is kept what its derivative needs and is no argument. Views, and operations that write into an argument,
    run again whatever the policy says; so does everything where the function itself differentiates what it computes.
    Random numbers that an operation drew count as drawn.

    Raises ValueError for lists of anything but operations with an overload, TypeError for neither a function nor a list;
    in the backward pass RuntimeError where a kept result was changed in place (not with
    `allow_cache_entry_mutation=True`), where the second run calls other operations, and where there is a second pass.

    >>> import functools
    >>> import ferrograd
    >>> saved = [ferrograd.ops.aten.mm.default]
    >>> contexts = functools.partial(create_selective_checkpoint_contexts, saved)
    >>> x = ferrograd.ones(2, 2, requires_grad=True)
    >>> y = ferrograd.utils.checkpoint.checkpoint(lambda x: (x @ x).exp().sum(), x, use_reentrant=False, context_fn=contexts)
    >>> y.backward()
    >>> x.grad
    tensor([[29.5562, 29.5562],
            [29.5562, 29.5562]])
    """
    if isinstance(policy_fn_or_list, list):
        saved = policy_fn_or_list
        for op in saved:
            if not isinstance(op, ops.OpOverload):
                is_packet = isinstance(op, ops.OpOverloadPacket)
                hint = f" Please update the OpOverloadPacket to a specific OpOverload: {op}.default" if is_packet else ""
                raise ValueError(f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}.{hint}")

        def policy(ctx: SelectiveCheckpointContext, op: Any, *args: Any, **kwargs: Any) -> bool:
            return op in saved
    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    results = _Results()
    return _First(results, policy), _Again(results, allow_cache_entry_mutation)
