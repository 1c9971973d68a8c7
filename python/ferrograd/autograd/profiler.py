"""What ran, how long it took, on what shapes, and how many bytes it made: operations, derivatives, and named ranges."""

import functools
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar, cast

from .. import _ferrograd

#: A decorated function keeps its type.
_F = TypeVar("_F", bound=Callable[..., Any])


class Interval(NamedTuple):
    """From when to when something ran, in microseconds since the record began.

    >>> Interval(1.0, 3.5).elapsed_us()
    2.5
    """

    start: float
    end: float

    def elapsed_us(self) -> float:
        """The length, in microseconds.

        >>> Interval(1.0, 3.5).elapsed_us()
        2.5
        """
        return self.end - self.start


def _time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _memory(count: float) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


class _Times:
    """Times and bytes that events and their averages both tell."""

    count: int
    cpu_time_total: float
    self_cpu_time_total: float

    @property
    def cpu_time(self) -> float:
        """The time of a call.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> p.key_averages()[0].cpu_time > 0
        True
        """
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        """The time of a call, as text.

        >>> FunctionEventAvg("mine").cpu_time_str
        '0.000us'
        """
        return _time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """The time of all calls, as text.

        >>> FunctionEventAvg("mine").cpu_time_total_str
        '0.000us'
        """
        return _time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """The time of all calls without the events within, as text.

        >>> FunctionEventAvg("mine").self_cpu_time_total_str
        '0.000us'
        """
        return _time(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """Something that ran once. Times are in microseconds; those that start with `self` are without the events within.

    >>> import ferrograd
    >>> with profile() as p:
    ...     _ = ferrograd.ones(2) * 3
    >>> p.function_events[-1].key
    'aten::mul'
    """

    count = 1
    is_async = is_remote = False
    node_id = -1

    def __init__(
        self,
        id: int,
        name: str,
        kind: str,
        thread: int,
        time_range: Interval,
        inputs: list,
        bytes: int,
        sequence_nr: int,
    ) -> None:
        self.id, self.kind, self.thread, self.time_range, self.sequence_nr = id, kind, thread, time_range, sequence_nr
        self.name = self.key = f"aten::{name}" if kind == "operation" else name
        self.input_shapes = [list(shape) for shape, _ in inputs]
        self.input_dtypes = [dtype for _, dtype in inputs]
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []
        self._bytes = bytes

    @property
    def is_user_annotation(self) -> bool:
        """True for ranges that `record_function` named.

        >>> with profile() as p, record_function("mine"):
        ...     pass
        >>> p.function_events[0].is_user_annotation
        True
        """
        return self.kind == "range"

    @property
    def cpu_time_total(self) -> float:
        """The time from its start to its end.

        >>> with profile() as p, record_function("mine"):
        ...     pass
        >>> p.function_events[0].cpu_time_total > 0
        True
        """
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:
        """The time in which none of the events within ran.

        >>> import ferrograd
        >>> with profile() as p, record_function("mine"):
        ...     _ = ferrograd.ones(2) * 3
        >>> p.function_events[0].self_cpu_time_total < p.function_events[0].cpu_time_total
        True
        """
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @functools.cached_property
    def cpu_memory_usage(self) -> int:
        """The bytes of what was made; of a range, of what was made within it.

        >>> import ferrograd
        >>> with profile() as p, record_function("mine"):
        ...     _ = ferrograd.ones(2) * 3
        >>> p.function_events[0].cpu_memory_usage >= 8
        True
        """
        if self.kind != "range":
            return self._bytes
        found, rest = 0, list(self.cpu_children)
        while rest:
            event = rest.pop()
            if event.kind == "range":
                rest += event.cpu_children
            else:
                found += event._bytes
        return found

    @property
    def self_cpu_memory_usage(self) -> int:
        """The same without the events within.

        >>> import ferrograd
        >>> with profile() as p, record_function("mine"):
        ...     _ = ferrograd.ones(2) * 3
        >>> p.function_events[0].self_cpu_memory_usage
        0
        """
        return self._bytes if self.kind != "range" else 0

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start:.3f} end_us={self.time_range.end:.3f} "
            f"cpu_children={[child.id for child in self.cpu_children]} thread={self.thread} "
            f"input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage} seq_nr={self.sequence_nr}>"
        )


class FunctionEventAvg(_Times):
    """The events of one name together.

    >>> FunctionEventAvg("mine").count
    0
    """

    def __init__(self, key: str, input_shapes: list | str = "") -> None:
        self.key, self.input_shapes, self.count = key, input_shapes, 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0

    def add(self, other: "FunctionEvent | FunctionEventAvg") -> "FunctionEventAvg":
        """Count an event, or the events of another average, as well.

        >>> with profile() as p, record_function("mine"):
        ...     pass
        >>> FunctionEventAvg("mine").add(p.function_events[0]).count
        1
        """
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.cpu_memory_usage += other.cpu_memory_usage
        self.self_cpu_memory_usage += other.self_cpu_memory_usage
        return self

    __iadd__ = add

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} cpu_time={self.cpu_time_str} "
            f"input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>"
        )


class EventList(list):
    """Events in the order of their starts, or averages.

    >>> EventList().table()
    ''
    """

    def __init__(self, events: Iterable = (), profile_memory: bool = False, record_shapes: bool = False) -> None:
        super().__init__(events)
        self._profile_memory, self._record_shapes = profile_memory, record_shapes

    def __str__(self) -> str:
        return self.table()

    @property
    def self_cpu_time_total(self) -> float:
        """The time in which any of the events ran, in microseconds.

        >>> EventList().self_cpu_time_total
        0
        """
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> "EventList":
        """The events of one name, or of one name and the same shapes, together.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3 * 4
        >>> [e.count for e in p.function_events.key_averages() if e.key == "aten::mul"]
        [2]
        """
        found: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            shapes = event.input_shapes if group_by_input_shape else ""
            average = found.setdefault((event.key, str(shapes)), FunctionEventAvg(event.key, shapes))
            average.add(event)
        return EventList(found.values(), self._profile_memory, group_by_input_shape)

    def total_average(self) -> FunctionEventAvg:
        """All events together.

        >>> EventList().total_average().count
        0
        """
        total = FunctionEventAvg("Total")
        for event in self:
            total.add(event)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
    ) -> str:
        """A table of the first `row_limit` events, the largest by `sort_by` first: `cpu_time`, `cpu_time_total`,
        `self_cpu_time_total`, `cpu_memory_usage`, `self_cpu_memory_usage` or `count`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> "aten::mul" in p.function_events.table(sort_by="cpu_time_total")
        True
        """
        rows = [e for e in self if not (top_level_events_only and getattr(e, "cpu_parent", None) is not None)]
        if sort_by is not None:
            rows.sort(key=lambda event: getattr(event, sort_by), reverse=True)
        if not rows:
            return ""
        columns = self._columns(rows[:row_limit] if row_limit >= 0 else rows, max_name_column_width, max_shapes_column_width)
        widths = [width for _, width, _ in columns]
        rule = "  ".join("-" * width for width in widths) + "  "
        lines = [] if header is None else ["=" * len(rule), header]
        lines += [rule, "  ".join(f"{title:>{width}}" for title, width, _ in columns) + "  ", rule]
        for row in zip(*(cells for _, _, cells in columns)):
            lines.append("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths)) + "  ")
        return "\n".join([*lines, rule, f"Self CPU time total: {_time(self.self_cpu_time_total)}"]) + "\n"

    def _columns(self, rows: list, name_width: int, shapes_width: int) -> list[tuple[str, int, list[str]]]:
        total = self.self_cpu_time_total or 1.0

        def share(us: float) -> str:
            return f"{us / total * 100:.2f}%"

        def wide(title: str, cells: list[str], most: int) -> tuple[str, int, list[str]]:
            width = min(max(len(cell) for cell in [title, *cells]) + 4, most)
            return title, width, [cell if len(cell) <= width else cell[: width - 3] + "..." for cell in cells]

        columns = [
            wide("Name", [e.key for e in rows], name_width),
            ("Self CPU %", 12, [share(e.self_cpu_time_total) for e in rows]),
            ("Self CPU", 12, [e.self_cpu_time_total_str for e in rows]),
            ("CPU total %", 12, [share(e.cpu_time_total) for e in rows]),
            ("CPU total", 12, [e.cpu_time_total_str for e in rows]),
            ("CPU time avg", 12, [e.cpu_time_str for e in rows]),
        ]
        if self._profile_memory:
            columns.append(("CPU Mem", 12, [_memory(e.cpu_memory_usage) for e in rows]))
            columns.append(("Self CPU Mem", 12, [_memory(e.self_cpu_memory_usage) for e in rows]))
        columns.append(("# of Calls", 12, [str(e.count) for e in rows]))
        if self._record_shapes:
            columns.append(wide("Input Shapes", [str(e.input_shapes) for e in rows], shapes_width))
        return columns

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Write the events as a file that chrome://tracing and Perfetto show. Arrows lead from an operation to its
        derivative.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "trace.json")
        ...     EventList().export_chrome_trace(path)
        ...     os.path.exists(path)
        True
        """
        pid = os.getpid()
        trace: list[dict] = [
            {"ph": "M", "name": "thread_name", "pid": pid, "tid": t, "args": {"name": f"thread {t}"}}
            for t in sorted({e.thread for e in self})
        ]
        recorded: dict[int, FunctionEvent] = {}
        for e in self:
            kind = "user_annotation" if e.is_user_annotation else "cpu_op"
            place = {"pid": pid, "tid": e.thread}
            known = {"Input Dims": e.input_shapes, "Input type": [repr(d).rsplit(".", 1)[-1] for d in e.input_dtypes]}
            known |= {"Bytes": e.cpu_memory_usage} | ({"Sequence number": e.sequence_nr} if e.sequence_nr >= 0 else {})
            start = {"ts": e.time_range.start}
            trace.append({"ph": "X", "cat": kind, "name": e.name, **place, **start, "dur": e.cpu_time_total, "args": known})
            if e.kind == "operation" and e.sequence_nr >= 0:
                recorded[e.sequence_nr] = e
            elif e.kind == "derivative" and e.sequence_nr in recorded:
                arrow = {"cat": "fwdbwd", "name": "fwdbwd", "id": e.sequence_nr}
                source = recorded[e.sequence_nr]
                trace.append({"ph": "s", **arrow, "pid": pid, "tid": source.thread, "ts": source.time_range.start})
                trace.append({"ph": "f", "bp": "e", **arrow, **place, **start})
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": trace}, file)


def _nested(rows: list[tuple], since: int, shapes: bool) -> list[FunctionEvent]:
    """Events of what the core tells, each with those that ran within it on its thread."""
    rows = sorted(rows, key=lambda row: (row[3], -row[4]))
    events: list[FunctionEvent] = []
    open_: dict[int, list[FunctionEvent]] = {}
    for number, (name, kind, thread, start, end, inputs, size, sequence) in enumerate(rows, 1):
        span = Interval((start - since) / 1e3, (end - since) / 1e3)
        place = -1 if sequence is None else sequence
        event = FunctionEvent(number, name, kind, thread, span, inputs if shapes else [], size, place)
        around = open_.setdefault(thread, [])
        while around and around[-1].time_range.end < span.end:
            around.pop()
        if around:
            event.cpu_parent = around[-1]
            around[-1].cpu_children.append(event)
        around.append(event)
        events.append(event)
    return events


class profile:
    """A block in which what runs is recorded, forward and backward.

    Element-wise operations on large tensors wait and run together: their events are short, and a "fused program" with
    their names stands where they ran. Blocks within blocks record what runs in them, each for itself. Other arguments than `enabled`, `record_shapes` and `profile_memory` are for devices and interpreters
    that there are not; they are accepted.

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
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_flops: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_cpu: bool = True,
        **_devices: Any,
    ) -> None:
        self.enabled, self.record_shapes, self.profile_memory = enabled, record_shapes, profile_memory
        self.entered = False
        self.function_events: EventList | None = None

    def __enter__(self) -> "profile":
        if not self.enabled:
            return self
        if self.entered:
            raise RuntimeError("Profiler context manager is not reentrant")
        self.entered = True
        self._since = _ferrograd._profiler_start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.enabled:
            return
        events = _nested(_ferrograd._profiler_stop(self._since), self._since, self.record_shapes)
        self.function_events = EventList(events, self.profile_memory, self.record_shapes)

    def _events(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """As `EventList.key_averages`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3 * 4
        >>> [e.count for e in p.key_averages() if e.key == "aten::mul"]
        [2]
        """
        return self._events().key_averages(group_by_input_shape, group_by_stack_n)

    def table(self, *args: Any, **kwargs: Any) -> str:
        """As `EventList.table`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> "aten::mul" in p.table()
        True
        """
        return self._events().table(*args, **kwargs)

    def total_average(self) -> FunctionEventAvg:
        """As `EventList.total_average`.

        >>> with profile() as p, record_function("mine"):
        ...     pass
        >>> p.total_average().count
        1
        """
        return self._events().total_average()

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
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
        self._events().export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """As `EventList.self_cpu_time_total`.

        >>> import ferrograd
        >>> with profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> p.self_cpu_time_total > 0
        True
        """
        return self._events().self_cpu_time_total

    def __repr__(self) -> str:
        return "<unfinished ferrograd.autograd.profile>" if self.function_events is None else repr(self.function_events)

    def __str__(self) -> str:
        return repr(self) if self.function_events is None else str(self.function_events)


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


class emit_nvtx:
    """A block whose operations NVIDIA's profilers see. There is nothing of CUDA here: to enter it is an AssertionError, as in
    torch without CUDA, unless it is not enabled.

    >>> with emit_nvtx(enabled=False):
    ...     pass
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled, self.record_shapes = enabled, record_shapes

    def __enter__(self) -> "emit_nvtx | None":
        if self.enabled:
            raise AssertionError("emit_nvtx: ferrograd computes on the CPU only, where NVIDIA's profilers see nothing")
        return None

    def __exit__(self, *exception: object) -> None:
        pass


__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval", "emit_nvtx", "profile", "record_function"]
