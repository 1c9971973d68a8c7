"""How tensors are printed."""

import contextlib
import operator
from collections.abc import Iterator
from math import inf

from . import _ferrograd

_PROFILES = {
    "default": dict(precision=4, threshold=1000, edgeitems=3, linewidth=80),
    "short": dict(precision=2, threshold=1000, edgeitems=2, linewidth=80),
    "full": dict(precision=4, threshold=inf, edgeitems=3, linewidth=80),
}
#: As many elements as no tensor has; the digits of the longest float64.
_UNBOUNDED, _MOST_DIGITS = 2**62, 1100


def _count(name: str, value, most: int) -> int:
    """An option as an integer from 0; infinite ones become the greatest."""
    try:
        count = most if value == inf else operator.index(value)
    except TypeError:
        raise TypeError(f"set_printoptions: {name} must be int, not {type(value).__name__}") from None
    if count < 0 or (name == "precision" and count > most):
        raise ValueError(f"set_printoptions: {name} must lie between 0 and {most}, got {count}")
    return min(count, most)


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None) -> None:
    """Set how tensors are printed, as torch's function of the name.

    precision: digits after the point (4). threshold: elements above which the middle is left out (1000). edgeitems:
    how many are shown at each end then (3). linewidth: characters of a line (80). profile: "default", "short" or
    "full", with which the others begin. sci_mode: True or False forces scientific notation on or off; None lets the
    numbers decide.

    Raises TypeError for options that are not integers, ValueError for negative ones and for other profiles.

    >>> import ferrograd
    >>> ferrograd.set_printoptions(precision=2)
    >>> ferrograd.tensor([1.12345])
    tensor([1.12])
    >>> ferrograd.set_printoptions(profile="default")
    >>> ferrograd.tensor([1.12345])
    tensor([1.1235])
    """
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f"set_printoptions: profile must be 'default', 'short' or 'full', got {profile!r}")
    options = dict(_PROFILES[profile]) if profile is not None else {}
    given = dict(precision=precision, threshold=threshold, edgeitems=edgeitems, linewidth=linewidth)
    options.update({name: value for name, value in given.items() if value is not None})
    limits = {name: _MOST_DIGITS if name == "precision" else _UNBOUNDED for name in options}
    counts = {name: _count(name, value, limits[name]) for name, value in options.items()}
    _ferrograd._set_printoptions(counts, None if sci_mode is None else bool(sci_mode))


def get_printoptions() -> dict:
    """How tensors are printed: the arguments with which `set_printoptions` makes it so.

    >>> get_printoptions()
    {'precision': 4, 'threshold': 1000, 'edgeitems': 3, 'linewidth': 80, 'sci_mode': None}
    """
    options = _ferrograd._get_printoptions()
    return {name: inf if value == _UNBOUNDED else value for name, value in options.items()}


@contextlib.contextmanager
def printoptions(**options) -> Iterator[None]:
    """Print tensors in another way for a while; takes the arguments of `set_printoptions`.

    >>> import ferrograd
    >>> with printoptions(precision=2):
    ...     print(ferrograd.tensor([1.12345]))
    tensor([1.12])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)
