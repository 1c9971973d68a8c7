"""Looking for mistakes: the line that recorded a failing node, and the first gradient that is not a number."""

import warnings

from .._ferrograd import _set_anomaly_enabled, is_anomaly_check_nan_enabled, is_anomaly_enabled
from .grad_mode import _Mode


class _AnomalyMode(_Mode):
    def __enter__(self) -> None:
        self._before = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        _set_anomaly_enabled(self._enabled, self._check_nan)

    def __exit__(self, *exception: object) -> None:
        _set_anomaly_enabled(*self._before)


class detect_anomaly(_AnomalyMode):
    """Within the block, an error in backward shows the line that recorded the failing node, and a gradient that is not
    a number is an error. Much slower: for finding mistakes only.

    >>> import ferrograd
    >>> x = ferrograd.tensor([0.0], requires_grad=True)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with detect_anomaly():
    ...         y = (x * 0).sqrt() * x
    ...         y.backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output, the first at [0].
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._enabled, self._check_nan = True, check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.",
            stacklevel=2,
        )

    def clone(self) -> "detect_anomaly":
        """Itself, which is as good as another of the same and warns once.

        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     isinstance(detect_anomaly().clone(), detect_anomaly)
        True
        """
        return self


class set_detect_anomaly(_AnomalyMode):
    """Turn the mode of `detect_anomaly` on or off, at once and, in a `with` block, until its end.

    >>> with set_detect_anomaly(True):
    ...     is_anomaly_enabled()
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._enabled, self._check_nan = mode, check_nan
        self._outer = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        _set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None:
        _set_anomaly_enabled(self._enabled, self._check_nan)

    def __exit__(self, *exception: object) -> None:
        _set_anomaly_enabled(*self._outer)

    def clone(self) -> "set_detect_anomaly":
        """Another of the same, as each call of a decorated function needs one.

        >>> with set_detect_anomaly(False):
        ...     isinstance(set_detect_anomaly(False).clone(), set_detect_anomaly)
        True
        """
        return set_detect_anomaly(self._enabled, self._check_nan)


__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly"]
