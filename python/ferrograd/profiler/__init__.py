"""`autograd.profiler` with steps: records some of the iterations of a loop and hands each record on."""

import enum
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from ..autograd import profiler as _autograd_profiler
from ..autograd.profiler import EventList, kineto_available, record_function
from ..autograd.profiler_util import DeviceType


class ProfilerAction(enum.Enum):
    """What is done in a step.

    >>> ProfilerAction.RECORD.name
    'RECORD'
    """

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


class ProfilerActivity(enum.Enum):
    """What is recorded: work of the CPU, the one device there is.

    >>> ProfilerActivity.CPU.name
    'CPU'
    """

    CPU = 0
    XPU = 1
    CUDA = 2
    HPU = 3
    MTIA = 4
    PrivateUse1 = 5


def supported_activities() -> set[ProfilerActivity]:
    """What can be recorded.

    >>> supported_activities()
    {<ProfilerActivity.CPU: 0>}
    """
    return {ProfilerActivity.CPU}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """What to do in which step: after `skip_first`, again and again (`repeat` times, 0 without end) `wait` steps of
    nothing, `warmup` steps whose record is thrown away, and `active` steps that are recorded. With `skip_first_wait` not
    0, the first turn does not wait.

    >>> plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    >>> [plan(n).name for n in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise AssertionError("schedule: wait, warmup, repeat and skip_first must not be negative, and active be positive")
    length = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError("schedule: steps are numbered from 0")
        if step < skip_first:
            return ProfilerAction.NONE
        turn, place = divmod(step - skip_first + (wait if skip_first_wait else 0), length)
        if (repeat and turn >= repeat) or place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if place == length - 1 else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[["profile"], None]:
    """A function for `on_trace_ready` that writes every record into a folder, as Chrome traces, packed or not.

    >>> import ferrograd
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with profile(on_trace_ready=tensorboard_trace_handler(folder)):
    ...         _ = ferrograd.ones(2) * 3
    ...     len(os.listdir(folder))
    1
    """

    def handler(prof: "profile") -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        end = ".gz" if use_gzip else ""
        prof.export_chrome_trace(os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json{end}"))

    return handler


class profile:
    """A block in which what runs is recorded; with a `schedule`, in some of the steps that `step()` counts.

    >>> import ferrograd
    >>> x = ferrograd.ones(3, requires_grad=True)
    >>> with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
    ...     x.exp().sum().backward()
    >>> prof.key_averages()[0].cpu_memory_usage
    12
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[["profile"], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        use_cuda: bool | None = None,
        acc_events: bool = False,
        **others: Any,
    ) -> None:
        _autograd_profiler._refuse("profile", others)
        self.activities = _activities(activities, use_cuda)
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready, self.acc_events = on_trace_ready, acc_events
        self.step_num = 0
        self._metadata: dict[str, Any] = {}
        self._options: dict[str, Any] = {
            "record_shapes": record_shapes, "profile_memory": profile_memory, "with_stack": with_stack,
            "with_flops": with_flops, "with_modules": with_modules, "use_kineto": True,
            "use_cpu": ProfilerActivity.CPU in self.activities,
        }
        self._action = ProfilerAction.NONE
        self.profiler: _autograd_profiler.profile | None = None
        self._running: _autograd_profiler.profile | None = None
        self._range: record_function | None = None

    def __enter__(self) -> "profile":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin with the first step.

        >>> import ferrograd
        >>> prof = profile()
        >>> prof.start()
        >>> _ = ferrograd.ones(2) * 3
        >>> prof.stop()
        >>> prof.events()[-1].name
        'aten::mul'
        """
        self._enter(self.schedule(self.step_num))

    def stop(self) -> None:
        """End, and hand on what was recorded.

        >>> import ferrograd
        >>> prof = profile(on_trace_ready=lambda prof: print(prof.events()[-1].name))
        >>> prof.start()
        >>> _ = ferrograd.ones(2) * 3
        >>> prof.stop()
        aten::mul
        """
        self._leave(ProfilerAction.NONE)

    def step(self) -> None:
        """The next step begins.

        >>> plan = schedule(wait=1, warmup=0, active=1, repeat=1)
        >>> with profile(schedule=plan, on_trace_ready=lambda prof: print("step", prof.step_num)) as prof:
        ...     for _ in range(3):
        ...         prof.step()
        step 2
        """
        self.step_num += 1
        action = self.schedule(self.step_num)
        self._leave(action)
        self._enter(action)

    def _enter(self, action: ProfilerAction) -> None:
        if action is not ProfilerAction.NONE and self._running is None:
            self._running = _autograd_profiler.profile(**self._options).__enter__()
        self._action = action
        self._range = None
        if self.step_num and action is not ProfilerAction.NONE:
            self._range = record_function(f"ProfilerStep#{self.step_num}").__enter__()

    def _leave(self, following: ProfilerAction) -> None:
        """End the step; the record ends where it is whole, where it was a warm-up, and where nothing follows."""
        if self._range is not None:
            self._range.__exit__()
        recording = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        goes_on = (
            self._action is ProfilerAction.WARMUP and following is ProfilerAction.WARMUP
        ) or (self._action is ProfilerAction.RECORD and following in recording)
        if self._running is None or goes_on:
            return
        self._running.__exit__()
        done, self._running = self._running, None
        if self._action in recording:
            if self.acc_events and self.profiler is not None:
                done._recorded()[:0] = self.profiler._recorded()
            self.profiler = done
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def _done(self) -> _autograd_profiler.profile:
        if self.profiler is None:
            raise AssertionError("the profiler has recorded nothing yet")
        return self.profiler

    def events(self) -> EventList:
        """All that was recorded. AssertionError where nothing was recorded yet.

        >>> import ferrograd
        >>> with profile() as prof:
        ...     _ = ferrograd.ones(2) * 3
        >>> [event.name for event in prof.events()][-1]
        'aten::mul'
        """
        return self._done()._recorded()

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """As `EventList.key_averages`.

        >>> import ferrograd
        >>> with profile() as prof:
        ...     _ = ferrograd.ones(2) * 3 * 4
        >>> [e.count for e in prof.key_averages() if e.key == "aten::mul"]
        [2]
        """
        return self._done().key_averages(group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def add_metadata(self, key: str, value: str) -> None:
        """Write a text beside the events of traces, under a name.

        >>> import ferrograd
        >>> import tempfile
        >>> with profile() as prof:
        ...     _ = ferrograd.ones(2) * 3
        >>> prof.add_metadata("run", "first")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "trace.json")
        ...     prof.export_chrome_trace(path)
        ...     json.load(open(path))["run"]
        'first'
        """
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Write what a JSON text says beside the events of traces, under a name. ValueError where it is no JSON.

        >>> prof = profile()
        >>> prof.add_metadata_json("sizes", "[4, 5]")
        """
        self._metadata[key] = json.loads(value)

    #: The same before the record begins.
    preset_metadata_json = add_metadata_json

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """As `EventList.export_stacks`. AssertionError without `with_stack`.

        >>> import ferrograd
        >>> import tempfile
        >>> with profile(with_stack=True) as prof:
        ...     _ = ferrograd.ones(300, 300) @ ferrograd.ones(300, 300)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prof.export_stacks(os.path.join(folder, "stacks.txt"))
        ...     os.listdir(folder)
        ['stacks.txt']
        """
        self._done().export_stacks(path, metric)

    def export_chrome_trace(self, path: str) -> None:
        """As `EventList.export_chrome_trace`.

        >>> import ferrograd
        >>> import tempfile
        >>> with profile() as prof:
        ...     _ = ferrograd.ones(2) * 3
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "trace.json")
        ...     prof.export_chrome_trace(path)
        ...     os.path.exists(path)
        True
        """
        self._done().export_chrome_trace(path, self._metadata)


def _activities(activities: Iterable[ProfilerActivity] | None, use_cuda: bool | None) -> set[ProfilerActivity]:
    """What to record; a warning names the devices that there are not."""
    found: set[ProfilerActivity] = set()
    for activity in supported_activities() if activities is None else activities:
        if not isinstance(activity, ProfilerActivity):
            raise TypeError(f"profile: activities should be ProfilerActivity, got {type(activity).__name__}")
        if activity in found:
            raise ValueError(f"profile: {activity} is specified more than once")
        found.add(activity)
    if use_cuda:
        found.add(ProfilerActivity.CUDA)
    for activity in sorted(found - supported_activities(), key=lambda activity: activity.value):
        warnings.warn(f"{activity.name} is not available, its profiling is disabled", stacklevel=3)
    return found & supported_activities()


__all__ = [
    "DeviceType",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
