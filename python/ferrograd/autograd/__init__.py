"""Automatic differentiation: `backward`, `grad`, the modes, and checks of derivatives.

>>> import ferrograd
>>> x = ferrograd.tensor([2.0], requires_grad=True)
>>> (slope,) = grad(x ** 3, x, create_graph=True)
>>> grad(slope, x)
(tensor([12.]),)
"""

from .. import _ferrograd
from .._ferrograd import _SavedTensor as SavedTensor
from . import anomaly_mode, forward_ad, function, grad_mode, graph, variable
from ._grad import backward, grad
from .anomaly_mode import detect_anomaly, set_detect_anomaly
from .function import Function, NestedIOFunction
from .grad_mode import (
    _unsafe_preserve_version_counter,
    enable_grad,
    enforce_grad_layout_policy,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from .gradcheck import gradcheck, gradgradcheck
from .variable import Variable

__all__ = [
    "Function",
    "NestedIOFunction",
    "SavedTensor",
    "Variable",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "enforce_grad_layout_policy",
    "forward_ad",
    "function",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_multithreading_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "variable",
]


def is_multithreading_enabled() -> bool:
    """Whether backward passes of this thread may use others.

    >>> with set_multithreading_enabled(False):
    ...     is_multithreading_enabled()
    False
    """
    return _ferrograd._is_multithreading_enabled()


def _profiler_enabled() -> bool:
    """Whether a profiler records.

    >>> with profiler.profile():
    ...     _profiler_enabled()
    True
    """
    return _ferrograd._profiler_enabled()


def __getattr__(name: str):
    # Loaded when first asked for, so that the import of the package stays short.
    if name in ("functional", "profiler", "profiler_util"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name in ("DeviceType", "ProfilerActivity", "kineto_available"):
        from .. import profiler as steps

        return getattr(steps, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
