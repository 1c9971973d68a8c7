"""Texts equal to torch's, to the character, of tensors drawn at random under print options drawn at random."""

import math

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

SIZES = [0, 1, 1, 2, 3, 4, 5, 7, 9]
LARGE_SIZES = [1, 3, 6, 7, 8, 11, 40, 120, 600, 1001]
LIMITS = {"uint8": (0, 255), "int32": (-(2**31), 2**31 - 1), "int64": (-(2**62), 2**62)}
CHOICES = {
    "precision": range(9),
    "threshold": [0, 1, 5, 20, 1000, math.inf],
    "edgeitems": [0, 1, 2, 3, 5],
    "linewidth": [1, 10, 20, 40, 80, 120],
    "profile": ["default", "short", "full"],
    "sci_mode": [True, False],
}
#: What float numbers are made of standard normal ones: of any size, whole, wide apart, equal to zero, rounded.
KINDS = [
    lambda x, rng: x,
    lambda x, rng: np.round(x),
    lambda x, rng: x * 10.0 ** rng.integers(-5, 5, size=x.shape),
    lambda x, rng: x * 0,
    lambda x, rng: rng.integers(-3, 4, size=x.shape).astype(float),
    lambda x, rng: np.round(x, 2),
]


def draw_shape(rng) -> tuple:
    large = rng.random() < 0.1
    shape = tuple(int(rng.choice(LARGE_SIZES if large else SIZES)) for _ in range(rng.integers(0, 4 if large else 6)))
    return shape if math.prod(shape) <= 30_000 else shape[:1]


def draw_array(rng) -> np.ndarray:
    dtype = str(rng.choice(["bool", "uint8", "int32", "int64", "float32", "float64"]))
    numbers = rng.normal(size=draw_shape(rng)) * 10.0 ** rng.integers(-8, 12)
    numbers = np.asarray(KINDS[rng.integers(len(KINDS))](np.asarray(numbers), rng))
    if dtype == "bool":
        return np.asarray(numbers > 0)
    if dtype in LIMITS:
        return np.asarray(np.clip(numbers, *LIMITS[dtype]).astype(dtype))
    if rng.random() < 0.4:
        part = rng.random(numbers.shape)
        for limit, special in ((0.5, -0.0), (0.4, -np.inf), (0.3, np.inf), (0.2, np.nan)):
            numbers = np.where(part < limit, special, numbers)
    with np.errstate(over="ignore"):
        return np.asarray(numbers.astype(dtype))


def draw_view(rng) -> list:
    """The same steps for both libraries: views, and what stands in the graph."""
    steps = []
    if rng.random() < 0.3:
        steps.append(lambda t: t.transpose(0, 1) if t.ndim > 1 else t)
    if rng.random() < 0.2:
        steps.append(lambda t: t[..., ::2] if t.ndim > 0 else t)
    kind = rng.integers(4)
    if kind <= 1:
        steps.append(lambda t: t.detach().requires_grad_() if t.is_floating_point() else t)
    if kind == 0:
        steps.append(lambda t: t * 1 if t.is_floating_point() else t)
    return steps


@pytest.fixture(autouse=True)
def default_options():
    yield
    for library in (fg, torch):
        library.set_printoptions(profile="default")


@pytest.mark.parametrize("seed", range(8))
def test_texts_are_torchs(seed):
    rng = np.random.default_rng(seed)
    for _ in range(150):
        options = {n: values[rng.integers(len(values))] for n, values in CHOICES.items() if rng.random() < 0.2}
        array, steps, texts = draw_array(rng), draw_view(rng), []
        for library in (fg, torch):
            library.set_printoptions(profile="default")
            library.set_printoptions(**options)
            tensor = library.tensor(array)
            for step in steps:
                tensor = step(tensor)
            texts.append(repr(tensor))
        assert texts[0] == texts[1], f"{options} {array.dtype} {array.shape}"


@pytest.mark.parametrize("default", ["float32", "float64"])
def test_texts_under_another_default_dtype(default):
    arrays = [np.zeros(2), np.zeros(2, "float32"), np.zeros(0), np.zeros((0, 2), "float32"), np.zeros(0, "int64"), np.arange(2)]
    texts = []
    for library in (fg, torch):
        library.set_default_dtype(getattr(library, default))
        try:
            texts.append([repr(library.tensor(array)) for array in arrays])
        finally:
            library.set_default_dtype(library.float32)
    assert texts[0] == texts[1]


def test_options_are_torchs():
    for options in ({}, {"precision": 7}, {"profile": "full"}, {"profile": "short", "edgeitems": 9}, {"sci_mode": True}):
        found = []
        for library in (fg, torch):
            library.set_printoptions(profile="default")
            with library._tensor_str.printoptions(**options):
                found.append(library._tensor_str.get_printoptions())
            found.append(library._tensor_str.get_printoptions())
        assert found[:2] == found[2:]
