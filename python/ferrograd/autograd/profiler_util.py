"""The classes of records under the name that torch has for their module: those of `autograd.profiler`."""

from .profiler import EventList, FunctionEvent, FunctionEventAvg, Interval

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]
