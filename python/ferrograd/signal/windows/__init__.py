"""Window functions: weights for the `M` numbers of a stretch, which fall off to both ends.

All are symmetric; with `sym=False` they are the beginning of a period, one number short of the symmetric window of `M + 1`. A
window of one number is 1. The result is of the default float unless `dtype` says otherwise. ValueError is raised for a negative
`M`, dtypes other than float32 and float64, and layouts other than `strided`.

>>> import ferrograd
>>> ferrograd.signal.windows.hann(5)
tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
"""

from collections.abc import Callable, Iterable, Sequence
from math import pi
from typing import Any

from ... import _ferrograd
from ..._ferrograd import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip


def _window(name: str, M: int, sym: bool, dtype: Any, layout: Any, device: Any, requires_grad: bool, weights: Callable) -> Tensor:
    """A window whose weights are a function of the places `0, 1, ... M - 1` and of the last place, or of the period."""
    dtype = _ferrograd.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not _ferrograd.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (_ferrograd.float32, _ferrograd.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    result = _ferrograd.ones(M, dtype=dtype, device=device)
    if M > 1:
        result = weights(_ferrograd.arange(M, dtype=_ferrograd.float64), M - 1 if sym else M).to(dtype)
    return result.requires_grad_(requires_grad)


def _cosines(
    M: int, sym: bool, dtype: Any, layout: Any, device: Any, requires_grad: bool, a: Sequence[float]
) -> Tensor:
    """A window whose weights are `a[0] - a[1] cos(2 pi n / N) + a[2] cos(4 pi n / N) - ...`."""

    def weights(n: Tensor, last: int) -> Tensor:
        terms = [(-1) ** k * factor * (2 * pi * k / last * n).cos() for k, factor in enumerate(a)]
        return sum(terms[1:], terms[0])

    return _window("general_cosine", M, sym, dtype, layout, device, requires_grad, weights)


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A triangle: `1 - |2 n / N - 1|` for `n = 0, 1, ... M - 1`, where `N` is `M - 1`, or `M` without `sym`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.bartlett(3)
    tensor([0., 1., 0.])
    """

    def weights(n: Tensor, last: int) -> Tensor:
        return 1 - (2 * n / last - 1).abs()

    return _window("bartlett", M, sym, dtype, layout, device, requires_grad, weights)


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Blackman's window: `general_cosine` with `a = (0.42, 0.5, 0.08)`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.blackman(3).round(decimals=4).abs()
    tensor([0., 1., 0.])
    """
    return _cosines(M, sym, dtype, layout, device, requires_grad, (0.42, 0.5, 0.08))


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Half a wave of a sine: `sin(pi (n + 1/2) / M)` for `n = 0, 1, ... M - 1`, with `M + 1` for `M` without `sym`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.cosine(3)
    tensor([0.5000, 1.0000, 0.5000])
    """

    def weights(n: Tensor, last: int) -> Tensor:
        return (pi / (last + 1) * (n + 0.5)).sin()

    return _window("cosine", M, sym, dtype, layout, device, requires_grad, weights)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`exp(-|n - center| / tau)`, where `center` is the middle, and may be given without `sym` only.

    Raises ValueError for a `tau` that is not positive, and a `center` with `sym`.

    >>> import ferrograd
    >>> ferrograd.signal.windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def weights(n: Tensor, last: int) -> Tensor:
        return (-(n - (last / 2 if center is None else center)).abs() / tau).exp()

    return _window("exponential", M, sym, dtype, layout, device, requires_grad, weights)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`exp(-((n - N / 2) / std)^2 / 2)` with `N` as in `bartlett`.

    Raises ValueError for a `std` that is not positive.

    >>> import ferrograd
    >>> ferrograd.signal.windows.gaussian(3)
    tensor([0.6065, 1.0000, 0.6065])
    """
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def weights(n: Tensor, last: int) -> Tensor:
        return (-(((n - last / 2) / std) ** 2) / 2).exp()

    return _window("gaussian", M, sym, dtype, layout, device, requires_grad, weights)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`a[0] - a[1] cos(2 pi n / N) + a[2] cos(4 pi n / N) - ...` with `N` as in `bartlett`.

    Raises TypeError for factors that are none, ValueError for no factors.

    >>> import ferrograd
    >>> ferrograd.signal.windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    factors = list(a)
    if not factors:
        raise ValueError("Coefficients cannot be empty")
    return _cosines(M, sym, dtype, layout, device, requires_grad, factors)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`alpha - (1 - alpha) cos(2 pi n / N)` with `N` as in `bartlett`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.general_hamming(3, alpha=0.75)
    tensor([0.5000, 1.0000, 0.5000])
    """
    return _cosines(M, sym, dtype, layout, device, requires_grad, (alpha, 1 - alpha))


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Hamming's window: `general_hamming` with `alpha = 0.54`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    return _cosines(M, sym, dtype, layout, device, requires_grad, (0.54, 0.46))


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Hann's window: `general_hamming` with `alpha = 0.5`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.hann(3)
    tensor([0., 1., 0.])
    """
    return _cosines(M, sym, dtype, layout, device, requires_grad, (0.5, 0.5))


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Kaiser's window: `I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta)` with `N` as in `bartlett`.

    Raises ValueError for a negative `beta`.

    >>> import ferrograd
    >>> ferrograd.signal.windows.kaiser(3, beta=2.0)
    tensor([0.4387, 1.0000, 0.4387])
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def weights(n: Tensor, last: int) -> Tensor:
        places = beta * (1 - (2 * n / last - 1) ** 2).clamp(min=0).sqrt()
        return _ferrograd.i0(places) / _ferrograd.i0(_ferrograd.tensor(beta, dtype=_ferrograd.float64))

    return _window("kaiser", M, sym, dtype, layout, device, requires_grad, weights)


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _ferrograd.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Nuttall's window: `general_cosine` with `a = (0.3635819, 0.4891775, 0.1365995, 0.0106411)`.

    Raises ValueError for a negative `M` and other dtypes.

    >>> import ferrograd
    >>> ferrograd.signal.windows.nuttall(3)
    tensor([3.6280e-04, 1.0000e+00, 3.6280e-04])
    """
    return _cosines(M, sym, dtype, layout, device, requires_grad, (0.3635819, 0.4891775, 0.1365995, 0.0106411))
