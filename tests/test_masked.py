"""Masked reductions and normalisations, beside NumPy's masked arrays, differences, and torch where it is installed."""

import math

import numpy as np
import pytest

import ferrograd as fg
from ferrograd import masked

X = fg.tensor([[3.0, -1.0, 2.0, 5.0], [4.0, 1.0, -2.0, 0.5], [1.5, 2.5, -3.0, 7.0]], dtype=fg.float64)
M = fg.tensor([[True, False, True, True], [False, True, True, False], [True, True, False, True]])
#: What NumPy makes of masked arrays.
REDUCTIONS = {
    "sum": lambda a, axis: a.sum(axis),
    "prod": lambda a, axis: a.prod(axis),
    "amax": lambda a, axis: a.max(axis),
    "amin": lambda a, axis: a.min(axis),
    "mean": lambda a, axis: a.mean(axis),
    "var": lambda a, axis: a.var(axis, ddof=1),
    "std": lambda a, axis: a.std(axis, ddof=1),
    "norm": lambda a, axis: np.sqrt((a * a).sum(axis)),
    "logsumexp": lambda a, axis: np.log(np.exp(a).sum(axis)),
}
ALONG = {
    "cumsum": lambda a, axis: a.filled(0).cumsum(axis),
    "cumprod": lambda a, axis: a.filled(1).cumprod(axis),
    "softmax": lambda a, axis: (np.exp(a) / np.exp(a).sum(axis, keepdims=True)).filled(0),
    "log_softmax": lambda a, axis: (a - np.log(np.exp(a).sum(axis, keepdims=True))).filled(-np.inf),
    "softmin": lambda a, axis: (np.exp(-a) / np.exp(-a).sum(axis, keepdims=True)).filled(0),
}
MASKS = {"own": M, "row": M[0], "column": M[:, :1], "one": fg.tensor(True), "numbers": M.to(fg.int8)}


def array(x: fg.Tensor, mask: fg.Tensor) -> np.ma.MaskedArray:
    return np.ma.masked_array(x.numpy(), ~np.broadcast_to(mask.bool().numpy(), x.shape))


@pytest.mark.parametrize("mask", ["own", "row", "one", "numbers"])
@pytest.mark.parametrize("dim", [None, (), 0, -1, (0, 1), [1, 0]], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_numpys(name, dim, mask):
    axis = tuple(dim) if isinstance(dim, (list, tuple)) and dim else None if dim == () else dim
    found = getattr(masked, name)(X, dim=dim, mask=MASKS[mask])
    expected = REDUCTIONS[name](array(X, MASKS[mask]), axis)
    keep = np.ma.getmaskarray(np.ma.asarray(expected))
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found.numpy()[~keep], np.ma.asarray(expected).data[~keep], rtol=1e-12)
    kept = getattr(masked, name)(X, dim=dim, mask=MASKS[mask], keepdim=True)
    assert kept.dim() == 2 and kept.flatten().isclose(found.flatten(), equal_nan=True).all()


@pytest.mark.parametrize("mask", ["own", "row", "one"])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ALONG)
def test_what_goes_along_a_dimension_is_numpys(name, dim, mask):
    found = getattr(masked, name)(X, dim, mask=MASKS[mask])
    expected = ALONG[name](array(X, MASKS[mask]), dim)
    left = MASKS[mask].broadcast_to(X.shape).any(dim, True).broadcast_to(X.shape).numpy()
    np.testing.assert_allclose(found.numpy()[left], expected[left], rtol=1e-12)
    if "soft" in name:
        assert np.isnan(found.numpy()[~left]).all()


def test_values():
    mask = fg.tensor([True, False, True])
    x = fg.tensor([1.0, 9.0, 3.0])
    none = fg.tensor([False, False, False])
    found = {name: getattr(masked, name)(x, mask=mask).item() for name in ("sum", "prod", "amax", "amin", "argmax", "argmin", "mean", "median", "var")}
    assert found == {"sum": 4, "prod": 3, "amax": 3, "amin": 1, "argmax": 2, "argmin": 0, "mean": 2, "median": 1, "var": 2}
    empty = {name: getattr(masked, name)(x, mask=none).item() for name in ("sum", "prod", "amax", "amin", "norm", "logsumexp")}
    assert empty == {"sum": 0, "prod": 1, "amax": -math.inf, "amin": math.inf, "norm": 0, "logsumexp": -math.inf}
    assert all(math.isnan(getattr(masked, name)(x, mask=none).item()) for name in ("mean", "median", "var", "std"))
    assert masked.norm(x, -math.inf, mask=none).item() == math.inf and masked.norm(x, 1, mask=mask).item() == 4
    assert masked.var(x, unbiased=False, mask=mask).item() == 1 and masked.var(x, correction=0, mask=mask).item() == 1
    assert masked.normalize(x, 1, 0, mask=mask).tolist() == [0.25, 0, 0.75]
    a, b = fg.tensor([-100.0, -200.0, -300.0]), fg.tensor([-1.0, -2.0, -3.0])
    assert masked.logaddexp(a, b, input_mask=mask, other_mask=mask).tolist() == [-1, -math.inf, -3]


def test_dtypes():
    x = fg.tensor([1, 9, 3], dtype=fg.int16)
    mask = fg.tensor([True, False, True])
    assert masked.sum(x, mask=mask).dtype == masked.prod(x, mask=mask).dtype == fg.int64
    assert masked.sum(x, dtype=fg.float32, mask=mask).dtype == fg.float32 and masked.sum(x, mask=mask).item() == 4
    assert masked.amax(x, mask=mask).dtype == masked.argmax(x, mask=mask).dtype == masked.cumsum(x, 0, mask=mask).dtype == fg.int16
    assert masked.amax(x, mask=fg.tensor(False)).item() == -(2**15) and masked.amin(x, mask=fg.tensor(False)).item() == 2**15 - 1
    assert masked.var(x, mask=mask).dtype == fg.float32 and masked.median(x, mask=mask).dtype == fg.int16
    assert masked.mean(x, dtype=fg.float64, mask=mask).item() == 2


@pytest.mark.parametrize("mask", [None, "own", "row"])
@pytest.mark.parametrize("name", [*(n for n in REDUCTIONS if n != "prod"), "prod", "median", *ALONG, "normalize"])
def test_derivatives(name, mask):
    x = X.clone().requires_grad_()
    first = {"normalize": (2.0, 1), "median": (1,)}.get(name, (1,) if name in ALONG else ())
    # Where nothing is left in a row there is nothing to differentiate.
    chosen = None if mask is None else MASKS[mask]

    def f(x):
        y = getattr(masked, name)(x, *first, mask=chosen)
        return y.where(y.isfinite(), 0.0)

    fg.autograd.gradcheck(f, x)
    (g,) = fg.autograd.grad(f(x).sum(), x)
    if chosen is not None:
        assert (g[~chosen.broadcast_to(x.shape)] == 0).all()


@pytest.mark.parametrize("name", [*REDUCTIONS, "median", *ALONG, "normalize"])
def test_what_is_masked_out_has_no_gradient(name):
    x = fg.tensor([1.0, math.nan, 3.0, math.inf], requires_grad=True)
    first = {"normalize": (2.0, 0), "norm": (2.0, 0)}.get(name, (0,))
    y = getattr(masked, name)(x, *first, mask=fg.tensor([True, False, True, False]))
    (g,) = fg.autograd.grad(y[0] if name in (*ALONG, "normalize") else y, x)
    assert g[1] == g[3] == 0 and g.isfinite().all()


def test_wrong_arguments():
    x = fg.ones(2, 3)
    for wrong, kind in {
        lambda: masked.sum(3): TypeError,
        lambda: masked.sum(x, mask=[True]): TypeError,
        lambda: masked.mean(3): TypeError,
        lambda: masked.var([1.0]): TypeError,
        lambda: masked.logaddexp(x, 3): TypeError,
        lambda: masked.sum(x, 2): IndexError,
        lambda: masked.sum(x, mask=fg.ones(1, 2, 3)): IndexError,
        lambda: masked.sum(x, (0, -2)): RuntimeError,
        lambda: masked.sum(x, mask=fg.ones(2)): RuntimeError,
        lambda: masked.mean(x.long()): ValueError,
        lambda: masked.median(x.long(), mask=fg.tensor(False)): ValueError,
        lambda: masked.amax(x.bool(), mask=fg.tensor(True)): NotImplementedError,
        lambda: masked.var(x, unbiased=True, correction=1): AssertionError,
    }.items():
        with pytest.raises(kind):
            wrong()


# Beside torch, where it is installed.


def samples():
    """Calls of torch's own samples, by name and dtype."""
    try:
        import torch
        from torch.testing._internal.opinfo.definitions import _masked
    except ImportError:
        return
    for op in _masked.op_db:
        name = op.name.removeprefix("masked.")
        if name in masked.__all__:
            for dtype in (d for d in (torch.float64, torch.int64, torch.uint8, torch.bool) if d in op.dtypes):
                yield pytest.param(op, name, dtype, id=f"{name}-{op.variant_test_name or ''}-{dtype}")


def ours(value):
    """Tensors and dtypes of torch as those of the package."""
    import torch

    if isinstance(value, torch.Tensor):
        return fg.from_numpy(value.detach().numpy().copy()).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return getattr(fg, str(value).removeprefix("torch."))
    return value


def result(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("op, name, dtype", samples())
@pytest.mark.filterwarnings("ignore")
def test_samples_of_torch(op, name, dtype):
    import torch

    differentiable = dtype == torch.float64 and op.supports_autograd
    for sample in op.sample_inputs("cpu", dtype, requires_grad=differentiable):
        given = [sample.input, *sample.args]
        if any(isinstance(x, torch.Tensor) and x.layout != torch.strided for x in [*given, *sample.kwargs.values()]):
            continue
        mine = [ours(x) for x in given]
        expected = result(getattr(torch.masked, name), *given, **sample.kwargs)
        found = result(getattr(masked, name), *mine, **{k: ours(v) for k, v in sample.kwargs.items()})
        if isinstance(expected, type):
            assert found is expected
            continue
        assert str(found.dtype) == str(expected.dtype) and tuple(found.shape) == tuple(expected.shape)
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-8)
        if expected.requires_grad:
            w = torch.rand(expected.shape, dtype=dtype)
            (expected,) = torch.autograd.grad(expected, sample.input, w, allow_unused=True)
            (found,) = fg.autograd.grad(found, mine[0], ours(w), allow_unused=True)
            assert (found is None) == (expected is None)
            if found is not None:
                np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-8)
