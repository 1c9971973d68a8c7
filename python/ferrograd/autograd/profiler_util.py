"""Events of a record, their averages, and the tables, traces and stacks that they are shown as.

>>> event = FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15)
>>> FunctionEventAvg().add(event).add(event).cpu_time_total
10.0
"""

import enum
import functools
import gzip
import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class DeviceType(enum.Enum):
    """Where work is done; here on the CPU always.

    >>> DeviceType.CPU.name
    'CPU'
    """

    CPU = 0
    CUDA = 1
    MKLDNN = 2
    OPENGL = 3
    OPENCL = 4
    IDEEP = 5
    HIP = 6
    FPGA = 7
    MAIA = 8
    XLA = 9
    Vulkan = 10
    Metal = 11
    XPU = 12
    MPS = 13
    Meta = 14
    HPU = 15
    VE = 16
    Lazy = 17
    IPU = 18
    MTIA = 19
    PrivateUse1 = 20


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


def _format_time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _format_memory(count: float) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def _old_name(name: str) -> property:
    """What is told of other devices under its older name, which torch warns of."""
    new = name.replace("cuda", "device")

    def get(self: Any) -> float:
        warnings.warn(f"`{name}` is deprecated. Use `{new}` instead.", FutureWarning, stacklevel=2)
        return getattr(self, new)

    return property(get, doc=f"""`{new}` under its older name, as a FutureWarning says.

        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15).{name} == 0
        True
        """)


class _Times:
    """Times and bytes that events and their averages both tell. Other devices than the CPU, which there are not, took no
    time and no memory."""

    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    device_type = DeviceType.CPU
    use_device: str | None = None
    device_time_total = self_device_time_total = device_memory_usage = self_device_memory_usage = 0
    device_time = 0.0
    device_time_str = device_time_total_str = self_device_time_total_str = _format_time(0.0)
    cuda_time, cuda_time_total = _old_name("cuda_time"), _old_name("cuda_time_total")
    self_cuda_time_total, self_cuda_memory_usage = _old_name("self_cuda_time_total"), _old_name("self_cuda_memory_usage")

    @property
    def cpu_time(self) -> float:
        """The time of a call.

        >>> FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15).cpu_time
        5.0
        """
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        """The time of a call, as text.

        >>> FunctionEventAvg().cpu_time_str
        '0.000us'
        """
        return _format_time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """The time of all calls, as text.

        >>> FunctionEventAvg().cpu_time_total_str
        '0.000us'
        """
        return _format_time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """The time of all calls without the events within, as text.

        >>> FunctionEventAvg().self_cpu_time_total_str
        '0.000us'
        """
        return _format_time(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """Something that ran once. Times are in microseconds; those that start with `self` are without the events within.
    `stack` is the lines of the program that ran it, the innermost first; `flops` the additions and multiplications of
    floating-point numbers that a product, a convolution, `add` or `mul` makes. `scope` is 1 for derivatives, and
    `fwd_thread` the thread of the operation that they are of, which is 0 of all others.

    >>> import ferrograd
    >>> with ferrograd.autograd.profiler.profile() as p:
    ...     _ = ferrograd.ones(2) * 3
    >>> p.function_events[-1].key
    'aten::mul'
    """

    count = 1

    def __init__(
        self,
        id: int,
        name: str,
        thread: int,
        start_us: float,
        end_us: float,
        overload_name: str | None = None,
        fwd_thread: int | None = None,
        input_shapes: list | None = None,
        stack: list[str] | None = None,
        scope: int = 0,
        use_device: str | None = None,
        cpu_memory_usage: int = 0,
        device_memory_usage: int = 0,
        is_async: bool = False,
        is_remote: bool = False,
        sequence_nr: int = -1,
        node_id: int = -1,
        *,
        flops: int = 0,
        is_user_annotation: bool = False,
        input_dtypes: list | None = None,
    ) -> None:
        self.id, self.name, self.key, self.thread = id, name, name, thread
        self.time_range = Interval(start_us, end_us)
        self.overload_name, self.fwd_thread, self.scope = overload_name or "", fwd_thread, scope
        self.input_shapes, self.input_dtypes, self.stack = input_shapes or [], input_dtypes or [], stack or []
        self.use_device, self.cpu_memory_usage, self.device_memory_usage = use_device, cpu_memory_usage, device_memory_usage
        self.is_async, self.is_remote, self.sequence_nr, self.node_id = is_async, is_remote, sequence_nr, node_id
        self.flops, self.is_user_annotation = flops, is_user_annotation
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []

    @property
    def kind(self) -> str:
        """'operation', 'derivative', or 'range': what a program named, and programs of operations that waited.

        >>> FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15, scope=1).kind
        'derivative'
        """
        return "range" if self.is_user_annotation else "derivative" if self.scope == 1 else "operation"

    @property
    def cpu_time_total(self) -> float:
        """The time from its start to its end.

        >>> FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15).cpu_time_total
        5
        """
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:
        """The time in which none of the events within ran.

        >>> import ferrograd
        >>> from ferrograd.autograd.profiler import profile, record_function
        >>> with profile() as p, record_function("mine"):
        ...     _ = ferrograd.ones(2) * 3
        >>> p.function_events[0].self_cpu_time_total < p.function_events[0].cpu_time_total
        True
        """
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def self_cpu_memory_usage(self) -> int:
        """The bytes of what it made itself: those of a range are of what was made within it.

        >>> FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15, cpu_memory_usage=8).self_cpu_memory_usage
        8
        """
        return 0 if self.is_user_annotation else self.cpu_memory_usage

    def set_cpu_parent(self, parent: "FunctionEvent") -> None:
        """Name the event within which it ran.

        >>> inner, outer = (FunctionEvent(id=n, name="mine", thread=1, start_us=10, end_us=15) for n in range(2))
        >>> inner.set_cpu_parent(outer)
        >>> inner.cpu_parent is outer
        True
        """
        self.cpu_parent = parent

    def append_cpu_child(self, child: "FunctionEvent") -> None:
        """Add an event that ran within it.

        >>> inner, outer = (FunctionEvent(id=n, name="mine", thread=1, start_us=10, end_us=15) for n in range(2))
        >>> outer.append_cpu_child(inner)
        >>> outer.self_cpu_time_total
        0
        """
        self.cpu_children.append(child)

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start:.3f} end_us={self.time_range.end:.3f} "
            f"cpu_children={[child.id for child in self.cpu_children]} thread={self.thread} "
            f"input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage} seq_nr={self.sequence_nr}>"
        )


class FunctionEventAvg(_Times):
    """The events of one name together. The first event that is added gives the name, shapes and stack.

    >>> FunctionEventAvg().count
    0
    """

    def __init__(self) -> None:
        self.key: str | None = None
        self.count = self.flops = self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.input_shapes: list | str = []
        self.stack: list[str] = []
        self.overload_name, self.is_async, self.is_remote, self.is_user_annotation = "", False, False, False
        self.node_id, self.scope = 0, 0
        self.cpu_parent: FunctionEvent | None = None

    def add(self, other: "FunctionEvent | FunctionEventAvg") -> "FunctionEventAvg":
        """Count an event, or the events of another average, as well. AssertionError where they have another name.

        >>> event = FunctionEvent(id=0, name="mine", thread=1, start_us=10, end_us=15)
        >>> FunctionEventAvg().add(event).count
        1
        """
        if not isinstance(other, (FunctionEvent, FunctionEventAvg)):
            raise AssertionError(f"add: expected a FunctionEvent or FunctionEventAvg, got {type(other).__name__}")
        if self.key is None:
            for name in ("key", "input_shapes", "stack", "scope", "is_async", "is_remote", "is_user_annotation", "node_id", "cpu_parent"):
                setattr(self, name, getattr(other, name))
        elif other.key != self.key:
            raise AssertionError(f"add: expected events of {self.key!r}, got one of {other.key!r}")
        return self._count(other)

    __iadd__ = add

    def _count(self, other: "FunctionEvent | FunctionEventAvg") -> "FunctionEventAvg":
        self.count += other.count
        self.flops += other.flops
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.cpu_memory_usage += other.cpu_memory_usage
        self.self_cpu_memory_usage += other.self_cpu_memory_usage
        return self

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

    def __init__(self, events: Iterable = (), *, profile_memory: bool = False, with_flops: bool = False) -> None:
        super().__init__(events)
        self._profile_memory, self._with_flops = profile_memory, with_flops

    def __str__(self) -> str:
        return self.table()

    def _populate_cpu_children(self) -> None:
        """Find for each event those that ran within it on its thread: the smallest range that holds all of its own."""
        around: dict[int, list[FunctionEvent]] = {}
        for event in sorted(self, key=lambda event: (event.time_range.start, -event.time_range.end)):
            start, end = event.time_range
            outer = around.setdefault(event.thread, [])
            while outer and (outer[-1].time_range.end <= start or outer[-1].time_range.end < end):
                outer.pop()
            if outer:
                event.set_cpu_parent(outer[-1])
                outer[-1].append_cpu_child(event)
            outer.append(event)

    @property
    def self_cpu_time_total(self) -> float:
        """The time in which any of the events ran, in microseconds.

        >>> EventList().self_cpu_time_total
        0
        """
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> "EventList":
        """The events of one name together, or of one name, the same shapes and the same first lines of the stack.
        Operations have no overloads here, so that grouping by them changes nothing.

        >>> import ferrograd
        >>> with ferrograd.autograd.profiler.profile() as p:
        ...     _ = ferrograd.ones(2) * 3 * 4
        >>> [e.count for e in p.function_events.key_averages() if e.key == "aten::mul"]
        [2]
        """
        found: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            shapes = str(event.input_shapes) if group_by_input_shapes else ""
            group = (event.key, event.is_user_annotation, shapes, *event.stack[:group_by_stack_n])
            found.setdefault(group, FunctionEventAvg()).add(event)
        for average in found.values():
            average.stack = average.stack[:group_by_stack_n]
            if not group_by_input_shapes:
                average.input_shapes = ""
        return EventList(found.values(), profile_memory=self._profile_memory, with_flops=self._with_flops)

    def total_average(self) -> FunctionEventAvg:
        """All events together.

        >>> EventList().total_average().count
        0
        """
        total = FunctionEventAvg()
        total.key = "Total"
        for event in self:
            total._count(event)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int | None = 75,
        max_name_column_width: int | None = 55,
        max_shapes_column_width: int | None = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """A table of the first `row_limit` events, the largest by `sort_by` first: `cpu_time`, `cpu_time_total`,
        `self_cpu_time_total`, `cpu_memory_usage`, `self_cpu_memory_usage`, `flops` or `count`, and the same of devices,
        which are 0. Times are in `time_unit` ('s', 'ms' or 'us') where it is given.

        >>> import ferrograd
        >>> with ferrograd.autograd.profiler.profile() as p:
        ...     _ = ferrograd.ones(2) * 3
        >>> "aten::mul" in p.function_events.table(sort_by="cpu_time_total")
        True
        """
        rows = [e for e in self if not (top_level_events_only and e.cpu_parent is not None)]
        if sort_by is not None:
            name = functools.reduce(lambda name, device: name.replace(device, "device"), ("cuda", "xpu", "privateuse1"), sort_by)
            rows.sort(key=lambda event: getattr(event, name), reverse=True)
        if not rows:
            return ""
        times = _Columns(self, time_unit, (max_name_column_width, max_shapes_column_width, max_src_column_width))
        return times.table(rows[:row_limit] if row_limit >= 0 else rows, header, top_level_events_only)

    def export_chrome_trace(self, path: str | os.PathLike, *, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the events as a file that chrome://tracing and Perfetto show, packed where its name ends in ".gz". Arrows
        lead from an operation to its derivative. `metadata` is written beside the events.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "trace.json")
        ...     EventList().export_chrome_trace(path)
        ...     os.path.exists(path)
        True
        """
        whole = {"schemaVersion": 1, "displayTimeUnit": "ms", **(metadata or {}), "traceEvents": _trace(self)}
        opened = gzip.open if os.fspath(path).endswith(".gz") else open
        with opened(path, "wt", encoding="utf-8") as file:
            json.dump(whole, file)

    def supported_export_stacks_metrics(self) -> list[str]:
        """What `export_stacks` can tell of each stack.

        >>> EventList().supported_export_stacks_metrics()
        ['self_cpu_time_total', 'self_cuda_time_total', 'self_xpu_time_total', 'self_privateuse1_time_total']
        """
        return [f"self_{device}_time_total" for device in ("cpu", "cuda", "xpu", "privateuse1")]

    def export_stacks(self, path: str | os.PathLike, metric: str = "self_cpu_time_total") -> None:
        """Write the stacks of events that took a microsecond or more as lines for flame graphs: the frames, the outermost
        first, separated by semicolons, and the microseconds. ValueError for an unknown metric; devices took no time, so
        that theirs leave the file empty.

        >>> import tempfile
        >>> event = FunctionEvent(id=0, name="mul", thread=1, start_us=0, end_us=7, stack=["a.py(2): f", "a.py(9): <module>"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "stacks.txt")
        ...     EventList([event]).export_stacks(path)
        ...     print(open(path).read(), end="")
        a.py(9):_<module>;a.py(2):_f 7
        """
        if metric not in self.supported_export_stacks_metrics():
            raise ValueError(f"export_stacks: metric should be one of {self.supported_export_stacks_metrics()}, got {metric!r}")
        with open(path, "w", encoding="utf-8") as file:
            for event in self:
                us = int(event.self_cpu_time_total) if metric == "self_cpu_time_total" else 0
                if event.stack and us > 0:
                    frames = (re.sub(r"[ ;\t\n]", "_", frame) for frame in reversed(event.stack))
                    file.write(f"{';'.join(frames)} {us}\n")


class _Columns:
    """The columns of a table: their titles, widths and cells."""

    def __init__(self, events: EventList, time_unit: str | None, widths: tuple[int | None, int | None, int | None]) -> None:
        self.events, self.time_unit = events, time_unit
        self.name_width, self.shapes_width, self.stack_width = (math.inf if width is None else width for width in widths)

    def time(self, us: float) -> str:
        size = {"s": 1e6, "ms": 1e3, "us": 1.0}.get(self.time_unit or "")
        return _format_time(us) if size is None else f"{us / size:.3f}{self.time_unit}"

    def table(self, rows: list, header: str | None, top_level_only: bool) -> str:
        columns = self.columns(rows)
        widths = [width for _, width, _ in columns]
        rule = "  ".join("-" * width for width in widths) + "  "
        lines = [] if header is None else ["=" * (len(rule) - 2), header]
        lines += ["=" * (len(rule) - 2), "This report only display top-level ops statistics"] if top_level_only else []
        lines += [rule, "  ".join(f"{title:>{width}}" for title, width, _ in columns) + "  ", rule]
        stacked = any(row.stack for row in rows)
        for row, cells in zip(rows, zip(*(cells for _, _, cells in columns))):
            lines.append("  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths)) + "  ")
            if stacked:
                # The source is the last column, to the left; further frames and an empty line stand below the first.
                below = [*row.stack[1:], ""]
                indent = " " * (sum(widths[:-1]) + 2 * len(widths[:-1]))
                lines += [f"{indent}{self.end(frame, widths[-1]):<{widths[-1]}}  " for frame in below]
        total = self.time(self.events.self_cpu_time_total)
        return "\n".join([*lines, rule, f"Self CPU time total: {total}"]) + "\n"

    def columns(self, rows: list) -> list[tuple[str, int, list[str]]]:
        total = self.events.self_cpu_time_total or 1.0

        def share(us: float) -> str:
            return f"{us / total * 100:.2f}%"

        columns = [
            self.wide("Name", [e.key for e in rows], self.name_width),
            ("Self CPU %", 12, [share(e.self_cpu_time_total) for e in rows]),
            ("Self CPU", 12, [self.time(e.self_cpu_time_total) for e in rows]),
            ("CPU total %", 12, [share(e.cpu_time_total) for e in rows]),
            ("CPU total", 12, [self.time(e.cpu_time_total) for e in rows]),
            ("CPU time avg", 12, [self.time(e.cpu_time) for e in rows]),
        ]
        if self.events._profile_memory:
            columns.append(("CPU Mem", 12, [_format_memory(e.cpu_memory_usage) for e in rows]))
            columns.append(("Self CPU Mem", 12, [_format_memory(e.self_cpu_memory_usage) for e in rows]))
        columns.append(("# of Calls", 12, [str(e.count) for e in rows]))
        if any(e.input_shapes for e in rows):
            columns.append(self.wide("Input Shapes", [str(e.input_shapes) for e in rows], self.shapes_width))
        counted = [e.flops for e in rows if e.flops > 0]
        if self.events._with_flops and counted:
            size = min(int(math.log10(min(counted)) / 3), 5)
            cells = [f"{e.flops / 1000**size:.3f}" if e.flops > 0 else "--" for e in rows]
            columns.append((f"Total {' KMGTP'[size].strip()}FLOPs", 12, cells))
        if any(e.stack for e in rows):
            width = int(min(max(len(frame) for e in rows for frame in e.stack) + 4, self.stack_width))
            firsts = [self.end(e.stack[0], width) if e.stack else "" for e in rows]
            columns.append(("Source Location".ljust(width), width, [f"{first:<{width}}" for first in firsts]))
        return columns

    @staticmethod
    def wide(title: str, cells: list[str], most: float) -> tuple[str, int, list[str]]:
        width = int(min(max(len(cell) for cell in [title, *cells]) + 4, most))
        return title, width, [cell if len(cell) <= width else cell[: width - 3] + "..." for cell in cells]

    @staticmethod
    def end(path: str, width: int) -> str:
        """The end of a text, which says most of a path."""
        return path if len(path) <= width else "..." + path[len(path) - width + 3 :]


def _trace(events: list[FunctionEvent]) -> list[dict]:
    """What chrome://tracing reads: a row of each thread, and arrows."""
    pid = os.getpid()
    trace: list[dict] = [
        {"ph": "M", "name": "thread_name", "pid": pid, "tid": t, "args": {"name": f"thread {t}"}}
        for t in sorted({e.thread for e in events})
    ]
    recorded: dict[int, FunctionEvent] = {}
    for e in events:
        kind = "user_annotation" if e.is_user_annotation else "cpu_op"
        place = {"pid": pid, "tid": e.thread}
        known = {"Input Dims": e.input_shapes, "Input type": [repr(d).rsplit(".", 1)[-1] for d in e.input_dtypes]}
        known |= {"Bytes": e.cpu_memory_usage} | ({"Sequence number": e.sequence_nr} if e.sequence_nr >= 0 else {})
        known |= {"Call stack": ";".join(reversed(e.stack))} if e.stack else {}
        start = {"ts": e.time_range.start}
        trace.append({"ph": "X", "cat": kind, "name": e.name, **place, **start, "dur": e.cpu_time_total, "args": known})
        if e.kind == "operation" and e.sequence_nr >= 0:
            recorded[e.sequence_nr] = e
        elif e.kind == "derivative" and e.sequence_nr in recorded:
            arrow = {"cat": "fwdbwd", "name": "fwdbwd", "id": e.sequence_nr}
            source = recorded[e.sequence_nr]
            trace.append({"ph": "s", **arrow, "pid": pid, "tid": source.thread, "ts": source.time_range.start})
            trace.append({"ph": "f", "bp": "e", **arrow, **place, **start})
    return trace


__all__ = ["DeviceType", "EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]
