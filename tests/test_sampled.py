"""Sampled functions, histograms, windows and images of bytes: known numbers, and torch's where it is installed."""

import functools
import importlib
import itertools

import numpy as np
import pytest
from known import in_all

import ferrograd as fg
from ferrograd.signal import windows

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="compares with torch")


def close(ours, theirs, rtol=1e-6):
    assert tuple(ours.shape) == tuple(theirs.shape) and repr(ours.dtype) == repr(theirs.dtype)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=rtol)


def test_gradient_of_a_parabola():
    x = fg.tensor([0.0, 1.0, 3.0, 4.0, 8.0], dtype=fg.float64)
    (slope,) = fg.gradient(x * x, spacing=(x,), edge_order=2)
    assert slope.tolist() == (2 * x).tolist()
    (slope,) = fg.gradient(x * x, spacing=(x,))
    assert slope.tolist() == [1.0, 2.0, 6.0, 8.0, 12.0]
    assert [g.tolist() for g in fg.gradient(fg.arange(6).reshape(2, 3), spacing=0.5)] == [[[6.0] * 3] * 2, [[2.0] * 3] * 2]


def test_gradient_is_differentiable():
    y = fg.tensor([1.0, 2.0, 4.0], dtype=fg.float64, requires_grad=True)
    fg.gradient(y, spacing=2.0)[0].sum().backward()
    assert y.grad.tolist() == [-0.75, 0.0, 0.75]


@pytest.mark.parametrize("call", [
    lambda: fg.gradient(fg.ones(3), edge_order=3), lambda: fg.gradient(fg.ones(1)), lambda: fg.gradient(fg.ones(2), edge_order=2),
    lambda: fg.gradient(fg.ones(3, 3), dim=(0, -2)), lambda: fg.gradient(fg.ones(3, 3), spacing=(1.0,)),
    lambda: fg.gradient(fg.ones(3, dtype=fg.uint8)), lambda: fg.gradient(fg.ones(3), spacing=(fg.ones(2),)),
    lambda: fg.gradient(fg.ones(3), spacing=(fg.ones(3, 1),)),
])  # fmt: skip
def test_gradient_refuses(call):
    with pytest.raises(RuntimeError, match="gradient"):
        call()


def test_gradient_refuses_other_dimensions_and_objects():
    with pytest.raises(IndexError, match="out of range"):
        fg.gradient(fg.ones(3), dim=1)
    with pytest.raises(TypeError, match="Tensor"):
        fg.gradient([1.0])


@needs_torch
@pytest.mark.parametrize("order", [1, 2])
def test_gradient_is_torchs(order):
    values = np.random.default_rng(0).normal(size=(4, 5))
    places = [np.array([0.0, 0.5, 2.0, 2.5]), np.array([1.0, 2.0, 4.0, 4.5, 9.0])]
    for spacing, dim in [(None, None), (0.5, 1), ([2.0, 3.0], None), (places, None), (places[::-1], (1, 0)), (None, (-1,)), (None, ())]:
        asked = lambda T: spacing and [T.tensor(s) if isinstance(s, np.ndarray) else s for s in spacing] if isinstance(spacing, list) else spacing  # noqa: E731
        named = {key: value for key, value in (("dim", dim),) if value is not None}
        ours, theirs = (
            T.gradient(T.tensor(values), edge_order=order, **named, **({} if spacing is None else {"spacing": asked(T)}))
            for T in (fg, torch)
        )
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs):
            close(our, their, 1e-12)


def test_histogramdd_counts_boxes():
    points = fg.tensor([[0.0, 0.0], [1.0, 5.0], [2.0, 5.0], [2.0, 10.0], [9.0, 1.0]])
    edges = (fg.tensor([0.0, 1.0, 2.0]), fg.tensor([0.0, 5.0, 10.0]))
    found = fg.histogramdd(points, edges)
    assert found.hist.tolist() == [[1.0, 0.0], [0.0, 3.0]] and found.bin_edges[1].tolist() == [0.0, 5.0, 10.0]
    weighted = fg.histogramdd(points, edges, weight=fg.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), density=True).hist
    assert weighted.tolist() == [[pytest.approx(0.02), 0.0], [0.0, pytest.approx(0.18)]]


@needs_torch
def test_histogramdd_is_torchs():
    values = np.random.default_rng(1).normal(size=(3, 7, 2)).astype("float32")
    for bins, named in [(3, {}), ([2, 4], {"density": True}), ([4, 2], {"range": [-1.0, 1.0, -2.0, 0.5]})]:
        ours, theirs = (T.histogramdd(T.tensor(values), bins, **named) for T in (fg, torch))
        close(ours.hist, theirs.hist)
        for our, their in zip(ours.bin_edges, theirs.bin_edges, strict=True):
            close(our, their)


def test_histogramdd_refuses():
    for call in [
        lambda: fg.histogramdd(fg.ones(3), 2), lambda: fg.histogramdd(fg.ones(3, 2), [1, 2, 3]),
        lambda: fg.histogramdd(fg.ones(3, 2), 2, range=[0.0, 1.0]), lambda: fg.histogramdd(fg.ones(3, 2), 2, weight=fg.ones(2)),
    ]:  # fmt: skip
        with pytest.raises(RuntimeError, match="histogramdd"):
            call()
    with pytest.raises(NotImplementedError, match="int64"):
        fg.histogramdd(fg.ones(3, 2, dtype=fg.int64), 2)


def test_a_histogram_of_nothing_lies_between_zero_and_one():
    found = fg.histogram(fg.zeros(0), 2)
    assert found.hist.tolist() == [0.0, 0.0] and found.bin_edges.tolist() == [0.0, 0.5, 1.0]


def test_periodic_windows_are_one_short():
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        window = getattr(fg, f"{name}_window")
        assert window(6).tolist() == window(7, periodic=False)[:6].tolist()
        assert window(0).tolist() == [] and window(1).tolist() == [1.0] and window(3, dtype=fg.float64).dtype == fg.float64
        with pytest.raises(RuntimeError, match="non-negative"):
            window(-1)
        with pytest.raises(RuntimeError, match="floating"):
            window(3, dtype=fg.int64)


@needs_torch
def test_windows_are_torchs():
    for name, n, periodic in itertools.product(("hann", "hamming", "blackman", "bartlett", "kaiser"), (2, 5, 8), (True, False)):
        ours, theirs = (getattr(T, f"{name}_window")(n, periodic, dtype=T.float64) for T in (fg, torch))
        close(ours, theirs, 1e-6 if name == "kaiser" else 1e-12)
    import torch.signal.windows as theirs

    extra = {"general_cosine": {"a": [0.4, 0.3, 0.3]}, "exponential": {"tau": 2.0}, "gaussian": {"std": 1.5}, "kaiser": {"beta": 3.0}}
    for name, n, sym in itertools.product(windows.__all__, (0, 1, 2, 5, 8), (True, False)):
        named = extra.get(name, {})
        found = getattr(windows, name)(n, sym=sym, dtype=fg.float64, **named)
        close(found, getattr(theirs, name)(n, sym=sym, dtype=torch.float64, **named), 1e-7)


def test_windows_refuse():
    for call in [
        lambda: windows.hann(-1), lambda: windows.hann(3, dtype=fg.int64), lambda: windows.exponential(3, tau=0),
        lambda: windows.exponential(3, center=1.0), lambda: windows.gaussian(3, std=-1), lambda: windows.general_cosine(3, a=[]),
        lambda: windows.kaiser(3, beta=-1.0),
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError):
        windows.general_cosine(3, a=0.5)
    assert windows.hann(3, requires_grad=True).requires_grad


def test_images_of_bytes():
    x = fg.tensor([[[[0, 255], [100, 50]]]], dtype=fg.uint8)
    found = fg.nn.functional.interpolate(x, (3, 4), mode="bilinear")
    assert found.dtype == fg.uint8 and found[0, 0].tolist() == [[0, 64, 191, 255], [50, 76, 127, 153], [100, 88, 63, 50]]
    with pytest.raises(NotImplementedError):
        fg.nn.functional.interpolate(x[0], 3, mode="linear")


@needs_torch
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_images_of_bytes_are_torchs(mode):
    pixels = np.random.default_rng(2).integers(0, 256, size=(2, 3, 9, 7)).astype("uint8")
    for size, corners, antialias in itertools.product([(4, 5), (9, 11), (17, 3), (3, 2)], (True, False), (True, False)):
        ours, theirs = (
            T.nn.functional.interpolate(T.tensor(pixels), size, mode=mode, align_corners=corners, antialias=antialias) for T in (fg, torch)
        )
        assert ours.tolist() == theirs.tolist(), (size, corners, antialias)


def test_results_are_written_into_their_own_dtype():
    wide = fg.empty(2, 2, dtype=fg.float64)
    x = fg.ones(2, 2)
    for call in [
        lambda: fg.mm(x, x, out=wide), lambda: fg.gather(x, 0, fg.zeros(2, 2, dtype=fg.int64), out=wide), lambda: fg.tril(x, out=wide),
        lambda: fg.aminmax(x, out=(wide, wide)), lambda: fg.multinomial(x, 1, out=fg.empty(2, 1)), lambda: fg.amax(x, 0, out=fg.empty(2, dtype=fg.float64)),
        lambda: fg.where(x > 0, x, x, out=wide), lambda: fg.zeros(2, 2, dtype=fg.float32, out=wide),
    ]:  # fmt: skip
        with pytest.raises(RuntimeError, match="Expected out tensor to have dtype"):
            call()
    # What computes in a dtype casts its results.
    for call in [lambda: fg.exp(x, out=wide), lambda: fg.add(x, x, out=wide), lambda: fg.mean(x, 0, out=fg.empty(2, dtype=fg.float64)), lambda: fg.cat([x], out=wide)]:
        assert call().dtype == fg.float64


def test_ends_of_a_space_may_be_tensors_without_dimensions():
    assert fg.linspace(fg.tensor(1), fg.tensor(2.0), 3).tolist() == [1.0, 1.5, 2.0]
    assert fg.logspace(fg.tensor(0.0), 1, 2).tolist() == [1.0, 10.0]
    for call in (fg.linspace, fg.logspace):
        with pytest.raises(RuntimeError, match="without dimensions"):
            call(fg.ones(1), 2, 3)


def test_integers_are_summed_in_int64():
    a, b = fg.full((1, 2, 3), 100, dtype=fg.uint8), fg.ones(3, dtype=fg.uint8)
    found = fg.einsum("...ik,...j->ij", a, b)
    assert found.dtype == fg.int64 and found.tolist() == [[300] * 3] * 2
    assert fg.einsum("ij,j->i", a[0], b).dtype == fg.uint8
    assert fg.tensordot(fg.ones(1, 1, 1, dtype=fg.uint8), fg.ones(2, 1, 2, dtype=fg.uint8), ([0, 1], [2, 0])).dtype == fg.uint8


def test_local_response_norm_of_integers():
    x = fg.tensor([[[3], [4], [5]]])
    found = fg.nn.functional.local_response_norm(x, 2, alpha=1.0, beta=1.0, k=0.0)
    np.testing.assert_allclose(found.numpy().ravel(), [3 / 4, 4 / 12, 5 / 20], rtol=1e-6)


def test_the_grid_has_a_gradient_of_nearest_elements():
    grid = fg.zeros(1, 1, 1, 2, requires_grad=True)
    fg.nn.functional.grid_sample(fg.ones(1, 1, 2, 2), grid, mode="nearest", align_corners=True).sum().backward()
    assert grid.grad.tolist() == [[[[0.0, 0.0]]]]


def test_a_place_that_is_filled_twice_has_one_tangent():
    from ferrograd.autograd import forward_ad

    with forward_ad.dual_level():
        value = forward_ad.make_dual(fg.tensor(2.0), fg.tensor(3.0))
        filled = fg.zeros(3).index_fill(0, fg.tensor([1, 1]), value)
        assert forward_ad.unpack_dual(filled).tangent.tolist() == [0.0, 3.0, 0.0]


def test_samples_of_windows_may_be_negative():
    x = fg.arange(16.0).reshape(1, 1, 4, 4)
    samples = fg.tensor([[[-3.5, -0.5]]])
    found = fg.nn.functional.fractional_max_pool2d(x, 1, output_size=3, _random_samples=samples)
    assert found[0, 0, -1, -1].item() == 15.0
    if torch is not None:
        theirs = torch.nn.functional.fractional_max_pool2d(torch.tensor(x.numpy()), 1, output_size=3, _random_samples=torch.tensor(samples.numpy()))
        assert found.tolist() == theirs.tolist()


def test_copies_of_views_have_memory_of_their_own():
    x = fg.arange(6.0).reshape(2, 3).requires_grad_()
    y = fg.permute_copy(x, (1, 0))
    assert y.is_contiguous() and y._base is None and y.tolist() == x.t().tolist()
    (y * y).sum().backward()
    assert x.grad.tolist() == (2 * x).tolist()
    parts = fg.split_copy(x, 2, 1)
    assert [p.shape for p in parts] == [(2, 2), (2, 1)] and all(p.is_contiguous() and p._base is None for p in parts)


@needs_torch
def test_special_functions_are_torchs():
    x = np.concatenate([np.linspace(-30, 30, 121), [1e-8, -1e-8, np.inf, -np.inf, np.nan, 0.0]])
    for name in ("i0", "i0e", "i1", "i1e", "ndtr", "log_ndtr", "erfcx", "entr"):
        # torch's are NaN where the functions are infinite.
        places = x[~np.isinf(x)] if name in ("i0", "i1") else x
        close(getattr(fg.special, name)(fg.tensor(places)), getattr(torch.special, name)(torch.tensor(places)), 1e-13)
    assert fg.i0(fg.tensor([np.inf, -np.inf])).tolist() == [np.inf, np.inf]
    assert fg.special.i1(fg.tensor([np.inf, -np.inf])).tolist() == [np.inf, -np.inf]
    a, b = (t.ravel() for t in np.meshgrid([0.0, 0.1, 1.0, 2.5, 30.0, 400.0, np.inf, -1.0], [0.0, 0.2, 1.0, 3.0, 29.0, 410.0, np.inf, -1.0]))
    for name in ("gammainc", "gammaincc"):
        close(getattr(fg.special, name)(fg.tensor(a), fg.tensor(b)), getattr(torch.special, name)(torch.tensor(a), torch.tensor(b)), 1e-9)


def test_mantissas_and_exponents():
    x = fg.tensor([[8.0, -0.75], [0.0, float("inf")]], requires_grad=True)
    mantissa, exponent = fg.frexp(x.t())
    assert mantissa.tolist() == [[0.5, 0.0], [-0.75, float("inf")]] and exponent.tolist() == [[4, 0], [0, 0]]
    assert exponent.dtype == fg.int32 and mantissa.stride() == (1, 2)
    mantissa.sum().backward()
    assert x.grad.tolist() == [[0.0625, 1.0], [1.0, 1.0]]


def test_normalisations_with_what_they_normalised_by():
    x = fg.tensor([[1.0, 3.0, 10.0, 30.0]], requires_grad=True)
    y, mean, inverse = fg.native_group_norm(x, None, None, 1, 4, 1, 2, 0.0)
    assert mean.tolist() == [[2.0, 20.0]] and inverse.tolist() == [[1.0, pytest.approx(0.1)]] and mean.requires_grad and inverse.requires_grad
    assert y.tolist() == [[-1.0, 1.0, -1.0, 1.0]] and y.requires_grad
    mean = fg.native_layer_norm(x, (4,), None, None, 1e-5)[1]
    assert mean.shape == (1, 1) and not mean.requires_grad
    assert [t.shape for t in fg.native_batch_norm(x, None, None, fg.zeros(4), fg.ones(4), False, 0.1, 1e-5)] == [(1, 4), (0,), (0,)]


#: Edges in no order, some of which are no numbers, and how many of `NUMBERS` fall between them.
UNORDERED = [
    ([3.0, 1.0, 2.0], [0.0, 0.0]), ([1.0, 3.0, 2.0, 5.0], [2.0, 0.0, 5.0]), ([0.0, 5.0, 0.0], [1.0, 0.0]),
    ([2.0, 7.0, 1.0, 8.0, 2.0, 8.0], [5.0, 0.0, 0.0, 0.0, 0.0]), ([1.0, 1.0, 1.0], [0.0, 1.0]),
    ([float("nan"), 1.0, 2.0], [0.0, 0.0]), ([1.0, float("nan"), 2.0], [0.0, 3.0]), ([1.0, 2.0, float("nan")], [0.0, 0.0]),
]  # fmt: skip
NUMBERS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, float("nan")]


@in_all
@pytest.mark.parametrize(("edges", "counts"), UNORDERED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_in_no_order_cut_as_the_search_among_them_ends(T, dtype, edges, counts):
    tensor = lambda numbers: T.tensor(numbers, dtype=getattr(T, dtype))  # noqa: E731
    assert T.histogram(tensor(NUMBERS), tensor(edges)).hist.tolist() == counts
    points = T.stack([tensor(NUMBERS), T.full((10,), 0.5, dtype=getattr(T, dtype))], 1)
    assert T.histogramdd(points, [tensor(edges), tensor([0.0, 1.0])]).hist[:, 0].tolist() == counts


@in_all
def test_a_single_edge_bounds_no_interval(T):
    with pytest.raises(RuntimeError, match="bins must be > 0"):
        T.histogram(T.ones(3), T.ones(1))


@in_all
def test_the_edges_of_boxes_are_those_that_were_given(T):
    edges = [T.arange(6.0)[::2], T.tensor([0.0, 1.0], requires_grad=True)]
    found = T.histogramdd(T.tensor([[1.0, 0.5], [3.0, 0.5]]), edges, density=True)
    assert found.bin_edges[0] is edges[0] and found.bin_edges[1] is edges[1]
    assert found.hist.tolist() == [[0.25], [0.25]]


@in_all
def test_boxes_have_either_numbers_of_intervals_or_edges(T):
    edges = T.tensor([0.0, 1.0])
    for bins in ([2, edges], edges, [0.5, 0.5]):
        with pytest.raises(TypeError):
            T.histogramdd(T.ones(3, 2), bins)
    with pytest.raises(RuntimeError):
        T.histogramdd(T.ones(3, 2), [edges.double(), edges])


@in_all
@pytest.mark.parametrize("name", windows.__all__)
def test_windows_are_strided_and_of_wide_floats(T, name):
    if T is not fg:
        importlib.import_module("torch.signal.windows")
    named = {"a": [0.4, 0.6]} if name == "general_cosine" else {}
    window = functools.partial(getattr(T.signal.windows, name), 3, **named)
    for dtype in ("int64", "bool", "float16", "bfloat16"):
        with pytest.raises(ValueError, match=f"expects float32 or float64 dtypes, got: torch.{dtype}"):
            window(dtype=getattr(T, dtype))
    with pytest.raises(ValueError, match="implemented for strided tensors only, got: None"):
        window(layout=None)
    assert window(layout=T.strided, dtype=T.float64, device="cpu").dtype == T.float64
