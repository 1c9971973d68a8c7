"""Memory for time: what backward needs is computed again instead of kept."""

import contextlib
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor, is_grad_enabled
from ..autograd import Function, backward
from ..autograd.grad_mode import enable_grad
from ..autograd.graph import saved_tensors_hooks
from ..random import fork_rng, get_rng_state, set_rng_state
from ._selective import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
    current,
    note,
)


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function did not keep what the first kept.

    >>> issubclass(CheckpointError, RuntimeError)
    True
    """


_settings = threading.local()


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Whether, within the block, a second run ends as soon as it has computed all that backward needs.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with set_checkpoint_early_stop(False):
    ...     y = checkpoint(lambda x: x.exp().log(), x, use_reentrant=False)
    >>> y.backward()
    >>> x.grad
    tensor([1.])
    """
    before = getattr(_settings, "early_stop", None)
    _settings.early_stop = enable
    try:
        yield
    finally:
        _settings.early_stop = before


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Whether, within the block, every checkpoint keeps the lines that its values come from; None leaves it to `debug=`.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with set_checkpoint_debug_enabled(True):
    ...     y = checkpoint(lambda x: x * x, x, use_reentrant=False)
    >>> y.backward()
    >>> x.grad
    tensor([4.])
    """
    before = getattr(_settings, "debug", None)
    _settings.debug = enabled
    try:
        yield
    finally:
        _settings.debug = before


class GraphExecGroup:
    """Several backward calls that are one pass to checkpoints: what the first of them computed again is there for the
    others too. No two of them may need the same value: a RuntimeError says so. Groups do not nest.

    >>> import ferrograd
    >>> runs = []
    >>> def block(x):
    ...     runs.append("run")
    ...     y = x.sin()
    ...     return y, y.exp()
    >>> x = ferrograd.tensor([0.5], requires_grad=True)
    >>> y, z = checkpoint(block, x, use_reentrant=False)
    >>> with GraphExecGroup():
    ...     (g,) = ferrograd.autograd.grad(z, y)
    ...     (g,) = ferrograd.autograd.grad(y, x, g)
    >>> len(runs)
    2
    """

    def __enter__(self) -> "GraphExecGroup":
        if getattr(_settings, "group", None) is not None:
            raise RuntimeError("GraphExecGroup contexts cannot be nested")
        _settings.group = self
        return self

    def __exit__(self, *exception: object) -> None:
        _settings.group = None


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """Two contexts that do nothing: for the first run and for the second.

    >>> first, second = noop_context_fn()
    >>> with first, second:
    ...     pass
    """
    return contextlib.nullcontext(), contextlib.nullcontext()


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors of a tuple without their history, requiring gradients as before; what is no tensor as it is.

    >>> import ferrograd
    >>> detach_variable((ferrograd.ones(1, requires_grad=True) * 2,))
    (tensor([2.], requires_grad=True),)
    """
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where none of the inputs requires a gradient.

    >>> import ferrograd
    >>> check_backward_validity([ferrograd.ones(1, requires_grad=True)])
    """
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=3)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The devices with a random stream of their own that tensors among the arguments are on, and the states of these: none, as
    all are on the CPU, whose state is `get_rng_state()`.

    >>> import ferrograd
    >>> get_device_states(ferrograd.ones(1))
    ([], [])
    """
    return [], []


def set_device_states(devices: Iterable[int], states: Iterable[Tensor], *, device_type: str | None = None) -> None:
    """Set the states that `get_device_states` gave. Raises RuntimeError for a device, of which there is none but the CPU.

    >>> set_device_states(*get_device_states())
    """
    for device, _ in zip(devices, states):
        raise RuntimeError(f"set_device_states: there is no device {device!r} with a random stream of its own, only the CPU")


@contextlib.contextmanager
def _random_state(state: Tensor | None) -> Iterator[None]:
    """The stream of random numbers as it was; afterwards as if nothing had been drawn."""
    if state is None:
        yield
        return
    with fork_rng():
        set_rng_state(state)
        yield


class CheckpointFunction(Function):
    """The variant of `checkpoint` that runs a backward pass inside of the backward pass.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> CheckpointFunction.apply(lambda x: x * x, True, x).backward()
    >>> x.grad
    tensor([4.])
    """

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.state = get_rng_state() if preserve_rng_state else None
        # Tensors are kept as saved values, which hooks and the checks of versions see.
        ctx.rest = [None if isinstance(x, Tensor) else x for x in args]
        ctx.places = [n for n, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.save_for_backward(*[args[n] for n in ctx.places])
        return run_function(*args)

    @staticmethod
    def backward(ctx, *grads):
        if _ferrograd._pass_is_limited():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` parameter to "
                ".backward(). To resolve this error, you can either set use_reentrant=False, or call .backward() without "
                "passing the `inputs` argument."
            )
        inputs = list(ctx.rest)
        for n, x in zip(ctx.places, ctx.saved_tensors):
            inputs[n] = x
        inputs = detach_variable(tuple(inputs))
        with _random_state(ctx.state), enable_grad():
            outputs = ctx.run_function(*inputs)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        roots = [(y, g) for y, g in zip(outputs, grads) if isinstance(y, Tensor) and y.requires_grad]
        if not roots:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        backward([y for y, _ in roots], [g for _, g in roots])
        return None, None, *[x.grad if isinstance(x, Tensor) else None for x in inputs]


class _Inputs(Function):
    """Keeps the arguments of a checkpointed function as saved values: those of a checkpoint within a checkpoint are then
    computed again with the rest of the outer one."""

    @staticmethod
    def forward(ctx, anchor, *tensors):
        ctx.save_for_backward(*tensors)
        return anchor.detach()

    @staticmethod
    def jvp(ctx, *tangents):
        return None

    @staticmethod
    def backward(ctx, *grads):
        raise AssertionError("nothing is differentiated by the arguments of a checkpoint")


class _Slot:
    """The place of a value that is not kept."""

    def __init__(self, index: int) -> None:
        self.index = index


class _Stop(Exception):
    """All values are there."""


def _look(t: Tensor) -> tuple:
    return tuple(t.shape), t.dtype


def _told(look: tuple) -> str:
    return f"{{'shape': {list(look[0])}, 'dtype': {look[1]!r}}}"


@contextlib.contextmanager
def _keeping(pack: Callable, unpack: Callable) -> Iterator[None]:
    """The hooks of a run; operations that do not run again pack what they kept by themselves."""
    before = getattr(current, "pack", None)
    current.pack = pack
    try:
        with saved_tensors_hooks(pack, unpack):
            yield
    finally:
        current.pack = before


class _Frame:
    """A checkpoint: how many values it would have kept, what they look like, and how they are computed again."""

    def __init__(self, again: Callable[[], None], early_stop: bool, checks: bool, debug: bool) -> None:
        self.again, self.early_stop, self.checks, self.debug = again, early_stop, checks, debug
        self.looks: list[tuple] = []
        self.lines: list[str] = []
        #: Set once the first run has ended: the function may differentiate what it computes while it runs.
        self.is_complete = False
        self.lock = threading.RLock()
        #: The values of the backward pass of this number that are still to be fetched.
        self.values: tuple[Any, dict[int, Tensor]] = (0, {})

    def pack(self, value: Tensor) -> _Slot:
        note(value)
        self.looks.append(_look(value))
        if self.debug:
            self.lines.append(_line())
        return _Slot(len(self.looks) - 1)

    def unpack(self, slot: _Slot) -> Tensor:
        group = getattr(_settings, "group", None)
        number = group or _ferrograd._current_pass()
        with self.lock:
            known, values = self.values
            if number and known == number and slot.index not in values:
                why = "" if group is None else (
                    "Performing two backward calls that overlap (that need the same saved tensor) is not allowed within a "
                    "GraphExecGroup: what was computed again is there for one of them. "
                )
                raise CheckpointError(
                    f"checkpoint: Unpack is being triggered for a tensor that was already unpacked once. {why}Read "
                    f"ctx.saved_tensors once in a backward"
                )
            if not number or known != number:
                values = self._compute()
                if number:
                    self.values = number, values
            return values.pop(slot.index)

    def _compute(self) -> dict[int, Tensor]:
        """Run the function again and take what it keeps."""
        values: dict[int, Tensor] = {}
        lines: list[str] = []
        count = len(self.looks)

        def pack(value: Tensor) -> Tensor:
            # The function may differentiate what it computes: it gets what it kept.
            index = len(values)
            if index >= count:
                if self.early_stop:
                    raise _Stop
                if self.is_complete:
                    raise CheckpointError(
                        f"checkpoint: trying to save more tensors during recomputation than during the original forward "
                        f"pass, which saved {count}.{self._difference(lines)}"
                    )
                return value.detach()
            values[index] = value.detach() if value.requires_grad else value
            if self.debug:
                lines.append(_line())
            if self.early_stop and len(values) == count:
                raise _Stop
            return values[index]

        with _keeping(pack, lambda value: value), contextlib.suppress(_Stop):
            self.again()
        self._check(values, lines)
        return values

    def _check(self, values: dict[int, Tensor], lines: list[str]) -> None:
        if len(values) < len(self.looks):
            raise CheckpointError(
                f"checkpoint: A different number of tensors was saved during the original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.looks)}\n"
                f"Number of tensors saved during recomputation: {len(values)}.{self._difference(lines)}"
            )
        if not self.checks:
            return
        wrong = [n for n, look in enumerate(self.looks) if _look(values[n]) != look]
        if wrong:
            text = "\n".join(
                f"tensor at position {n}:\nsaved metadata: {_told(self.looks[n])}\n"
                f"recomputed metadata: {_told(_look(values[n]))}"
                for n in wrong
            )
            raise CheckpointError(
                f"checkpoint: Recomputed values for the following tensors have different metadata than during the "
                f"forward pass.\n{text}{self._difference(lines)}"
            )

    def _difference(self, lines: list[str]) -> str:
        """Where the two runs part, as far as it is known."""
        if not self.debug:
            return "\nPass `debug=True` to checkpoint() to see the lines that the tensors come from."
        why = "\nYou are seeing this error because you passed `debug=True` to checkpoint, or set_checkpoint_debug_enabled(True)."
        for n in range(max(len(lines), len(self.lines))):
            first, second = (all[n] if n < len(all) else "nothing\n" for all in (self.lines, lines))
            if first != second:
                return f"{why}\nThe runs part at tensor {n}. In forward it came from\n{first}in recomputation from\n{second}"
        return f"{why}\nThe lines of both runs are the same."


def _line() -> str:
    """The line of the program that keeps a value."""
    frames = [f for f in traceback.extract_stack() if f.filename != __file__]
    return "".join(traceback.format_list(frames[-1:]))


def _kept_apart(function: Callable, args: tuple, kwargs: dict, preserve: bool, options: dict) -> Any:
    """The variant of `checkpoint` that hooks into what is saved."""
    contexts = options["context_fn"]()
    if not (isinstance(contexts, tuple) and len(contexts) == 2):
        raise TypeError(f"context_fn must give a tuple of two context managers, got {contexts!r}")
    tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    plain = [None if isinstance(x, Tensor) else x for x in args]
    named = {name: None if isinstance(x, Tensor) else x for name, x in kwargs.items()}
    places = [n for n, x in enumerate(args) if isinstance(x, Tensor)]
    names = [name for name, x in kwargs.items() if isinstance(x, Tensor)]
    state = get_rng_state() if preserve else None
    anchor = _ferrograd.empty((0,), requires_grad=True)
    # Not by the node's object, which it would keep: with the graph goes all that it held.
    saved = _ferrograd._saved_values(_Inputs.apply(anchor, *tensors))

    def again() -> None:
        given = [value.unpack() for value in saved]
        again_args, again_kwargs = list(plain), dict(named)
        for key, x in zip((*places, *names), given):
            (again_args if isinstance(key, int) else again_kwargs)[key] = x
        with _random_state(state), enable_grad(), contexts[1]:
            function(*again_args, **again_kwargs)

    debug = getattr(_settings, "debug", None)
    early_stop = getattr(_settings, "early_stop", None)
    frame = _Frame(
        again,
        options["early_stop"] if early_stop is None else early_stop,
        options["determinism_check"] == "default",
        options["debug"] if debug is None else debug,
    )
    with contexts[0], _keeping(frame.pack, frame.unpack):
        found = function(*args, **kwargs)
    frame.is_complete = True
    return found


def _variant(call: str, use_reentrant: bool | None) -> bool:
    """Which variant a call asks for; one that does not say gets a warning."""
    if use_reentrant is None:
        warnings.warn(
            f"{call}: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended; "
            f"without it, the reentrant variant is used.",
            stacklevel=3,
        )
        return True
    return use_reentrant


def _is_whole(args: Iterable) -> bool:
    """Whether a function of these runs as it is: on batched tensors and where there are tangents."""
    batched = any(isinstance(x, Tensor) and _ferrograd._batch_level(x) for x in args)
    return batched or _ferrograd._current_dual_level() >= 0


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[AbstractContextManager, AbstractContextManager]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which nothing is kept for backward but the arguments: the function runs again in
    the backward pass.

    With `use_reentrant=False`, the better one, values are computed again when the first of them is needed, and a run ends
    with the last that is; `context_fn` gives contexts for the first and for the second run, and `determinism_check`
    ("default" or "none") compares what both runs keep. With `use_reentrant=True` the function runs without recording and
    a backward pass of its own goes through the second run: it works with `backward()` only, for arguments and
    results that are tensors of their own. `preserve_rng_state=False` lets the second run draw other random numbers.
    On batched tensors, and in forward mode, the function runs as it is and keeps what it keeps.

    Raises ValueError for arguments that do not go together and another `determinism_check`; CheckpointError in the backward
    pass where the second run keeps other values than the first, and where the pass asks for a value that it has had (a
    backward reads `ctx.saved_tensors` once).

    >>> import ferrograd
    >>> x = ferrograd.tensor([0.0, 1.0], requires_grad=True)
    >>> y = checkpoint(lambda x: x.exp().exp().sum(), x, use_reentrant=False)
    >>> y.backward()
    >>> x.grad
    tensor([ 2.7183, 41.1936])
    """
    use_reentrant = _variant("checkpoint", use_reentrant)
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return function(*args) if _is_whole(args) else CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if debug and context_fn is not noop_context_fn:
        raise ValueError("debug=True is incompatible with non-default context_fn")
    if _is_whole((*args, *kwargs.values())) or not is_grad_enabled():
        return function(*args, **kwargs)
    options = {"context_fn": context_fn, "determinism_check": determinism_check, "debug": debug, "early_stop": early_stop}
    return _kept_apart(function, args, kwargs, preserve, options)


def checkpoint_sequential(
    functions: Sequence[Callable] | Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """The functions one after another, in `segments` of which all but the last are checkpoints.

    `functions` is a sequence, or a module whose children are taken.

    Raises ValueError for more segments than functions.

    >>> import ferrograd
    >>> x = ferrograd.tensor([1.0], requires_grad=True)
    >>> y = checkpoint_sequential([ferrograd.exp, ferrograd.sin, ferrograd.exp], 2, x, use_reentrant=False)
    >>> y.backward()
    >>> x.grad
    tensor([-3.7373])
    """
    use_reentrant = _variant("checkpoint_sequential", use_reentrant)
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)
    length = len(steps) // segments
    if length < 1:
        raise ValueError(f"checkpoint_sequential: {len(steps)} functions make at most {len(steps)} segments, got {segments}")

    def part(first: int, last: int) -> Callable:
        def run(value: Any) -> Any:
            for step in steps[first:last]:
                value = step(value)
            return value

        return run

    last = length * (segments - 1)
    for first in range(0, last, length):
        input = checkpoint(part(first, first + length), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return part(last, len(steps))(input)


__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "CheckpointPolicy",
    "GraphExecGroup",
    "SelectiveCheckpointContext",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "create_selective_checkpoint_contexts",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]
