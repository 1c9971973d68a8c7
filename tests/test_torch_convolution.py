"""Convolutions and their transposes against torch: values, dtypes, gradients to second order, forward mode, maps, errors."""

import itertools

import numpy as np
import pytest
from comparison import array, compare, torch

import ferrograd as fg

FORWARD = {1: "conv1d", 2: "conv2d", 3: "conv3d"}
TRANSPOSED = {1: "conv_transpose1d", 2: "conv_transpose2d", 3: "conv_transpose3d"}
#: Sizes of the input in each dimension, and of the kernel.
SIZES = {1: ((11,), (3,)), 2: ((9, 8), (3, 2)), 3: ((5, 6, 7), (2, 3, 3))}
OPTIONS = [
    {}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": 3, "padding": 2}, {"stride": 2, "dilation": 2, "padding": 1},
    {"padding": 4}, {"stride": 4},
]


def conv(name, **options):
    return lambda T, x, w, b=None: getattr(T, name)(x, w, b, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_forward(spatial, groups, options):
    size, kernel = SIZES[spatial]
    x, w, b = array((2, 4, *size)), array((8, 4 // groups, *kernel), seed=1), array((8,), seed=2)
    compare(conv(FORWARD[spatial], groups=groups, **options), x, w, b, scale=10)


@pytest.mark.parametrize("options", OPTIONS + [{"stride": 2, "output_padding": 1}, {"dilation": 3, "output_padding": 2}], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_transposed(spatial, groups, options):
    size, kernel = SIZES[spatial]
    x, w, b = array((2, 4, *size)), array((4, 3, *kernel), seed=1), array((3 * groups,), seed=2)
    compare(conv(TRANSPOSED[spatial], groups=groups, **options), x, w, b, scale=10)


def test_options_of_each_dimension():
    x, w = array((2, 3, 9, 10)), array((4, 3, 3, 2), seed=1)
    for options in [
        {"stride": (2, 1), "padding": [0, 2]}, {"dilation": (1, 3)}, {"padding": "same"}, {"padding": "same", "dilation": (2, 3)}, {"padding": "valid"},
        {"stride": (1,)}, {"stride": (3, 4), "padding": (2, 1), "dilation": (2, 1)},
    ]:
        compare(conv("conv2d", **options), x, w, scale=10)
    for length in (1, 2, 3, 4, 5):
        compare(conv("conv1d", padding="same", dilation=2), array((2, 3, 9)), array((2, 3, length)), scale=10)


def test_without_images():
    for spatial in (1, 2, 3):
        size, kernel = SIZES[spatial]
        compare(conv(FORWARD[spatial]), array((4, *size)), array((2, 4, *kernel)), array((2,)), scale=10)
        compare(conv(TRANSPOSED[spatial]), array((4, *size)), array((4, 2, *kernel)), array((2,)), scale=10)


def test_large():
    """Sizes that are cut into blocks of results, of rows and of depth, and patches as far apart as they are large."""
    for x, w, options in [
        ((3, 70, 7, 7), (130, 70, 3, 3), {"padding": 1}), ((1, 3, 50, 300), (7, 3, 3, 3), {"padding": 1}), ((2, 4, 700), (5, 4, 9), {"padding": 4}),
        ((2, 3, 32, 32), (20, 3, 8, 8), {"stride": 8}), ((2, 40, 12, 12), (80, 1, 3, 3), {"groups": 40, "padding": 1}), ((2, 80, 14, 14), (100, 80, 1, 1), {}),
        ((2, 20, 15, 15), (30, 20, 1, 1), {"stride": 2}), ((2, 8, 6, 6, 6), (8, 8, 3, 3, 3), {"padding": 1, "stride": 2}),
    ]:
        for dtype in ("float64", "float32"):
            compare(conv(FORWARD[len(x) - 2], **options), array(x, dtype), array(w, dtype, 1), scale=100, second=False)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", "float16", "bfloat16", "float32"])
def test_dtypes(dtype):
    def of(T, x, w, name):
        return getattr(T, name)(x.to(getattr(T, dtype)), w.to(getattr(T, dtype)))

    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose2d"):
        spatial = 2 if name == "conv_transpose2d" else int(name[4])
        x, w = array((1, 2, *[5] * spatial), "int64"), array((2, 2, *[3] * spatial), "int64", 1)
        compare(lambda T, x, w: of(T, x, w, name), x, w, names=False)
    if dtype.endswith(("16", "32")) and "int" not in dtype:
        # Every gradient was rounded to the narrow dtype.
        scale = 10 if dtype == "float32" else 1e3
        compare(lambda T, x, w: of(T, x, w, "conv2d"), array((1, 2, 5, 5), "float32"), array((3, 2, 2, 2), "float32"), names=False, second=False, scale=scale)


def test_other_layouts():
    x, w = array((2, 9, 8, 3)), array((3, 2, 3, 4))
    compare(lambda T, x, w: T.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 0, 2, 1)[:, :3]), x, array((3, 2, 3, 4)), scale=10)
    compare(lambda T, x, w: T.conv2d(x.permute(0, 3, 1, 2)[:, :, ::2], w.flip(3)), x, array((4, 3, 3, 2)), scale=10)
    compare(lambda T, x, w: T.conv2d(x[:, :1].expand(2, 3, 8, 3), w[:2].permute(0, 1, 3, 2)), x, w[:, :, :3].repeat(3, 1)[:, :3], scale=10)


EMPTY = [
    ((0, 4, 6, 6), (6, 4, 3, 3), {}), ((2, 0, 6, 6), (6, 4, 3, 3), {}), ((2, 4, 6, 6), (0, 4, 3, 3), {}),
    ((2, 4, 0, 6), (2, 4, 3, 3), {"padding": 2}), ((2, 4, 6, 6), (2, 4, 0, 3), {}), ((2, 4, 2, 6), (2, 4, 3, 3), {}),
]
WRONG = [
    {"stride": 0}, {"stride": -1}, {"padding": -1}, {"dilation": 0}, {"groups": 0}, {"groups": 3}, {"groups": 2}, {"stride": (1, 2, 3)}, {"stride": ()},
    {"padding": "other"}, {"padding": "same", "stride": 2}, {"padding": (1, 2, 3)}, {"padding": 1.5}, {"padding": True}, {"stride": 2**62}, {"padding": 2**62},
    {"dilation": 2**62}, {"padding": 2**40},
]


def test_empty():
    for x, w, options in EMPTY:
        compare(conv("conv2d", **options), np.ones(x), np.ones(w))
    for x, w in [((0, 4, 3), (4, 2, 2)), ((2, 4, 0), (4, 2, 2)), ((2, 4, 3), (4, 2, 0)), ((2, 4, 1), (2, 2, 1))]:
        compare(conv("conv_transpose1d"), np.ones(x), np.ones(w))
    # torch gives no channels here.
    assert fg.conv2d(fg.ones(2, 0, 6, 6), fg.ones(6, 0, 3, 3), fg.ones(6)).tolist() == fg.ones(2, 6, 4, 4).tolist()
    compare(conv("conv_transpose1d", padding=3), np.ones((2, 4, 3)), np.ones((4, 2, 3)))


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_wrong_options(options):
    with pytest.raises((RuntimeError, TypeError, MemoryError)):
        fg.conv2d(fg.ones(2, 4, 6, 6), fg.ones(6, 4, 3, 3), **options)
    if not any(isinstance(v, int) and abs(v) >= 2**40 for v in options.values()):
        compare(conv("conv2d", **options), np.ones((2, 4, 6, 6)), np.ones((6, 4, 3, 3)))


def test_wrong_shapes():
    for x, w, b in [
        ((4, 6), (2, 4, 3, 3), None), ((2, 4, 6, 6, 6), (2, 4, 3, 3), None), ((2, 4, 6, 6), (2, 4, 3), None), ((2, 4, 6, 6), (2, 3, 3, 3), None),
        ((2, 4, 6, 6), (2, 4, 3, 3), (3,)), ((2, 4, 6, 6), (2, 4, 3, 3), (2, 1)),
    ]:
        arrays = [np.ones(s) for s in (x, w, b) if s is not None]
        compare(conv("conv2d"), *arrays)
    compare(lambda T, x, w: T.conv2d(x, w.to(T.float32)), np.ones((1, 2, 4, 4)), np.ones((1, 2, 2, 2)))
    compare(lambda T, x, w: T.conv2d(x, w, w[:, 0, 0, 0].to(T.float32)), np.ones((1, 2, 4, 4)), np.ones((1, 2, 2, 2)))
    for options in [{"output_padding": 1}, {"output_padding": -1}, {"padding": "same"}, {"groups": 3}, {"stride": 2, "output_padding": 2}, {"padding": 9}]:
        compare(conv("conv_transpose2d", **options), np.ones((2, 4, 6, 6)), np.ones((4, 6, 3, 3)))


def test_other_names():
    x, w, b = array((2, 4, 9)), array((6, 4, 3), seed=1), array((6,), seed=2)
    compare(lambda T, x, w, b: T.convolution(x, w, b, [2], [1], [1], False, [0], 1), x, w, b, scale=10)
    compare(lambda T, x, w: T.convolution(x, w, None, [2, 1], [1, 0], [1, 1], True, [1, 0], 2), array((2, 4, 5, 5)), array((4, 3, 2, 3)), scale=10)
    compare(lambda T, x, w, b: T.conv_tbc(x, w, b, 1), array((7, 2, 4)), array((3, 4, 6)), b, scale=10, names=False)
    compare(lambda T, x: T.convolution(x, x, None, [], [], [], False, [], 1), array((2, 3)))


def test_derivatives():
    x = fg.tensor(array((2, 2, 5, 4)), requires_grad=True)
    w = fg.tensor(array((4, 1, 3, 2)), requires_grad=True)
    b = fg.tensor(array((4,)), requires_grad=True)
    v = fg.tensor(array((2, 2, 2, 3)), requires_grad=True)
    for f, inputs in [
        (lambda x, w, b: fg.conv2d(x, w, b, stride=2, padding=1, groups=2), (x, w, b)),
        (lambda x, v: fg.conv_transpose2d(x, v, stride=2, padding=1, output_padding=1, dilation=(1, 2)), (x, v)),
    ]:
        assert fg.autograd.gradcheck(f, inputs, check_forward_ad=True)
        assert fg.autograd.gradgradcheck(f, inputs)


@pytest.mark.parametrize("dims", list(itertools.product([0, None], [0, None], [0, None]))[:-1], ids=str)
def test_maps(dims):
    """One convolution of a batch for every example, whichever operands are batches."""
    shapes = [(2, 4, 7, 6), (6, 2, 3, 2), (6,)]
    arrays = [array((3, *s) if d == 0 else s, seed=n) for n, (s, d) in enumerate(zip(shapes, dims))]
    tensors = [fg.tensor(a, requires_grad=True) for a in arrays]

    def example(x, w, b):
        return fg.conv2d(x, w, b, stride=2, padding=1, groups=2)

    def loss(x, w, b):
        return (example(x, w, b) ** 2).sum()

    ours = fg.func.vmap(example, in_dims=dims)(*tensors)
    each = [example(*[t[i] if d == 0 else t for t, d in zip(tensors, dims)]) for i in range(3)]
    np.testing.assert_allclose(ours.detach().numpy(), fg.stack(each).detach().numpy(), rtol=1e-12, atol=1e-12)
    found = fg.func.vmap(fg.func.grad(loss, argnums=(0, 1, 2)), in_dims=dims)(*[t.detach() for t in tensors])
    for i in range(3):
        parts = [(t[i] if d == 0 else t).detach().requires_grad_() for t, d in zip(tensors, dims)]
        expected = fg.autograd.grad(loss(*parts), parts)
        for f, e in zip(found, expected):
            np.testing.assert_allclose(f[i].numpy(), e.numpy(), rtol=1e-11, atol=1e-11)


def test_transposed_maps():
    x, w = fg.tensor(array((3, 2, 4, 5))), fg.tensor(array((3, 4, 3, 3)))
    ours = fg.func.vmap(lambda x, w: fg.conv_transpose1d(x, w, stride=2))(x, w)
    np.testing.assert_allclose(ours.numpy(), np.stack([fg.conv_transpose1d(x[i], w[i], stride=2).numpy() for i in range(3)]), rtol=1e-12)
    assert torch is not None


def test_bits_do_not_depend_on_threads():
    x, w = fg.tensor(array((3, 30, 20, 20), "float32"), requires_grad=True), fg.tensor(array((40, 15, 3, 3), "float32"), requires_grad=True)
    found = []
    threads = fg.get_num_threads()
    for n in (1, 2, 3, 7):
        fg.set_num_threads(n)
        y = fg.conv2d(x, w, padding=1, groups=2)
        found.append([t.detach().numpy().tobytes() for t in (y, *fg.autograd.grad(y, (x, w), y.detach()))])
    fg.set_num_threads(threads)
    assert all(f == found[0] for f in found)


def test_infinities_stay_where_they_are():
    """What is laid out between rows takes part in no sum."""
    for place in [(0, 0), (0, 5), (5, 0), (3, 5), (5, 5)]:
        x = array((1, 2, 6, 6))
        x[0, 1][place] = np.inf
        compare(conv("conv2d"), x, array((3, 2, 3, 2)), second=False, scale=10)
        compare(conv("conv2d", stride=2), x, array((3, 2, 3, 2)), second=False, scale=10)
    for place in [(0, 0), (0, 0, 0)]:
        # Narrow planes are summed whole where all is finite.
        x = array((2, 2, *[7] * len(place)))
        x[(1, 1, *place)] = np.nan
        compare(conv(FORWARD[len(place)], padding=1), x, array((3, 2, *[3] * len(place))), second=False, scale=10)
