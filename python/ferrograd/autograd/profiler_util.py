"""The classes of records under the name that torch has for their module: those of `autograd.profiler`."""

from .profiler import EventList, FunctionEvent, FunctionEventAvg, Interval
from .profiler import _time as _format_time  # noqa: F401 - as torch calls it

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]
