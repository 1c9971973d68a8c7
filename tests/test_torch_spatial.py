"""Padding, windows, pooling, resampling and shuffles of images against torch."""

import itertools

import numpy as np
import pytest
from comparison import array, compare, ties, torch

import ferrograd as fg


def call(name, *args, **options):
    """A function of `nn.functional` of tensors, with arguments behind them."""

    def run(T, *tensors):
        return getattr(T.nn.functional, name)(*tensors, *args, **options)

    return run


def shape(spatial, batch=True, size=(6, 7, 5)):
    return ((2, 3) if batch else (3,)) + size[:spatial]


# Padding


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_pad(spatial, batch, mode):
    for pads in [(1, 2, 2, 0, 0, 3), (0,) * 6, (-1, 2, 3, -2, -1, -1), (4, 4, 4, 4, 4, 4), (2, -2, 0, 0, 1, -3), (-2, -2, 0, 0, 0, 0)]:
        compare(call("pad", pads[: 2 * spatial], mode), array(shape(spatial, batch)), names=mode != "circular")


def test_pad_of_any_dimensions():
    x = array((3, 4, 2))
    for pads in [(1, 2), (1, 1, 2, 2), (1, 0, 0, 1, 2, 0), (), (-1, 1), (-2, -1, 1, 1), (0, 0, -4, 2), (-4, 5), (-2, 0)]:
        compare(call("pad", pads), x)
        compare(call("pad", pads, value=2.5), x)
    compare(call("pad", (1, 2), value=7), array((3,), "int64"))
    compare(call("pad", ()), array(()))
    compare(lambda T, x: T.constant_pad_nd(x, (1, 1, -1, 0), 3), x)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32"])
def test_pad_dtypes(dtype):
    for mode in ("constant", "reflect", "replicate", "circular"):
        compare(call("pad", (1, 2, 2, 1), mode), array((1, 2, 4, 4), dtype) if dtype != "float16" else array((1, 2, 4, 4)).astype("float16"))


def test_pad_errors():
    x = array((2, 3, 6, 6))
    for mode in ("constant", "reflect", "replicate", "circular"):
        for pads in [(1, 2, 3), (7, 0, 0, 0), (6, 0, 0, 0), (1, 1), (1,) * 8, (1,) * 10, (-4, -3, 0, 0), (-3, -4)]:
            compare(call("pad", pads, mode), x, names=mode != "circular")
        for empty in [(0, 2, 4, 4), (2, 0, 4, 4), (2, 2, 0, 4)]:
            compare(call("pad", (1, 1, 1, 1), mode), np.zeros(empty), names=mode != "circular")
    compare(call("pad", (1, 1), "other"), x)
    compare(call("pad", (1, 1, 1, 1), "reflect", 2.5), x)


# Windows


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}], ids=str)
def test_unfold_and_fold(options):
    for kernel in (2, (3, 2), 1):
        for batch in (True, False):
            x = array(shape(2, batch))
            compare(call("unfold", kernel, **options), x)
            columns = torch.nn.functional.unfold(torch.tensor(x), kernel, **options)
            compare(call("fold", (6, 7), kernel, **options), array(tuple(columns.shape)), scale=3)


def test_unfold_and_fold_of_others():
    for dtype in ("bool", "int64", "float16", "float32"):
        x = array((1, 2, 4, 4), "float64" if dtype == "float16" else dtype).astype(dtype)
        compare(call("unfold", 2, padding=1), x)
        compare(call("fold", (3, 3), 2), x[:, :, 0].repeat(2, 1))
    x = array((2, 4, 6, 6))
    for options in [{"kernel_size": 0}, {"kernel_size": 7}, {"kernel_size": 2, "stride": 0}, {"kernel_size": 2, "padding": -1}, {"kernel_size": 2, "dilation": 0}, {"kernel_size": (1, 2, 3)}]:
        compare(lambda T, x: T.nn.functional.unfold(x, **options), x)
    for shape in [(6, 6), (2, 0, 4, 4), (0, 2, 4, 4), (1, 2, 3, 4, 5)]:
        compare(call("unfold", 2), np.ones(shape))
    for shape, size in [((4, 9), (4, 4)), ((5, 9), (4, 4)), ((4, 8), (4, 4)), ((1, 4, 9), (4, 4)), ((1, 1, 4, 9), (4, 4)), ((4, 9), (0, 4)), ((4, 9), 4)]:
        compare(call("fold", size, 2), np.ones(shape))


# Pooling


POOLS = [{}, {"stride": 1}, {"padding": 1}, {"ceil_mode": True}, {"stride": 3, "padding": 1, "ceil_mode": True}, {"stride": 2, "padding": 1}]


@pytest.mark.parametrize("options", POOLS, ids=str)
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_average(spatial, options):
    name = f"avg_pool{spatial}d"
    for kernel, batch in itertools.product((2, 3, (4, 3, 2)[:spatial]), (True, False)):
        for more in [{}, {"count_include_pad": False}, {"divisor_override": 5}]:
            if spatial > 1 or "divisor_override" not in more:
                compare(call(name, kernel, **options, **more), array(shape(spatial, batch)), scale=3)


@pytest.mark.parametrize("options", POOLS + [{"dilation": 2}, {"dilation": 2, "padding": 1, "stride": 1}], ids=str)
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_maximum(spatial, options):
    name = f"max_pool{spatial}d"
    for kernel, batch in itertools.product((2, 3, (3, 2, 2)[:spatial]), (True, False)):
        for numbers in (array, ties):
            compare(call(name, kernel, **options), numbers(shape(spatial, batch)))
            compare(call(name, kernel, **options, return_indices=True), numbers(shape(spatial, batch)))
            compare(call(name + "_with_indices", kernel, **options), numbers(shape(spatial, batch)))


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_adaptive(spatial, kind):
    name = f"adaptive_{kind}_pool{spatial}d"
    for size, batch in itertools.product((1, 2, 3, 5, 9, (2, 1, 3)[:spatial], (1, 5, 1)[:spatial], (None, 2, None)[:spatial]), (True, False)):
        if spatial > 1 or size != (None,):
            compare(call(name, size), array(shape(spatial, batch)), scale=3)
            if kind == "max":
                compare(call(name, size, return_indices=True), ties(shape(spatial, batch)))
                compare(call(name + "_with_indices", size), array(shape(spatial, batch)))
    compare(lambda T, x: T.adaptive_avg_pool1d(x, 3) if kind == "avg" else T.adaptive_max_pool1d(x, 3), array((2, 3, 7)))


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_norms(spatial):
    for p, options in itertools.product((1, 2, 3.5), ({}, {"stride": 1}, {"ceil_mode": True})):
        compare(call(f"lp_pool{spatial}d", p, 3, **options), array(shape(spatial), low=0.5), scale=20)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_unpool(spatial):
    for kernel, stride, padding in [(2, None, 0), (3, 3, 0), (3, 2, 1), (2, 3, 0)]:
        for batch in (True, False):
            y, places = getattr(torch.nn.functional, f"max_pool{spatial}d")(torch.tensor(array(shape(spatial, batch))), 3, 3, return_indices=True)
            compare(
                lambda T, x, places: getattr(T.nn.functional, f"max_unpool{spatial}d")(x, places, kernel, stride, padding, shape(spatial)[2:]), y.numpy(), places.numpy(), second=False
            )
            compare(lambda T, x, places: getattr(T.nn.functional, f"max_unpool{spatial}d")(x, places, 3), y.numpy(), places.numpy(), second=False)
    bad = {1: (2, 3, 2), 2: (2, 3, 2, 2), 3: (2, 3, 2, 2, 2)}[spatial]
    for places in (np.full(bad, 1000), np.full(bad, -1), np.zeros(bad, "int32"), np.zeros(bad[1:], "int64")):
        compare(lambda T, x, places: getattr(T.nn.functional, f"max_unpool{spatial}d")(x, places, 2), np.ones(bad), places)


@pytest.mark.parametrize("spatial", [2, 3])
def test_fractional(spatial):
    name = f"fractional_max_pool{spatial}d"
    for batch, dtype in itertools.product((True, False), ("float64", "float32")):
        x, samples = array(shape(spatial, batch), dtype), np.random.default_rng(1).uniform(size=(2 if batch else 1, 3, spatial)).astype(dtype)
        for options in [{"output_size": 3}, {"output_size": (2, 4, 3)[:spatial]}, {"output_ratio": (0.5, 0.6, 0.7)[:spatial]}, {"output_size": 1}, {"output_size": 9}, {}]:
            for more in ({}, {"return_indices": True}):
                compare(lambda T, x, s: getattr(T.nn.functional, name)(x, 2, **options, **more, _random_samples=s.detach()), x, samples, second=False)
        compare(lambda T, x, s: getattr(T.nn.functional, name + "_with_indices")(x, 2, 3, _random_samples=s.detach()), x, samples, second=False)
    fg.manual_seed(3)
    torch.manual_seed(3)
    compare(lambda T, x: getattr(T.nn.functional, name)(x, 2, 3) * 1, array(shape(spatial), "float32"), grad=False)


def test_no_number_is_the_greatest():
    x = array((1, 2, 6, 6))
    x[0, 0, 1, 1:4] = np.nan
    x[0, 1, 2:5, 2] = np.inf
    x[0, 1, 4:, 4:] = -np.inf
    for f in [
        call("max_pool2d", 2, return_indices=True), call("max_pool2d", 3, 1, 1, return_indices=True), call("adaptive_max_pool2d", 4, return_indices=True),
        call("avg_pool2d", 3, 1, 1), call("adaptive_avg_pool2d", 4), call("interpolate", (9, 4), mode="bilinear"), call("interpolate", (9, 4)),
    ]:
        compare(f, x, second=False)
    assert np.isneginf(fg.nn.functional.max_pool1d(fg.full((1, 4), -np.inf), 2).numpy()).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "bfloat16"])
def test_pool_dtypes(dtype):
    x = array((2, 3, 6, 6), "int64")
    for f in [
        lambda F, x: F.max_pool2d(x, 2, return_indices=True), lambda F, x: F.max_pool3d(x, 2), lambda F, x: F.avg_pool2d(x, 3), lambda F, x: F.adaptive_avg_pool2d(x, 4),
        lambda F, x: F.adaptive_max_pool2d(x, 4), lambda F, x: F.adaptive_avg_pool3d(x, 2), lambda F, x: F.lp_pool2d(x, 1, 2), lambda F, x: F.max_pool1d(x[0], 2, return_indices=True),
    ]:
        run = lambda T, x: f(T.nn.functional, x.to(getattr(T, dtype)))
        try:
            run(torch, torch.tensor(x))
        except NotImplementedError:
            continue
        compare(run, x)


def test_pool_errors():
    x = np.ones((2, 3, 6, 6))
    for name in ("max_pool2d", "avg_pool2d"):
        for args in [(0,), (-1,), (2, 0), (3, 1, 2), (7,), ((2, 2, 2),), ((),), (2, (1, 2, 3)), (3, 1, -1), (2**62,), (2, 2**62), (2, ())]:
            compare(call(name, *args), x)
        for bad in [(2, 0, 6, 6), (0, 3, 6, 6), (2, 3, 0, 6), (1, 1, 1, 6, 6)]:
            compare(call(name, 2), np.ones(bad))
    compare(call("max_pool2d", 2), np.ones((6, 6)))
    compare(call("max_pool2d", 2, dilation=0), x)
    compare(call("avg_pool2d", 2, divisor_override=0), x)
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        for size in [-1, (2, 3, 4), (None, None)]:
            compare(call(name, size), x)
        for size in [0, (0, 2)]:
            compare(call(name, size), x, grad=False)
        for bad in [(6, 6), (2, 3, 0, 6), (0, 3, 6, 6), (1, 1, 1, 6, 6)]:
            compare(call(name, 2), np.ones(bad))
    with pytest.raises(RuntimeError):
        fg.nn.functional.max_pool1d(fg.ones(1, 1, 1), 2, 1, 2, 3)


# Resampling


MODES = {1: ["nearest", "nearest-exact", "linear", "area"], 2: ["nearest", "nearest-exact", "bilinear", "bicubic", "area"], 3: ["nearest", "nearest-exact", "trilinear", "area"]}


@pytest.mark.parametrize("spatial, mode", [(s, m) for s in MODES for m in MODES[s]])
def test_interpolate(spatial, mode):
    x = array(shape(spatial))
    corners = [None, True, False] if "linear" in mode or "cubic" in mode else [None]
    for corner in corners:
        for options in [
            {"size": 4}, {"size": (9, 3, 5)[:spatial]}, {"scale_factor": 2}, {"scale_factor": 0.6}, {"scale_factor": (1.7, 0.5, 1.0)[:spatial]}, {"size": 1},
            {"scale_factor": 1.3, "recompute_scale_factor": True}, {"scale_factor": 1.3, "recompute_scale_factor": False}, {"size": (6, 7, 5)[:spatial]},
        ]:
            compare(call("interpolate", **options, mode=mode, align_corners=corner), x, scale=10)
            compare(call("interpolate", **options, mode=mode, align_corners=corner), x.astype("float32"), scale=30, second=False)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialias(mode):
    for corner, options in itertools.product((None, True), [{"size": 3}, {"size": (4, 11)}, {"scale_factor": 0.4}, {"scale_factor": 1.6}, {"scale_factor": (0.3, 2.0)}]):
        compare(call("interpolate", **options, mode=mode, align_corners=corner, antialias=True), array((2, 3, 9, 8)), scale=100)


def test_interpolate_of_others():
    x = array((1, 2, 4, 5), "uint8")
    for mode in ("nearest", "nearest-exact"):
        compare(call("interpolate", (7, 3), mode=mode), x)
        compare(call("interpolate", scale_factor=3, mode=mode), x)
    for mode in MODES[2]:
        compare(call("interpolate", scale_factor=1.5, mode=mode), array((1, 2, 4, 5)).astype("float16"), second=False)
    compare(call("interpolate", 4), array((1, 2, 4, 5), "int64"))
    for x, options in [
        ((2, 3), {"size": 2}), ((1,) * 6, {"size": 2}), ((2, 3, 4), {}), ((2, 3, 4), {"size": 2, "scale_factor": 2}), ((2, 3, 4), {"size": (2, 3)}),
        ((2, 3, 4), {"scale_factor": (2, 3)}), ((2, 3, 4), {"size": 3, "mode": "bilinear"}), ((2, 3, 4, 4), {"size": 3, "mode": "linear"}),
        ((2, 3, 4), {"size": 3, "align_corners": True}), ((2, 3, 4), {"size": 3, "recompute_scale_factor": True}), ((2, 3, 4), {"size": 0}),
        ((2, 3, 4), {"size": -1}), ((2, 3, 0), {"size": 2}), ((0, 3, 4), {"size": 2}), ((2, 3, 4), {"size": 3, "mode": "other"}),
        ((2, 3, 4), {"size": 3, "mode": "linear", "antialias": True}), ((2, 3, 4), {"scale_factor": 0.1}), ((2, 3, 4, 4), {"size": 3, "antialias": True}),
    ]:
        compare(call("interpolate", **options), np.ones(x))


def test_upsample():
    x = array((2, 3, 4, 5))
    compare(call("upsample", scale_factor=2, mode="bilinear"), x, scale=5)
    compare(call("upsample", (5, 3), mode="bicubic", align_corners=True), x, scale=5)
    compare(call("upsample_nearest", scale_factor=2), x)
    compare(call("upsample_nearest", (3, 7)), x)
    compare(call("upsample_bilinear", scale_factor=2), x, scale=5)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("spatial", [2, 3])
def test_grid_sample(spatial, mode, padding):
    for corners in (True, False, None):
        grid = array((2, *(3, 4, 2)[:spatial], spatial), low=-1.7, high=1.7)
        for size in [(6, 7, 5), (1, 3, 2), (2, 1, 1)]:
            compare(call("grid_sample", mode, padding, corners), array(shape(spatial, size=size)), grid, second=False, names=False, scale=100)
        compare(call("grid_sample", mode, padding, corners), array(shape(spatial), "float32"), grid.astype("float32"), second=False, names=False, scale=100)


def test_grid_sample_at_edges():
    edges = np.array([-1.0, 1.0, 0.0, 0.5, -1.5, 1.5, np.inf, -np.inf, np.nan, 1e30])
    grid = np.stack(np.meshgrid(edges, edges, indexing="ij"), -1)[None]
    for mode, padding, corners in itertools.product(("bilinear", "nearest"), ("zeros", "border"), (True, False)):
        finite = grid[:, :6, :6]
        compare(call("grid_sample", mode, padding, corners), array((1, 2, 5, 5)), finite.copy(), second=False, names=False)
        # Whatever stands there for places that are none: nothing out of range is read.
        assert tuple(fg.nn.functional.grid_sample(fg.ones(1, 1, 5, 5), fg.tensor(grid.astype("float32")), mode, padding, corners).shape) == (1, 1, 10, 10)
    for x, g in [((1, 2, 4, 4), (2, 3, 3, 2)), ((1, 2, 4, 4), (1, 3, 3, 3)), ((1, 2, 4), (1, 3, 2)), ((1, 2, 0, 4), (1, 3, 3, 2)), ((1, 2, 4, 4), (1, 3, 3, 3, 3)), ((1, 2, 4, 4), (1, 0, 3, 2))]:
        compare(call("grid_sample"), np.ones(x), np.ones(g), second=False, names=False)
    compare(call("grid_sample", "other"), np.ones((1, 2, 4, 4)), np.ones((1, 3, 3, 2)))
    compare(call("grid_sample", padding_mode="other"), np.ones((1, 2, 4, 4)), np.ones((1, 3, 3, 2)))
    compare(lambda T, x, g: T.nn.functional.grid_sample(x, g.float()), np.ones((1, 2, 4, 4)), np.ones((1, 3, 3, 2)))
    compare(lambda T, x, g: T.grid_sampler(x, g, 0, 2, False), array((1, 2, 4, 4)), array((1, 3, 3, 2)), second=False, names=False, scale=10)


def test_affine_grid():
    for corners in (None, True, False):
        compare(call("affine_grid", (2, 3, 4, 5), corners), array((2, 2, 3)), names=False, scale=5)
        compare(call("affine_grid", (2, 3, 4, 5, 1), corners), array((2, 3, 4)), names=False, scale=5)
    for theta, size in [((2, 2, 3), (2, 3, 4)), ((2, 3, 3), (2, 3, 4, 5)), ((2, 2, 3), (2, 3, 4, 5, 6)), ((2, 2, 3), (2, 3, 0, 5)), ((2, 2, 3), (2, 3, -4, 5)), ((2, 3), (2, 3, 4, 5))]:
        compare(call("affine_grid", size), np.ones(theta), names=False)
    compare(call("affine_grid", (2, 3, 4, 5)), np.ones((2, 2, 3), "int64"))
    compare(lambda T, x: T.affine_grid_generator(x, (2, 3, 4, 5), True), array((2, 2, 3)), names=False, scale=5)


# Shuffles


def test_shuffles():
    x = array((2, 12, 4, 6))
    for f in [
        call("pixel_shuffle", 2), call("pixel_shuffle", 1), call("pixel_unshuffle", 2), call("channel_shuffle", 3), call("channel_shuffle", 1), lambda T, x: T.pixel_shuffle(x, 2),
        lambda T, x: T.pixel_shuffle(x[0], 2), lambda T, x: T.pixel_unshuffle(x[None], 2), lambda T, x: T.channel_shuffle(x.permute(1, 0, 3, 2), 2), call("pixel_shuffle", 3),
        call("pixel_unshuffle", 4), call("pixel_shuffle", 0), call("pixel_unshuffle", -1), call("channel_shuffle", 5), call("channel_shuffle", 0),
        lambda T, x: T.pixel_shuffle(x[0, 0], 1), lambda T, x: T.channel_shuffle(x[0, 0], 1), lambda T, x: T.pixel_shuffle(x.permute(1, 0, 3, 2)[:, :1].expand(12, 4, 6, 4), 2),
    ]:
        compare(f, x)
    for dtype in ("bool", "int64", "uint8"):
        for name in ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"):
            compare(call(name, 2), array((1, 4, 4, 4), dtype))


# Derivatives and maps


def mapped(f, *shapes):
    tensors = [fg.tensor(array((3, *s), seed=n)) for n, s in enumerate(shapes)]
    ours = fg.func.vmap(f)(*tensors)
    each = fg.stack([f(*[t[i] for t in tensors]) for i in range(3)])
    np.testing.assert_allclose(ours.numpy(), each.numpy(), rtol=1e-12, atol=1e-12)
    loss = lambda *x: (f(*x) ** 2).sum()
    numbers = tuple(range(len(shapes)))
    found = fg.func.vmap(fg.func.grad(loss, argnums=numbers))(*tensors)
    for i in range(3):
        for f_, e in zip(found, fg.func.grad(loss, argnums=numbers)(*[t[i] for t in tensors])):
            np.testing.assert_allclose(f_[i].numpy(), e.numpy(), rtol=1e-12, atol=1e-12)


def test_maps():
    F = fg.nn.functional
    for f in [
        lambda x: F.pad(x, (1, 2), "reflect"), lambda x: F.pad(x, (1, -2, 1, 1), value=3), lambda x: F.max_pool1d(x, 2), lambda x: F.avg_pool1d(x, 3, 1, 1),
        lambda x: F.adaptive_avg_pool1d(x, 4), lambda x: F.adaptive_max_pool1d(x, 4), lambda x: F.unfold(x[None], 2), lambda x: F.fold(x[:, :4].t(), (2, 5), 2),
        lambda x: F.interpolate(x[None], 5, mode="linear"), lambda x: F.pixel_shuffle(x.reshape(4, 1, 7), 2), lambda x: F.channel_shuffle(x[None], 2),
        lambda x: F.lp_pool1d(x * x, 2, 2),
    ]:
        mapped(f, (4, 7))
    mapped(lambda x, g: F.grid_sample(x, g), (1, 2, 4, 4), (1, 3, 3, 2))
    mapped(lambda t: F.affine_grid(t, (1, 1, 2, 3)), (1, 2, 3))


def test_forward_mode():
    F = fg.nn.functional
    x = fg.tensor(array((2, 4, 6)), requires_grad=True)
    for f in [
        lambda x: F.pad(x, (1, 2), "replicate"), lambda x: F.max_pool1d(x, 2), lambda x: F.avg_pool1d(x, 3, 1, 1), lambda x: F.unfold(x[None], 2), lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.interpolate(x[None], (3, 9), mode="bicubic"), lambda x: F.pixel_unshuffle(x, 2), lambda x: F.adaptive_avg_pool1d(x, 4),
    ]:
        assert fg.autograd.gradcheck(f, x, check_forward_ad=True)
    g = fg.tensor(array((2, 3, 3, 2), low=-0.9, high=0.9), requires_grad=True)
    for mode, padding in itertools.product(("bilinear", "bicubic"), ("zeros", "border", "reflection")):
        run = lambda x, g: F.grid_sample(x[:, None], g, mode, padding)
        assert fg.autograd.gradcheck(run, (x, g), check_forward_ad=True)
        assert fg.autograd.gradgradcheck(run, (x, g))


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_the_last_tangent_that_goes_to_a_place_stays(spatial):
    """As of the elements: the derivative the other way round gives each its gradient. torch's threads race for the place."""

    def run(T):
        x = T.arange(1.0, 4.0).reshape(1, 1, *[1] * (spatial - 1), 3).double()
        places = T.tensor([1, 0, 1]).reshape(x.shape)
        unpool = lambda x: getattr(T.nn.functional, f"max_unpool{spatial}d")(x, places, 2)
        x.requires_grad_()
        y, tangent = T.func.jvp(unpool, (x,), (T.tensor([5.0, 7.0, 9.0]).double().reshape(x.shape),))
        gradient = T.autograd.grad(unpool(x).sum(), x)[0]
        return y.flatten().tolist()[:3], tangent.flatten().tolist()[:3], gradient.flatten().tolist()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert run(fg) == run(torch) == ([2.0, 3.0, 0.0], [7.0, 9.0, 0.0], [1.0, 1.0, 1.0])
    finally:
        torch.set_num_threads(threads)


FLAT = {
    "avg_pool1d": lambda F, T, x: F.avg_pool1d(x[0], 2),
    "avg_pool2d": lambda F, T, x: F.avg_pool2d(x, 2),
    "avg_pool3d": lambda F, T, x: F.avg_pool3d(x, 2),
    "max_pool2d": lambda F, T, x: F.max_pool2d(x, 2),
    "max_pool3d": lambda F, T, x: F.max_pool3d(x, 2),
    "adaptive_avg_pool2d": lambda F, T, x: F.adaptive_avg_pool2d(x, 2),
    "adaptive_max_pool2d": lambda F, T, x: F.adaptive_max_pool2d(x, 2),
    "reflect": lambda F, T, x: F.pad(x, (1, 1, 1, 1), "reflect"),
    "replicate": lambda F, T, x: F.pad(x, (1, 1, 1, 1), "replicate"),
    "nll_loss": lambda F, T, x: F.nll_loss(x[0, 0], T.tensor([1, 2, 0, 1])),
}


@pytest.mark.parametrize("name", FLAT)
def test_gradients_that_depend_by_choices_alone_have_zero_derivatives(name):
    """As a penalty on the gradient's size meets them."""
    found = []
    for T in (fg, torch):
        x = T.tensor(array((2, 3, 4, 4)), requires_grad=True)
        (g,) = T.autograd.grad(FLAT[name](T.nn.functional, T, x).sum(), x, create_graph=True)
        assert g.requires_grad
        (g.norm() - 1).pow(2).backward()
        assert x.grad.count_nonzero() == 0
        x.grad = None
        (g,) = T.autograd.grad(FLAT[name](T.nn.functional, T, x * 2).pow(2).sum(), x, create_graph=True)
        g.pow(2).sum().backward()
        found.append((g.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
