"""`testing`: comparison of nested values, and random tensors."""

import doctest
import importlib
import math
from collections import OrderedDict

import numpy as np
import pytest

import ferrograd as fg
from ferrograd.testing import assert_allclose, assert_close, make_tensor

nan, inf = math.nan, math.inf


def cases(lib):
    """Pairs of values, with options."""
    t = lib.tensor
    a = t([1.0, 2.0, 3.0])
    return {
        "equal": (a, a),
        "one element": (a, t([1.0, 2.0, 4.0])),
        "exact": (a, t([1.0, 2.0, 4.0]), dict(rtol=0, atol=0)),
        "no dimensions": (t(1.0), t(2.0)),
        "integer without dimensions": (t(1), t(2)),
        "shape": (a, t([1.0, 2.0])),
        "dtype": (a, a.double()),
        "dtype unchecked": (a, a.double(), dict(check_dtype=False)),
        "dtype unchecked but different": (a, a.double() + 1, dict(check_dtype=False)),
        "integers": (t([1, 2]), t([1, 3])),
        "integers that wrap": (t([1, 2], dtype=lib.uint8), t([255, 2], dtype=lib.uint8)),
        "large integers": (t([2**53 + 1]), t([2**53])),
        "truth values": (t([True, False]), t([True, True])),
        "nan": (t([nan, 1.0]), t([nan, 1.0])),
        "equal nan": (t([nan, 1.0]), t([nan, 1.0]), dict(equal_nan=True)),
        "equal nan, another": (t([nan, 1.0]), t([nan, 5.0]), dict(equal_nan=True)),
        "infinity": (t([inf, 1.0]), t([inf, 1.0])),
        "number and infinity": (t([1.0, 1.0]), t([inf, 1.0])),
        "infinities of two signs": (t([-inf, 1.0]), t([inf, 1.0])),
        "two dimensions": (lib.zeros(3, 4), lib.ones(3, 4) * lib.arange(4.0)),
        "expected zero": (lib.ones(2), lib.zeros(2)),
        "empty": (lib.zeros(0), lib.zeros(0)),
        "empty shapes": (lib.zeros(0, 2), lib.zeros(2, 0)),
        "stride": (lib.ones(2, 3), lib.ones(3, 2).t(), dict(check_stride=True)),
        "stride unchecked": (lib.ones(2, 3), lib.ones(3, 2).t()),
        "within the absolute tolerance": (t([1e-6]), t([0.0])),
        "given tolerances": (a, a + 1e-3, dict(rtol=0, atol=1e-2)),
        "given tolerances exceeded": (a, a + 1e-3, dict(rtol=1e-6, atol=0)),
        "wider tolerance of two dtypes": (t([1.0]), t([1.0 + 1e-6], dtype=lib.float64), dict(check_dtype=False)),
        "integer and float": (t([1]), t([1.5]), dict(check_dtype=False)),
        "requires grad": (a.clone().requires_grad_(), a),
        "requires grad, different": (a.clone().requires_grad_(), a + 1),
        "numbers": (1.0, 2.0),
        "whole numbers": (1, 2),
        "number types": (1, 1.0),
        "number types unchecked": (1, 1.0, dict(check_dtype=False)),
        "number nan": (nan, nan),
        "number equal nan": (nan, nan, dict(equal_nan=True)),
        "complex numbers": (1j, 2j),
        "number infinity": (inf, inf),
        "number zero": (1.0, 0.0),
        "booleans": (True, False),
        "NumPy numbers": (np.float64(1), np.float64(2)),
        "none": (None, None),
        "none and number": (None, 1),
        "tensor and none": (a, None),
        "arrays": (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        "sequence": ([a, a], [a, a + 1]),
        "lengths": ([a], [a, a]),
        "nested": ([a, {"k": (1.0, a)}], [a, {"k": (1.0, a + 1)}]),
        "deep": ([[[[a]]]], [[[[a + 1]]]]),
        "structure before values": ([a, [a]], [a + 1, [a, a]]),
        "tuple and list": ((a,), [a]),
        "mapping": ({"a": 1.0}, OrderedDict(a=2.0)),
        "keys": ({"a": 1, "b": 2}, {"a": 1, "c": 3}),
        "size and tuple": (a.shape, (3,)),
        "ranges": (range(3), range(3)),
        "only one tolerance": (a, a, dict(rtol=1e-3)),
        "message": ([a], [a + 1], dict(msg="hello")),
        "message from message": ([a], [a + 1], dict(msg=lambda text: "X " + text)),
    }


NOT_COMPARABLE = [("a", "a"), (object(), object()), ([1], {0: 1}), ({1}, {1}), (1.0, "tensor"), ([1.0], "tensor"), (np.ones(1), "tensor")]


def outcome(assert_close, actual, expected, options=None):
    try:
        assert_close(actual, expected, **options or {})
    except (AssertionError, ValueError) as error:
        return type(error), str(error)
    return None


@pytest.mark.parametrize("name", cases(fg))
def test_verdict_and_message_are_torchs(name):
    torch = pytest.importorskip("torch")
    assert outcome(assert_close, *cases(fg)[name]) == outcome(torch.testing.assert_close, *cases(torch)[name])


@pytest.mark.parametrize("actual, expected", NOT_COMPARABLE)
def test_values_that_cannot_be_compared(actual, expected):
    expected = fg.ones(1) if isinstance(expected, str) and expected == "tensor" else expected
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        assert_close(actual, expected)
    with pytest.raises(TypeError, match=r"item \['k'\]\[0\]"):
        assert_close({"k": [actual]}, {"k": [expected]})


def test_classes():
    class Mine(fg.Tensor):
        pass

    mine = Mine([1.0])
    assert_close(mine, fg.ones(1))
    with pytest.raises(TypeError, match="No comparison pair"):
        assert_close(mine, fg.ones(1), allow_subclasses=False)
    with pytest.raises(ValueError, match="negative"):
        assert_close(1.0, 1.0, rtol=-1, atol=0)


def test_without_torch_too():
    assert_close({"a": [fg.ones(3), 1.0]}, {"a": (fg.ones(3), 1.0 + 1e-9)})
    with pytest.raises(AssertionError) as raised:
        assert_close(fg.zeros(2, 3), fg.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 2.0]]))
    assert str(raised.value) == (
        "Tensor-likes are not close!\n\nMismatched elements: 2 / 6 (33.3%)\n"
        "Greatest absolute difference: 2.0 at index (1, 2) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 1.0 at index (1, 1) (up to 1.3e-06 allowed)"
    )


@pytest.mark.parametrize(
    ("actual", "expected", "options", "text"),
    [
        ([1.0], [1.0, 2.0], dict(msg="mine"), "The length of the sequences mismatch: 1 != 2"),
        ({"a": 1}, {"b": 1}, dict(msg=str.upper), "The keys of the mappings do not match:"),
        (None, 1, dict(msg="mine"), "mine"),
        (1, 1.0, dict(msg="mine"), "mine"),
    ],
)
def test_a_message_is_about_values_of_one_structure(actual, expected, options, text):
    with pytest.raises(AssertionError) as raised:
        assert_close(actual, expected, **options)
    assert str(raised.value).startswith(text)


def test_tolerances_are_looked_at_where_they_count():
    for options in (dict(rtol=0.1), dict(atol=-1.0, rtol=-1.0)):
        assert_close([None, []], [None, []], **options)
        with pytest.raises(ValueError, match="must"):
            assert_close([1.0], [1.0], **options)
        with pytest.raises(ValueError, match="must"):
            assert_close(fg.ones(1), fg.ones(1), **options)


def test_the_older_form():
    with pytest.warns(FutureWarning):
        assert_allclose(fg.ones(2), [1.0, 1.0])
    with pytest.warns(FutureWarning), pytest.raises(AssertionError, match="50.0%"):
        assert_allclose(fg.ones(2).double(), fg.tensor([1.0, 2.0]))
    with pytest.warns(FutureWarning):
        assert_allclose(fg.tensor([nan]), fg.tensor([nan]))


def test_close_elements():
    a, b = fg.tensor([1.0, 1.0, inf, -inf, nan]), fg.tensor([1.0 + 1e-7, inf, inf, inf, nan])
    assert fg.isclose(a, b).tolist() == [True, False, True, False, False]
    assert fg.isclose(a, b, equal_nan=True).tolist() == [True, False, True, False, True]


def described(lib, make_tensor, *shape, dtype, **options):
    """All of a random tensor but its numbers; or the error's type and message."""
    try:
        t = make_tensor(*shape, dtype=getattr(lib, dtype), device="cpu", **options)
    except (ValueError, TypeError) as error:
        return type(error), str(error)
    return tuple(t.shape), str(t.dtype), t.requires_grad, t.stride(), t.is_contiguous()


MADE = [
    ((3,), dict(dtype="float32")),
    (((2, 3),), dict(dtype="float64", low=-1, high=1)),
    ((2, 3), dict(dtype="float32", noncontiguous=True)),
    (((),), dict(dtype="float32")),
    ((0,), dict(dtype="float32", noncontiguous=True)),
    ((1,), dict(dtype="int64", noncontiguous=True)),
    ((4,), dict(dtype="float32", low=0, requires_grad=True)),
    ((3,), dict(dtype="int64", requires_grad=True)),
    ((3,), dict(dtype="float32", low=2, high=1)),
    ((3,), dict(dtype="int64", low=3, high=3)),
    ((3,), dict(dtype="float32", low=nan)),
    ((3,), dict(dtype="float32", high=-9.5)),
    ((3,), dict(dtype="float32", low=1e39)),
]


@pytest.mark.parametrize("shape, options", MADE)
def test_random_tensors_look_like_torchs(shape, options):
    torch = pytest.importorskip("torch")
    assert described(fg, make_tensor, *shape, **options) == described(torch, torch.testing.make_tensor, *shape, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_floats_are_torchs(dtype):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    fg.manual_seed(3)
    expected = torch.testing.make_tensor(50, dtype=getattr(torch, dtype), device="cpu", low=-2.3, high=0.7)
    found = make_tensor(50, dtype=getattr(fg, dtype), low=-2.3, high=0.7)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6 if dtype == "float32" else 1e-15, atol=3e-7 if dtype == "float32" else 1e-15)


@pytest.mark.parametrize("dtype, low, high", [("int64", -9, 9), ("int32", -9, 9), ("uint8", 0, 9), ("bool", 0, 1)])
def test_random_integers_fill_their_range(dtype, low, high):
    values = make_tensor(2000, dtype=getattr(fg, dtype)).long()
    assert (values.min().item(), values.max().item()) == (low, high)
    assert make_tensor(50, dtype=fg.int64, low=2, high=3).unbind() and set(make_tensor(50, dtype=fg.int64, low=2, high=3).tolist()) == {2}
    assert 0 not in make_tensor(500, dtype=fg.int64, low=0, high=2, exclude_zero=True).tolist()


def test_random_floats_of_the_whole_range():
    t = make_tensor(1000, dtype=fg.float32, low=-inf, high=inf)
    assert bool((t.abs() < inf).all()) and t.abs().max().item() > 1e38 and -0.2 < (t > 0).double().mean().item() - 0.5 < 0.2
    assert make_tensor(3, dtype=fg.float32, low=1, high=1).tolist() == [1.0, 1.0, 1.0]
    assert make_tensor(5, dtype=fg.float64, low=0, high=0, exclude_zero=True).min().item() == 2.0**-1022
    with pytest.raises(TypeError, match="'x' is not supported"):
        make_tensor(3, dtype="x")


@pytest.mark.parametrize("name", ["_comparison", "_creation"])
def test_docstrings_run(name):
    found = doctest.testmod(importlib.import_module(f"ferrograd.testing.{name}"))
    assert found.failed == 0 and found.attempted > 0
