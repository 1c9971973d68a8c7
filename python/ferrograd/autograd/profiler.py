"""What ran, how long it took, on what shapes, and how many bytes it made: operations, derivatives, and named ranges."""

import functools
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from .. import _ferrograd
from .profiler_util import EventList, FunctionEvent, FunctionEventAvg, Interval

#: A decorated function keeps its type.
_F = TypeVar("_F", bound=Callable[..., Any])

#: Products of matrices, by the place of the factor whose last dimension is summed over.
_PRODUCTS = {
    "matmul": 0, "mm": 0, "bmm": 0, "mv": 0, "dot": 0, "linear": 0, "addmm": 1, "addmv": 1, "baddbmm": 1, "addbmm": 1,
}


def _flops(name: str, inputs: list[tuple[tuple[int, ...], Any]], size: int) -> int:
    """The additions and multiplications of an operation that made so many bytes: two of a product for each number it
    makes and each summed over, two of a convolution for each number it makes and each of the kernel, one of `add` and
    `mul`. Others are not counted, as in torch."""
    shapes = [shape for shape, _ in inputs]
    if not shapes:
        return 0
    made = size // inputs[0][1].itemsize
    if name in _PRODUCTS and len(shapes) > _PRODUCTS[name] and shapes[_PRODUCTS[name]]:
        summed = shapes[_PRODUCTS[name]]
        # The batch of an addbmm is summed as well.
        return 2 * made * summed[-1] * (summed[0] if name == "addbmm" else 1)
    if re.fullmatch(r"conv[123]d|convolution", name) and len(shapes) > 1:
        return 2 * made * math.prod(shapes[1][1:])
    if name.startswith("conv_transpose") and len(shapes) > 1:
        return 2 * math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if name.rstrip("_") in ("add", "mul"):
        rank = max(map(len, shapes))
        return math.prod(max(sizes) for sizes in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes)))
    return 0


def _frames(lines: str | None) -> list[str]:
    """The frames of a formatted stack as `file(line): function`, the innermost first, without those of this package."""
    found = re.findall(r'^  File "(.*)", line (\d+), in (.*)$', lines or "", re.MULTILINE)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [f"{path}({line}): {function}" for path, line, function in reversed(found) if not path.startswith(here)]


def _events(rows: list[tuple], since: int, options: "profile") -> EventList:
    """Events of what the core tells, each with those that ran within it on its thread."""
    events = []
    forward: dict[int, FunctionEvent] = {}
    for number, row in enumerate(sorted(rows, key=lambda row: (row[3], -row[4])), 1):
        name, kind, thread, start, end, inputs, size, sequence, lines = row
        event = FunctionEvent(
            number,
            f"aten::{name}" if kind == "operation" else name,
            thread,
            (start - since) / 1e3,
            (end - since) / 1e3,
            fwd_thread=0,
            input_shapes=[list(shape) for shape, _ in inputs] if options.record_shapes else [],
            input_dtypes=[dtype for _, dtype in inputs] if options.record_shapes else [],
            stack=_frames(lines),
            scope=int(kind == "derivative"),
            cpu_memory_usage=size,
            sequence_nr=-1 if sequence is None else sequence,
            flops=_flops(name, inputs, size) if options.with_flops and kind == "operation" else 0,
            is_user_annotation=kind == "range",
        )
        if kind == "operation" and sequence is not None:
            forward[sequence] = event
        elif kind == "derivative" and event.sequence_nr in forward:
            event.fwd_thread, event.stack = forward[event.sequence_nr].thread, forward[event.sequence_nr].stack
        events.append(event)
    found = EventList(events, profile_memory=options.profile_memory, with_flops=options.with_flops)
    found._populate_cpu_children()
    # What a range made is what was made within it; those within come behind it.
    for event in reversed(events):
        if event.is_user_annotation:
            event.cpu_memory_usage = sum(child.cpu_memory_usage for child in event.cpu_children)
    return found


class profile:
    """A block in which what runs is recorded, forward and backward: with shapes (`record_shapes`), bytes
    (`profile_memory`), the lines of the program (`with_stack`), and additions and multiplications (`with_flops`).

    Element-wise operations on large tensors wait and run together: their events are short, and a "fused program" with
    their names stands where they ran. Blocks within blocks record what runs in them, each for itself. There are no other
    devices to record, and no modules (`with_modules`); settings of torch's own recorder are a NotImplementedError.

    >>> import ferrograd
    >>> x = ferrograd.ones(4, 5, requires_grad=True)
    >>> with profile(record_shapes=True) as p:
    ...     (x * 2).sin().sum().backward()
    >>> [(e.key, e.count) for e in p.key_averages()][:4]
    [('aten::mul', 1), ('aten::sin', 1), ('aten::sum', 1), ('SumBackward0', 1)]
    >>> p.function_events[0].input_shapes
    [[4, 5]]
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        acc_events: bool = False,
        **others: Any,
    ) -> None:
        _refuse("profile", others)
        if not use_cpu and not use_kineto:
            raise AssertionError("profile: use_cpu=False leaves nothing to record: there is no other device than the CPU")
        if use_cuda or use_device is not None:
            device = "cuda" if use_cuda else use_device
            warnings.warn(f"{device} is not available, only the CPU is recorded", stacklevel=2)
        self.enabled, self.use_cpu, self.acc_events = enabled, use_cpu, acc_events
        self.record_shapes, self.profile_memory = record_shapes or with_flops, profile_memory
        self.with_stack, self.with_flops, self.with_modules = with_stack, with_flops, with_modules
        self.entered = False
        self.function_events: EventList | None = None

    def __enter__(self) -> "profile":
        if not self.enabled:
            return self
        if self.entered:
            raise RuntimeError("Profiler context manager is not reentrant")
        self.entered = True
        self._since = _ferrograd._profiler_start(self.with_stack)
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.enabled:
            return
        rows = _ferrograd._profiler_stop(self._since, self.with_stack)
        self.function_events = _events(rows if self.use_cpu else [], self._since, self)

    def _recorded(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """As `EventList.key_averages`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3 * 4
        >>> [e.count for e in p.key_averages() if e.key == "aten::mul"]
        [2]
        """
        return self._recorded().key_averages(group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def table(self, *args: Any, **kwargs: Any) -> str:
        """As `EventList.table`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> "aten::mul" in p.table()
        True
        """
        return self._recorded().table(*args, **kwargs)

    def total_average(self) -> FunctionEventAvg:
        """As `EventList.total_average`.

        >>> with profile() as p, record_function("mine"):
        ...     pass
        >>> p.total_average().count
        1
        """
        return self._recorded().total_average()

    def export_chrome_trace(self, path: str | os.PathLike, metadata: Mapping[str, Any] | None = None) -> None:
        """As `EventList.export_chrome_trace`.

        >>> import ferrograd
        >>> import tempfile
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "trace.json")
        ...     p.export_chrome_trace(path)
        ...     os.path.exists(path)
        True
        """
        self._recorded().export_chrome_trace(path, metadata=metadata)

    def export_stacks(self, path: str | os.PathLike, metric: str = "self_cpu_time_total") -> None:
        """As `EventList.export_stacks`. AssertionError without `with_stack`.

        >>> import ferrograd
        >>> import tempfile
        >>> with profile(with_stack=True) as p:
        ...     _ = ferrograd.ones(300, 300) @ ferrograd.ones(300, 300)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     p.export_stacks(os.path.join(folder, "stacks.txt"))
        ...     os.listdir(folder)
        ['stacks.txt']
        """
        if not self.with_stack:
            raise AssertionError("export_stacks() requires with_stack=True")
        self._recorded().export_stacks(path, metric)

    @property
    def self_cpu_time_total(self) -> float:
        """As `EventList.self_cpu_time_total`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> p.self_cpu_time_total > 0
        True
        """
        return self._recorded().self_cpu_time_total

    def __repr__(self) -> str:
        return "<unfinished ferrograd.autograd.profile>" if self.function_events is None else repr(self.function_events)

    def __str__(self) -> str:
        return repr(self) if self.function_events is None else str(self.function_events)


#: Settings of torch's recorder, which are not here.
_FOREIGN = ("experimental_config", "custom_trace_id_callback", "post_processing_timeout_s", "activity_filters", "execution_trace_observer")


def _refuse(function: str, others: Mapping[str, Any]) -> None:
    """NotImplementedError for what torch knows, TypeError for what it does not."""
    for name, value in others.items():
        if name not in _FOREIGN:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        if value is not None:
            raise NotImplementedError(f"{function}: {name} is a setting of torch's own recorder, which is not here")


def kineto_available() -> bool:
    """False: the recorder here is not Kineto, torch's.

    >>> kineto_available()
    False
    """
    return False


class record_function:
    """A range with a name: a `with` block or a decorator.

    >>> import ferrograd
    >>> with profile() as p, record_function("mine"):
    ...     _ = ferrograd.ones(2) * 3
    >>> [child.key for child in p.function_events[0].cpu_children]
    ['aten::ones', 'aten::mul']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._starts: list[int] = []

    def __enter__(self) -> "record_function":
        self._starts.append(_ferrograd._profiler_now())
        return self

    def __exit__(self, *exception: object) -> None:
        _ferrograd._profiler_mark(self.name, self._starts.pop())

    def __call__(self, function: _F) -> _F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return cast(_F, wrapped)


class _Elsewhere:
    """A block whose operations the profilers of a maker of processors see."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled, self.record_shapes = enabled, record_shapes

    def __exit__(self, *exception: object) -> None:
        pass


class emit_nvtx(_Elsewhere):
    """A block whose operations NVIDIA's profilers see. There is nothing of CUDA here: to enter it is an AssertionError, as in
    torch without CUDA, unless it is not enabled.

    >>> with emit_nvtx(enabled=False):
    ...     pass
    """

    def __enter__(self) -> "emit_nvtx | None":
        if self.enabled:
            raise AssertionError("emit_nvtx: ferrograd computes on the CPU only, where NVIDIA's profilers see nothing")
        return None


class emit_itt(_Elsewhere):
    """A block whose operations Intel's VTune sees. Nothing is sent to it here: to enter the block is a
    NotImplementedError unless it is not enabled. `profile` records the same operations.

    >>> with emit_itt(enabled=False):
    ...     pass
    """

    def __enter__(self) -> "emit_itt | None":
        if self.enabled:
            raise NotImplementedError("emit_itt: nothing is sent to VTune; profile() records operations")
        return None


__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "Interval",
    "emit_itt",
    "emit_nvtx",
    "kineto_available",
    "profile",
    "record_function",
]
