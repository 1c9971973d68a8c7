"""Settings that programs for torch make and ask for where there is one device and one way to compute, and kin."""

import warnings
from typing import Any

from . import _ferrograd
from ._ferrograd import Tensor, device

_MODES = ("default", "warn", "error")
#: The device asked for, which of the modes of determinism, and how exact products of float32 must be.
_set: dict[str, Any] = {"device": device("cpu"), "mode": 0, "precision": "highest"}


def set_default_device(device: Any) -> None:
    """Where tensors are made that no device is named for: the CPU, or None, which is the same.

    Raises AssertionError for a device by CUDA, RuntimeError for others, TypeError for what is no device.

    >>> set_default_device("cpu")
    >>> get_default_device()
    device(type='cpu')
    """
    device = "cpu" if device is None else device
    _ferrograd._check_device("set_default_device", device)
    _set["device"] = _ferrograd.device(device)


def get_default_device() -> device:
    """Where tensors are made that no device is named for.

    >>> get_default_device()
    device(type='cpu')
    """
    return _set["device"]


def typename(obj: Any, /) -> str:
    """The full name of an object's class, of a class or of a function; of a tensor the old name of its element type.

    >>> import ferrograd
    >>> typename(ferrograd.tensor([1]))
    'torch.LongTensor'
    >>> typename([])
    'list'
    """
    if isinstance(obj, Tensor):
        return obj.type()
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None) or ""
    return named.__qualname__ if module in ("", "builtins") else f"{module}.{named.__qualname__}"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Whether operations must give the same bits each time. They always do here: the setting is kept for those who ask.

    Raises TypeError for what is no bool.

    >>> use_deterministic_algorithms(True)
    >>> are_deterministic_algorithms_enabled()
    True
    >>> use_deterministic_algorithms(False)
    """
    if not isinstance(mode, bool) or not isinstance(warn_only, bool):
        name, value = ("mode", mode) if not isinstance(mode, bool) else ("warn_only", warn_only)
        raise TypeError(f"use_deterministic_algorithms(): argument '{name}' must be bool, not {type(value).__name__}")
    _set["mode"] = 0 if not mode else 1 if warn_only else 2


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was given last.

    >>> are_deterministic_algorithms_enabled()
    False
    """
    return _set["mode"] > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was given as `warn_only` last, where it was turned on.

    >>> is_deterministic_algorithms_warn_only_enabled()
    False
    """
    return _set["mode"] == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by a number or a word: 0 or `default`, 1 or `warn`, 2 or `error`.

    Raises RuntimeError for others, TypeError for what is neither.

    >>> set_deterministic_debug_mode("warn")
    >>> get_deterministic_debug_mode()
    1
    >>> set_deterministic_debug_mode(0)
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _MODES:
            raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
        debug_mode = _MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    _set["mode"] = int(debug_mode)


def get_deterministic_debug_mode() -> int:
    """What `set_deterministic_debug_mode` was given last, as a number.

    >>> get_deterministic_debug_mode()
    0
    """
    return _set["mode"]


def set_warn_always(b: bool, /) -> None:
    """Whether warnings that are shown once in a process, such as that of calls in torch's old forms, are shown each time.

    Raises RuntimeError for what is no bool.

    >>> set_warn_always(True)
    >>> is_warn_always_enabled()
    True
    >>> set_warn_always(False)
    """
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _ferrograd._set_warn_always(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was given last.

    >>> is_warn_always_enabled()
    False
    """
    return _ferrograd._is_warn_always_enabled()


def set_float32_matmul_precision(precision: str) -> None:
    """How exact products of float32 must be: "highest", "high" or "medium". They always are of the highest precision here: the
    setting is kept for those who ask. A warning tells of other words, which change nothing.

    Raises RuntimeError for what is no string.

    >>> set_float32_matmul_precision("high")
    >>> get_float32_matmul_precision()
    'high'
    >>> set_float32_matmul_precision("highest")
    """
    if not isinstance(precision, str):
        raise RuntimeError(f"set_float32_matmul_precision expects a str, but got {type(precision).__name__}")
    if precision not in ("highest", "high", "medium"):
        message = f"{precision} is not one of 'highest', 'high', or 'medium'; the setting stays {_set['precision']!r}"
        warnings.warn(message, stacklevel=2)
        return
    _set["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was given last.

    >>> get_float32_matmul_precision()
    'highest'
    """
    return _set["precision"]


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Turn the mode of `autograd.detect_anomaly` on or off.

    Raises TypeError for what is no bool.

    >>> import ferrograd
    >>> set_anomaly_enabled(True, check_nan=False)
    >>> ferrograd.is_anomaly_enabled(), ferrograd.is_anomaly_check_nan_enabled()
    (True, False)
    >>> set_anomaly_enabled(False)
    """
    for name, value in (("mode", mode), ("check_nan", check_nan)):
        if not isinstance(value, bool):
            raise TypeError(f"set_anomaly_enabled(): argument '{name}' must be bool, not {type(value).__name__}")
    _ferrograd._set_anomaly_enabled(mode, check_nan)


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """False: operations compute in the element types that they are given.

    Raises RuntimeError for what is no kind of device, TypeError for what is no string.

    >>> is_autocast_enabled("cpu")
    False
    """
    if device_type is not None:
        if not isinstance(device_type, str):
            raise TypeError(f"is_autocast_enabled(): argument 'device_type' (position 1) must be str, not {type(device_type).__name__}")
        device(device_type)
    return False


def is_autocast_cpu_enabled() -> bool:
    """False: operations compute in the element types that they are given.

    >>> is_autocast_cpu_enabled()
    False
    """
    return False


def _assert(condition: Any, message: str) -> None:
    """An AssertionError with the message where the condition does not hold.

    >>> _assert(1 < 2, "order")
    """
    if not condition:
        raise AssertionError(message)


def _assert_async(input: Tensor, assert_msg: str = "Expected Tensor with single nonzero value, but got zero") -> None:
    """A RuntimeError with the message where the one element of a tensor is zero, and for more elements or none.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> _assert_async(ferrograd.tensor(1))
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"_assert_async(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if not bool(input):
        raise RuntimeError(assert_msg)
