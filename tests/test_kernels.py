"""Operations with kernels of their own: the kernels agree with what they are defined by, with the derivatives that are made of
other operations, and with themselves at any number of threads."""

import contextlib
import itertools
import math

import numpy as np
import pytest

import ferrograd as fg

F = fg.nn.functional


def numbers(shape, dtype=fg.float64, low=-1.0, high=1.0, seed=0):
    """Numbers between bounds in no order."""
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return fg.tensor(values, dtype=dtype)


def gradients(f, inputs, create_graph):
    """The gradients by a pass that may be differentiated, or by one that may not."""
    leaves = [x.detach().requires_grad_(True) for x in inputs]
    y = f(*leaves)
    return fg.autograd.grad(y, leaves, numbers(tuple(y.shape), y.dtype, seed=9), create_graph=create_graph)


def both_ways(f, *inputs, tolerance=1e-12):
    """Kernels give the gradients of the derivatives that are made of operations."""
    for ours, theirs in zip(gradients(f, inputs, False), gradients(f, inputs, True)):
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@contextlib.contextmanager
def threads(count):
    """So many threads within the block."""
    before = fg.get_num_threads()
    fg.set_num_threads(count)
    try:
        yield
    finally:
        fg.set_num_threads(before)


def at_threads(f):
    """What a function gives at several numbers of threads, as bytes."""
    found = []
    for count in (1, 2, 5):
        with threads(count):
            found.append([t.detach().contiguous().numpy().tobytes() for t in f()])
    return found


def same_bits(f, *inputs):
    def run():
        leaves = [x.detach().requires_grad_(True) for x in inputs]
        y = f(*leaves)
        return [y, *fg.autograd.grad(y, leaves, numbers(tuple(y.shape), y.dtype, seed=3))]

    one, *others = at_threads(run)
    assert all(other == one for other in others)


GRIDS = list(itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)))


@pytest.mark.parametrize("mode, padding, corners", GRIDS)
def test_gradients_of_grid_sample(mode, padding, corners):
    read = lambda x, grid: F.grid_sample(x, grid, mode, padding, corners)
    both_ways(read, numbers((2, 3, 5, 4)), numbers((2, 7, 9, 2), low=-2.5, high=2.5, seed=1))
    both_ways(read, numbers((2, 3, 1, 4)), numbers((2, 7, 9, 2), low=-2.5, high=2.5, seed=1))
    both_ways(read, numbers((2, 3, 5, 4), fg.float32), numbers((2, 7, 9, 2), fg.float32, -1.5, 1.5, 1), tolerance=1e-4)
    turned = lambda x, grid: read(x.permute(3, 2, 0, 1), grid.transpose(1, 2))
    both_ways(turned, numbers((5, 4, 3, 2)), numbers((2, 7, 9, 2), low=-2.5, high=2.5, seed=1))
    if mode != "bicubic":
        both_ways(read, numbers((2, 3, 5, 4, 3)), numbers((2, 4, 3, 5, 3), low=-2.5, high=2.5, seed=1))
        both_ways(read, numbers((0, 3, 5, 4)), numbers((0, 7, 9, 2)))
        both_ways(read, numbers((2, 0, 5, 4)), numbers((2, 7, 9, 2)))


def test_grid_sample_reads_nothing_outside():
    x = fg.full((1, 1, 3, 3), math.nan)
    far = fg.tensor([[[[5.0, 5.0], [-9.0, 0.0]]]])
    assert F.grid_sample(x, far, align_corners=True).tolist() == [[[[0.0, 0.0]]]]
    for mode, padding, corners in GRIDS:
        wild = fg.tensor([[[[math.inf, math.nan], [1e30, -1e30]]]])
        assert tuple(F.grid_sample(fg.ones(1, 1, 3, 3), wild, mode, padding, corners).shape) == (1, 1, 1, 2)


@pytest.mark.parametrize("mode, padding, corners", GRIDS)
def test_second_gradients_of_grid_sample(mode, padding, corners):
    x, grid = numbers((1, 2, 4, 3)).requires_grad_(True), numbers((1, 3, 2, 2), low=-0.9, high=0.9, seed=2).requires_grad_(True)
    assert fg.autograd.gradgradcheck(lambda x, grid: F.grid_sample(x, grid, mode, padding, corners), (x, grid))


def test_threads_do_not_change_bits():
    image, grid = numbers((3, 4, 40, 50), fg.float32), numbers((3, 60, 70, 2), fg.float32, -1.2, 1.2, 1)
    same_bits(lambda x, g: F.grid_sample(x, g, align_corners=False), image, grid)
    same_bits(lambda x, g: F.grid_sample(x, g, "bicubic", "reflection", False), image[:1], grid[:1])
    same_bits(lambda x: F.fold(x, (64, 64), 3, padding=1), numbers((2, 36, 64 * 64), fg.float32))
    same_bits(lambda x: F.unfold(x, 3, padding=1), numbers((2, 4, 64, 64), fg.float32))
    same_bits(lambda x: x.logcumsumexp(1), numbers((100, 900), fg.float32))
    same_bits(lambda x: x.logcumsumexp(0), numbers((300, 300), fg.float32))
    same_bits(lambda x, y: fg.linalg.cross(x, y), numbers((20_000, 3), fg.float32), numbers((20_000, 3), fg.float32, seed=1))
    same_bits(lambda x: fg.pdist(x), numbers((150, 40), fg.float32))
    index = fg.tensor(np.random.default_rng(0).integers(0, 500, (40, 300)))
    for mode in ("sum", "mean"):
        same_bits(lambda x: F.embedding_bag(index, x, mode=mode), numbers((500, 600), fg.float32))
    classes = fg.tensor(np.random.default_rng(1).integers(0, 90, 700))
    same_bits(lambda x: F.multi_margin_loss(x, classes, p=2), numbers((700, 90), fg.float32))
    labels = fg.tensor(np.random.default_rng(1).integers(-1, 90, (700, 90)))
    same_bits(lambda x: F.multilabel_margin_loss(x, labels), numbers((700, 90), fg.float32))
    places = fg.tensor(np.random.default_rng(2).integers(-100_000, 100_000, 150_000))
    same_bits(lambda x: x.t().take(places), numbers((250, 400), fg.float32))
    few = fg.tensor(np.random.default_rng(4).integers(0, 3, 200_000))
    one, *others = at_threads(lambda: fg.unique_consecutive(few, return_inverse=True, return_counts=True))
    assert all(other == one for other in others)


@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"stride": 2, "padding": 3}, {"dilation": 2, "padding": (0, 2)}, {"stride": (3, 1), "dilation": (1, 3)}])
def test_windows_are_columns(options):
    x = numbers((2, 3, 9, 8))
    pair = lambda name, default: (lambda v: v if isinstance(v, tuple) else (v, v))(options.get(name, default))
    (sy, sx), (py, px), (dy, dx) = pair("stride", 1), pair("padding", 0), pair("dilation", 1)
    around = np.pad(x.numpy(), ((0, 0), (0, 0), (py, py), (px, px)))
    rows = (9 + 2 * py - dy * 2 - 1) // sy + 1, (8 + 2 * px - dx - 1) // sx + 1
    expected = np.zeros((2, 3, 3, 2, *rows))
    for i, j, p, q in itertools.product(range(3), range(2), range(rows[0]), range(rows[1])):
        expected[:, :, i, j, p, q] = around[:, :, p * sy + i * dy, q * sx + j * dx]
    found = F.unfold(x, (3, 2), **options)
    np.testing.assert_array_equal(found.numpy(), expected.reshape(2, 18, -1))
    back = F.fold(found, (9, 8), (3, 2), **options)
    counts = F.fold(F.unfold(fg.ones_like(x), (3, 2), **options), (9, 8), (3, 2), **options)
    np.testing.assert_allclose(back.numpy(), (x * counts).numpy(), rtol=1e-12, atol=1e-12)
    for dtype in (fg.float32, fg.float16, fg.bfloat16):
        narrow = F.fold(fg.ones(2, 18, found.shape[2], dtype=dtype), (9, 8), (3, 2), **options)
        assert narrow.dtype == dtype and narrow.tolist() == counts.tolist()
    both_ways(lambda x: F.fold(x, (9, 8), (3, 2), **options), found)


def test_sums_of_bags():
    table, index = numbers((9, 300)), fg.tensor([[0, 3, 3], [8, 1, 0]])
    rows = table[index]
    for mode, expected in (("sum", rows.sum(1)), ("mean", rows.mean(1))):
        found = F.embedding_bag(index, table, mode=mode)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
        both_ways(lambda t: F.embedding_bag(index, t, mode=mode), table)
        uneven = F.embedding_bag(index.reshape(-1), table, fg.tensor([0, 0, 1, 6]), mode=mode)
        assert uneven[0].tolist() == uneven[3].tolist() == [0.0] * 300
        np.testing.assert_allclose(uneven[1].numpy(), table[0].numpy(), rtol=1e-12)
        both_ways(lambda t: F.embedding_bag(index.reshape(-1), t, fg.tensor([0, 0, 1, 6]), mode=mode), table)
        both_ways(lambda t: F.embedding_bag(index[:1], t[1:, :5], mode=mode), table)
    for bad in (9, -1):
        with pytest.raises(IndexError):
            F.embedding_bag(fg.tensor([[0, bad]]), table, mode="sum")


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_indices_behind_the_last_bag_belong_to_none(mode):
    index = fg.tensor([2, 1, 0, 1])
    for offsets in ([0, 0, 0], [0, 2, 3], [0, 3], [0, 0], [0, 1, 1]):
        both_ways(lambda t: F.embedding_bag(index, t, fg.tensor(offsets), mode=mode, include_last_offset=True), numbers((3, 2)))
        t = numbers((3, 2)).requires_grad_()
        F.embedding_bag(index, t, fg.tensor(offsets), mode=mode, include_last_offset=True).sum().backward()
        expected = fg.zeros(3, 2, dtype=t.dtype)
        for start, end in zip(offsets, offsets[1:]):
            for i in index[start:end]:
                expected[i] += 1 / (end - start if mode == "mean" else 1)
        assert t.grad.isclose(expected).all()


def test_sums_of_long_bags_are_exact():
    index = fg.zeros(1, 100_000, dtype=fg.int64)
    found = F.embedding_bag(index, fg.full((1, 1), 0.1), mode="sum").item()
    assert abs(found - 10_000.0) < 0.05


@pytest.mark.parametrize("p", [1, 2])
def test_margins(p):
    x, classes = numbers((6, 5)), fg.tensor([0, 4, 2, 2, 1, 3])
    right = x[fg.arange(6), classes][:, None]
    others = fg.arange(5) != classes[:, None]
    expected = ((x - right + 0.3).clamp(0) ** p * others).sum(1) / 5
    np.testing.assert_allclose(F.multi_margin_loss(x, classes, p, 0.3, reduction="none").numpy(), expected.numpy(), rtol=1e-12)
    both_ways(lambda x: F.multi_margin_loss(x, classes, p, 0.3, reduction="none"), x)
    both_ways(lambda x: F.multi_margin_loss(x.t(), classes[:5], p, 0.3, numbers(6, low=0.1)), x)
    assert fg.autograd.gradgradcheck(lambda x: F.multi_margin_loss(x, classes, p, 0.3), x.requires_grad_(True))
    for bad in (5, -1):
        with pytest.raises(RuntimeError, match="out of range"):
            F.multi_margin_loss(x, fg.tensor([0, 1, 2, 3, 4, bad]))


def test_margins_of_several_labels():
    x = numbers((4, 5))
    labels = fg.tensor([[0, 3, -1, 2, 2], [4, 4, 1, -1, 9], [-1, 0, 0, 0, 0], [0, 1, 2, 3, 4]])
    expected = []
    for row, named in zip(x.tolist(), ([0, 3], [4, 4, 1], [], [0, 1, 2, 3, 4])):
        gaps = [1 - row[right] + row[i] for right in named for i in range(5) if i not in named]
        expected.append(sum(max(0.0, gap) for gap in gaps) / 5)
    np.testing.assert_allclose(F.multilabel_margin_loss(x, labels, reduction="none").numpy(), expected, rtol=1e-12)
    both_ways(lambda x: F.multilabel_margin_loss(x, labels, reduction="none"), x)
    each = fg.stack([F.multilabel_margin_loss(row, right) for row, right in zip(x, labels)])
    np.testing.assert_allclose(fg.func.vmap(F.multilabel_margin_loss)(x, labels).numpy(), each.numpy(), rtol=1e-12)
    with pytest.raises(RuntimeError, match="out of range"):
        F.multilabel_margin_loss(x, labels + 3)


def test_distances_of_pairs():
    x = numbers((7, 4))
    for p in (0, 1, 2, 3.5, math.inf):
        all_pairs = fg.cdist(x, x, p)
        above = [all_pairs[i, j].item() for i, j in itertools.combinations(range(7), 2)]
        np.testing.assert_allclose(fg.pdist(x, p).numpy(), above, rtol=1e-12)
        both_ways(lambda x: fg.pdist(x, p), x, tolerance=1e-9)
    assert fg.pdist(x[:1]).numel() == fg.pdist(x[:0]).numel() == 0
    both_ways(lambda x: fg.pdist(x.t()), x, tolerance=1e-9)


def test_running_logarithms_of_sums():
    x = numbers((3, 200), low=-30.0, high=30.0)
    expected = np.logaddexp.accumulate(x.numpy(), axis=1)
    np.testing.assert_allclose(x.logcumsumexp(1).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(x.t().logcumsumexp(0).numpy(), expected.T, rtol=1e-12)
    np.testing.assert_allclose(x.float().logcumsumexp(1).numpy(), expected, rtol=1e-6)
    wild = fg.tensor([-math.inf, -math.inf, 1.0, math.inf, 2.0, math.nan, 3.0])
    found = wild.logcumsumexp(0).tolist()
    assert found[:5] == [-math.inf, -math.inf, 1.0, math.inf, math.inf] and all(map(math.isnan, found[5:]))
    assert fg.stack([wild, wild], 1).logcumsumexp(0)[:5, 1].tolist() == found[:5]


def test_cross_products_of_any_layout():
    a, b = numbers((4, 3, 5)), numbers((1, 3, 5), seed=1)
    for x, y, dim in ((a, b, 1), (a.permute(2, 1, 0), b.permute(2, 1, 0), 1), (a.transpose(1, 2), b.expand(4, 3, 5).transpose(1, 2), -1)):
        expected = np.cross(*(np.moveaxis(t.numpy(), dim, -1) for t in fg.broadcast_tensors(x, y)))
        np.testing.assert_allclose(fg.linalg.cross(x, y, dim=dim).numpy(), np.moveaxis(expected, -1, dim), rtol=1e-12)
        both_ways(lambda x, y: fg.linalg.cross(x, y, dim=dim), x, y)


def test_elements_of_what_is_not_contiguous():
    x = fg.arange(24).reshape(2, 3, 4)
    for view in (x.permute(2, 0, 1), x[:, ::2, 1:], x.transpose(0, 1)[1:]):
        places = fg.arange(-view.numel(), view.numel())
        assert view.take(places).tolist() == view.reshape(-1)[places].tolist()
        for bad in (view.numel(), -view.numel() - 1):
            with pytest.raises(IndexError):
                view.take(fg.tensor([0, bad]))
    turned = fg.zeros(3, 2).t()
    assert turned.put_(fg.tensor([1, -1]), fg.tensor([5.0, 7.0])).tolist() == [[0.0, 5.0, 0.0], [0.0, 0.0, 7.0]]


def test_runs_of_what_is_alike():
    x = fg.tensor([2, 2, 1, 1, 1, 2])
    values, inverse, counts = fg.unique_consecutive(x, return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([2, 1, 2], [0, 0, 1, 1, 1, 2], [2, 3, 1])
    values, counts = fg.unique(x.reshape(2, 3), return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 2], [3, 3])
    assert fg.unique(x.reshape(2, 3), return_inverse=True)[1].tolist() == [[1, 1, 0], [0, 0, 1]]
    rows = fg.tensor([[1, 2], [1, 2], [0, 3]])
    assert fg.unique_consecutive(rows, dim=0).tolist() == [[1, 2], [0, 3]]
    assert fg.unique(rows, dim=1, return_inverse=True)[1].tolist() == [0, 1]
    values, counts = fg.unique_consecutive(x[:0], return_counts=True)
    assert values.tolist() == counts.tolist() == []
    assert len(fg.unique(fg.tensor([math.nan, 1.0, math.nan]))) == 3


@pytest.mark.parametrize("offset", [-3, 0, 2, 9])
def test_indices_of_triangles(offset):
    for name in ("tril", "triu"):
        full = getattr(np, name + "_indices")(4, offset, 6)
        assert getattr(fg, name + "_indices")(4, 6, offset).tolist() == [part.tolist() for part in full]


#: Shapes whose copies go by tiles, by rows, and by elements, and how they are turned.
COPIES = [((70, 90), (1, 0)), ((3, 20, 25), (0, 2, 1)), ((4, 5, 6, 7), (3, 0, 2, 1)), ((2, 300, 2), (0, 2, 1)), ((2, 40, 3, 16), (0, 1, 3, 2)), ((1000, 70), (0, 1))]


@pytest.mark.parametrize("shape, order", COPIES)
@pytest.mark.parametrize("dtype", [fg.uint8, fg.int16, fg.float32, fg.float64])
def test_copies_in_any_order(shape, order, dtype):
    x = (fg.arange(math.prod(shape)) % 251).to(dtype).reshape(shape)
    back = [d for d in reversed(range(len(shape)))]
    turned = x.permute(order)
    for dims in ((), (0,), (len(shape) - 1,), tuple(range(len(shape)))):
        flipped = turned.flip(dims)
        expected = np.flip(x.numpy().transpose(order), dims)
        np.testing.assert_array_equal(flipped.numpy(), expected)
        assert flipped.stride() == turned.clone().stride()
        np.testing.assert_array_equal(flipped.contiguous().numpy(), expected)
        np.testing.assert_array_equal(flipped.permute(back).to(fg.float16).numpy(), expected.transpose(back).astype("float16"))
    for shift in (1, 3, -5):
        np.testing.assert_array_equal(turned.roll(shift, -1).numpy(), np.roll(x.numpy().transpose(order), shift, -1))
    # Rows that lie a few bytes further on than those they come from.
    target = fg.zeros(*turned.shape[:-1], turned.shape[-1] + 3, dtype=dtype)
    target[..., 3:] = turned
    np.testing.assert_array_equal(target[..., 3:].numpy(), x.numpy().transpose(order))
    assert not target[..., :3].any()


@pytest.mark.parametrize("dtype", [fg.bool, fg.uint8, fg.int32, fg.int64])
@pytest.mark.parametrize("low, high", [(0, 2), (3, 9), (-40, 60), (-(2**62), 2**62)])
def test_the_different_of_near_integers(dtype, low, high):
    values = np.random.default_rng(0).integers(low, high, (500, 90))
    x = fg.tensor(values).to(dtype)
    expected = np.unique(x.numpy(), return_inverse=True, return_counts=True)
    found = fg.unique(x, return_inverse=True, return_counts=True)
    for ours, theirs in zip(found, expected):
        np.testing.assert_array_equal(ours.numpy(), theirs.reshape(ours.shape))
    assert found[0].dtype == dtype and fg.unique(x).tolist() == expected[0].tolist()
    one, *others = at_threads(lambda: fg.unique(x, return_inverse=True, return_counts=True))
    assert all(other == one for other in others)


def test_greatest_of_long_windows_and_of_channels():
    for special in (math.nan, 3.0, -0.0):
        x = numbers((2, 3, 20, 30), fg.float32)
        x[0, 1, 4, 7] = x[0, 1, 9, 29] = x[1, 2, 0, 0] = special
        last = x.contiguous(memory_format=fg.channels_last)
        for pool in (
            lambda x: F.max_pool2d(x, (4, 30), (2, 30), return_indices=True),
            lambda x: F.max_pool2d(x, (3, 20), 1, 1, return_indices=True),
            lambda x: F.adaptive_max_pool2d(x, (1, 1), return_indices=True),
            lambda x: F.adaptive_max_pool2d(x, (3, 1), return_indices=True),
            lambda x: F.max_pool2d(x, 2, ceil_mode=True, return_indices=True),
        ):
            (y, places), (z, others) = pool(x), pool(last)
            np.testing.assert_array_equal(y.numpy(), z.numpy())
            assert places.tolist() == others.tolist() and z.stride() == z.contiguous(memory_format=fg.channels_last).stride()
            taken = x.flatten(2).gather(2, places.flatten(2)).reshape(y.shape)
            assert taken.numpy().tobytes() == y.numpy().tobytes()
    for pool in (lambda x: F.avg_pool2d(x, 3, 1, 1), lambda x: F.adaptive_avg_pool2d(x, (7, 4)), lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear")):
        x = numbers((2, 3, 20, 30), fg.float32)
        np.testing.assert_array_equal(pool(x).numpy(), pool(x.contiguous(memory_format=fg.channels_last)).numpy())
        both_ways(pool, numbers((2, 3, 7, 8)).contiguous(memory_format=fg.channels_last))


def test_rows_are_normalised_the_same_where_a_gradient_is_wanted():
    x, weight, bias = numbers((50, 40), fg.float32), numbers((40,), fg.float32, seed=1), numbers((40,), fg.float32, seed=2)
    for w, b in itertools.product((weight, None), (bias, None)):
        leaf = x.clone().requires_grad_(True)
        assert F.layer_norm(leaf, (40,), w, b).detach().numpy().tobytes() == F.layer_norm(x, (40,), w, b).numpy().tobytes()


def test_windows_are_the_same_from_both_ends():
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        for n in (2, 3, 8, 9, 40_001):
            window = getattr(fg, f"{name}_window")(n, periodic=False, dtype=fg.float64).numpy()
            np.testing.assert_array_equal(window, window[::-1])
            assert window[(n - 1) // 2] == window.max()


def test_indices_out_of_range_are_found_in_long_rows():
    x, index = fg.zeros(3, 1000), fg.zeros(3, 1000, dtype=fg.int64)
    for bad in (1000, -1):
        index[2, 700] = bad
        with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
            x.gather(1, index)


def test_inner_products_of_long_vectors():
    x, y = numbers((100_003,)), numbers((100_003,), seed=1)
    np.testing.assert_allclose(fg.dot(x, y).item(), np.dot(x.numpy(), y.numpy()), rtol=1e-12)
    np.testing.assert_allclose(fg.dot(x[::2], y[::2]).item(), np.dot(x[::2].numpy(), y[::2].numpy()), rtol=1e-12)
    one, *others = at_threads(lambda: [fg.dot(x, y)])
    assert all(other == one for other in others)


def test_windows_of_one_column_that_are_dilated():
    image = fg.tensor([1.0, 2, 9, 4, 5]).reshape(1, 1, 5, 1).requires_grad_()
    y = F.max_pool2d(image, (2, 1), stride=(2, 1), dilation=(1, 2))
    y.sum().backward()
    assert (y.flatten().tolist(), image.grad.flatten().tolist()) == ([2, 9], [0, 1, 1, 0, 0])


def test_pools_of_volumes_without_a_batch_in_any_order():
    """Four dimensions of a volume are no image whose channels lie last."""
    volume = fg.arange(16.0).reshape(2, 2, 2, 2).permute(0, 3, 1, 2)
    assert F.adaptive_max_pool3d(volume, (1, 2, 1)).flatten().tolist() == [3, 7, 11, 15]
    for pool in (lambda x: F.adaptive_max_pool3d(x, (1, 2, 1)), lambda x: F.max_pool3d(x, (1, 2, 1)), lambda x: F.avg_pool3d(x, 2)):
        volume = (fg.arange(24.0) * 7 % 24).reshape(2, 2, 2, 3).permute(0, 3, 1, 2)
        assert pool(volume).tolist() == pool(volume.contiguous()).tolist()


def test_gradients_of_greatest_elements_lie_as_the_images():
    image = numbers((2, 4, 6, 3)).permute(0, 3, 1, 2)
    for pool, x in ((lambda x: F.max_pool2d(x, 2), image), (lambda x: F.max_pool1d(x, 3, 1), image[:, :, 0])):
        (dx,) = gradients(pool, [x], False)
        (expected,) = gradients(pool, [x.contiguous()], False)
        assert dx.stride(1) == 1 and dx.tolist() == expected.tolist()


def test_outer_products_are_added_in_the_order_of_the_matrix():
    matrix, v, w = numbers((300, 200)), numbers((200,), seed=1), numbers((300,), seed=2)
    for beta, alpha in ((1, 1), (0, 1), (0.5, 2)):
        y = fg.addr(matrix.t(), v, w, beta=beta, alpha=alpha)
        assert y.stride() == (1, 200)
        assert y.tolist() == fg.addr(matrix.t().contiguous(), v, w, beta=beta, alpha=alpha).tolist()


def test_sequences_that_spell_labels():
    """Steps and labels of several lengths, repeated labels, and one that cannot be spelled."""
    targets = fg.tensor([[1, 2, 2], [3, 0, 0], [1, 1, 1], [2, 0, 0], [0, 0, 0]]).repeat(9, 1)
    steps, lengths = fg.tensor([7, 5, 4, 1, 0]).repeat(9), fg.tensor([3, 1, 3, 1, 0]).repeat(9)
    logs = numbers((7, 45, 5)).log_softmax(2)

    def loss(x):
        return F.ctc_loss(x, targets, steps, lengths, blank=4, reduction="none", zero_infinity=True)

    both_ways(loss, logs)
    both_ways(lambda x: loss(x.transpose(0, 1)), logs.transpose(0, 1).contiguous())
    few = logs[:4, :3].contiguous()
    assert fg.autograd.gradgradcheck(lambda x: F.ctc_loss(x, targets[:3], (4, 3, 2), (2, 1, 1), 4, "none"), few.requires_grad_())
    mapped = fg.func.vmap(lambda x: loss(x))(fg.stack([logs, 2 * logs]))
    np.testing.assert_allclose(mapped[1].tolist(), loss(2 * logs).tolist(), rtol=1e-12)
    one, *others = at_threads(lambda: [loss(logs), *gradients(loss, [logs], False)])
    assert all(other == one for other in others)


@pytest.mark.parametrize("name", ["lgamma", "igamma", "igammac"])
def test_functions_of_float32_that_are_computed_in_float64(name):
    """As float64 has them, rounded; the same beside whatever numbers."""
    x = fg.cat([numbers((3000,), low=-6, high=6, seed=3).exp(), numbers((1000,), low=-9, seed=4), fg.tensor([0.0, 1.0, 2.0, math.inf, math.nan])])
    x, other = x.float(), x.flip(0).float()
    f = getattr(fg, name) if name == "lgamma" else lambda x: getattr(fg, name)(x, other[: len(x)])
    wide = getattr(fg, name)(x.double()) if name == "lgamma" else getattr(fg, name)(x.double(), other.double())
    np.testing.assert_allclose(f(x).numpy(), wide.numpy(), rtol=1.3e-7, atol=1e-37)
    singles = fg.cat([getattr(fg, name)(*((x[i],) if name == "lgamma" else (x[i], other[i]))).reshape(1) for i in range(0, len(x), 7)])
    np.testing.assert_array_equal(f(x)[::7].numpy(), singles.numpy())


@pytest.mark.parametrize("size", [50, 300_000])
def test_elements_are_put_by_several_threads_in_the_order_of_the_list(size):
    """Tables that caches hold and wide ones; the last of several elements for one place stays, and sums are those of one thread."""
    generator = np.random.default_rng(2)
    index, list_ = generator.integers(-size, size, 100_003), generator.normal(size=100_003).astype(np.float32)
    put, added = np.zeros(size, np.float32), np.zeros(size, np.float32)
    put[index] = list_
    np.add.at(added, index, list_)

    def run():
        x, i, v = fg.zeros(size), fg.tensor(index), fg.tensor(list_)
        return [x.put(i, v), x.put(i, v, accumulate=True), fg.bincount(i.abs(), minlength=size)]

    counts = np.bincount(np.abs(index), minlength=size)
    assert at_threads(run) == [[put.tobytes(), added.tobytes(), counts.tobytes()]] * 3


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("shape", [(7, 3), (300, 517)])
def test_rows_are_put_into_tables_in_any_order_of_memory(shape, dim):
    generator = np.random.default_rng(4)
    index = generator.integers(0, shape[dim], shape[dim] + 5)
    table = generator.normal(size=shape)
    list_ = generator.normal(size=[len(index) if d == dim else n for d, n in enumerate(shape)])
    filled, copied, added = table.copy(), table.copy(), table.copy()
    where = index if dim == 0 else (slice(None), index)
    filled[where], copied[where] = 3, list_
    np.add.at(added, where, list_)
    for turned, list_turned in itertools.product([False, True], repeat=2):

        def lying(values, is_turned):
            return fg.tensor(np.ascontiguousarray(values.T)).T if is_turned else fg.tensor(values)

        def run():
            x, i, v = lying(table, turned), fg.tensor(index), lying(list_, list_turned)
            return [fg.index_fill(x, dim, i, 3.0), fg.index_copy(x, dim, i, v), fg.index_add(x, dim, i, v)]

        assert at_threads(run) == [[filled.tobytes(), copied.tobytes(), added.tobytes()]] * 3


LENGTHS = [*range(1, 42), 63, 64, 65, 100, 127, 128, 129, 200, 255, 256, 257, 300, 511, 513, 1000, 4095, 4097]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "int8", "float16", "uint8"])
def test_rows_of_every_length(dtype):
    generator = np.random.default_rng(3)
    for n in LENGTHS:
        # Side by side, with gaps between the rows, and rows that are columns in memory.
        whole = (generator.integers(-9, 10, (37, n + 3)) if dtype != "uint8" else generator.integers(0, 9, (37, n + 3))).astype(dtype)
        for x in (np.ascontiguousarray(whole[:, :n]), whole[:, 1 : n + 1], np.asfortranarray(whole[:, :n])):
            ours = fg.from_numpy(x.copy(order="K")) if x.flags.c_contiguous or x.flags.f_contiguous else fg.from_numpy(whole)[:, 1 : n + 1]
            # Sums of whole numbers are exact wherever the order.
            exact = x.astype(np.float64)
            np.testing.assert_array_equal(ours.sum(1).numpy().astype(np.float64), exact.sum(1), err_msg=f"{n}")
            np.testing.assert_array_equal(ours.amax(1).numpy(), x.max(1), err_msg=f"{n}")
            np.testing.assert_array_equal(ours.amin(1).numpy(), x.min(1), err_msg=f"{n}")
            np.testing.assert_array_equal(ours.argmax(1).numpy(), x.argmax(1), err_msg=f"{n}")
            np.testing.assert_array_equal((ours == 0).any(1).numpy(), (x == 0).any(1), err_msg=f"{n}")
            np.testing.assert_array_equal((ours != 9).all(1).numpy(), (x != 9).all(1), err_msg=f"{n}")
            np.testing.assert_array_equal(fg.count_nonzero(ours, 1).numpy(), (x != 0).sum(1), err_msg=f"{n}")
            if dtype == "float64" and n > 1:
                np.testing.assert_allclose(ours.var(1).numpy(), exact.var(1, ddof=1), rtol=1e-12, atol=1e-12, err_msg=f"{n}")
                np.testing.assert_allclose(fg.linalg.vector_norm(ours, dim=1).numpy(), np.sqrt((exact**2).sum(1)), rtol=1e-14)
                peak = exact.max(1)
                expected = peak + np.log(np.exp(exact - peak[:, None]).sum(1))
                np.testing.assert_allclose(ours.logsumexp(1).numpy(), expected, rtol=1e-13, err_msg=f"{n}")


def test_each_element_of_a_row_counts_once():
    for n in LENGTHS:
        for at in {0, n // 2, max(n - 9, 0), max(n - 8, 0), n - 1}:
            x = np.ones((34, n), "float32")
            x[:, at] = 3
            assert fg.from_numpy(x).prod(1).tolist() == [3.0] * 34, (n, at)
            x[5, at] = np.nan
            for found in (fg.from_numpy(x).amax(1), fg.from_numpy(x).amin(1), fg.from_numpy(x).sum(1)):
                assert found.isnan().nonzero().tolist() == [[5]], (n, at)
    zeros = fg.full((40, 33), -0.0)
    assert not zeros.sum(1).signbit().any()


def test_rows_have_the_same_bits_at_any_number_of_threads():
    xs = [numbers((3001, n), dtype, seed=n) for n in (5, 9, 33, 100, 300, 1000) for dtype in (fg.float32, fg.float64, fg.float16)]
    first, *others = at_threads(lambda: [f for x in xs for f in (x.sum(1), x.amax(1), x.mean(1), x.float().var(1))])
    assert all(other == first for other in others)


def test_sums_of_long_rows_are_as_good_as_pairwise():
    for n in (100, 255, 1000, 4000):
        x = numbers((200, n), fg.float32, low=0.0, seed=n)
        exact = x.double().sum(1)
        # Twenty roundings of half a place at the worst, which a chain of so many elements would exceed.
        assert ((x.sum(1).double() - exact).abs() / exact).max().item() < 20 * 2**-24


def test_rows_beside_rows_and_columns():
    """One operation on operands that lie in rows of any length: steps from row to row are right where ranges begin amid rows."""
    generator = np.random.default_rng(5)
    for shape in ((700, 33), (301, 100), (40, 1000), (3, 171, 65), (7, 5, 40, 32)):
        x = generator.integers(-9, 10, shape).astype("float32")
        a, b = x[..., :1].copy(), x.reshape(-1, shape[-1])[0].copy()
        middle = x[:, :1].copy() if len(shape) > 2 else a
        X, A, B, M = (fg.from_numpy(v) for v in (x, a, b, middle))
        for ours, expected in ((X + A, x + a), (A - X, a - x), (X * B, x * b), (B - X, b - x), (A * B, a * b), (X + M, x + middle)):
            np.testing.assert_array_equal(ours.numpy(), expected)
        wide = np.concatenate([x, x], -1)
        np.testing.assert_array_equal((fg.from_numpy(wide)[..., 3 : 3 + shape[-1]] + B).numpy(), wide[..., 3 : 3 + shape[-1]] + b)
        Y = X.clone()
        Y += B
        np.testing.assert_array_equal(Y.numpy(), x + b)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 12, 16, 17, 31])
def test_short_rows_of_what_is_broadcast_or_turned(n):
    """Rows too short to be read one by one are gathered, and reduced while they are computed."""
    a, b, c = numbers((40, 1, n), fg.float32), numbers((1, 30, n), fg.float32, seed=1), numbers((n, 40, 30), fg.float32, seed=2)
    x, y, z = (t.numpy() for t in (a, b, c))
    z = z.transpose(1, 2, 0)
    for ours, theirs in ((a - b, x - y), (a * b[:, ::3].repeat_interleave(3, 1), x * np.repeat(y[:, ::3], 3, 1)), (c.permute(1, 2, 0) + b, z + y), (a.flip(2) + b, x[..., ::-1] + y), (a[:, :, :1] * b, x[..., :1] * y)):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    values = ((x - y) ** 2).astype("float64")
    for dim in ((2,), (0,), (1,), (0, 1), (1, 2)):
        np.testing.assert_allclose(((a - b) ** 2).sum(dim).numpy(), values.sum(dim), rtol=1e-5)
        np.testing.assert_array_equal(((a - b) ** 2).amax(dim).numpy(), ((x - y) ** 2).max(dim))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("rows", "columns", "size"), [(70_000, 1, 90), (3000, 64, 50), (3000, 50, 700), (9000, 20, 33), (300, 700, 11)])
def test_lists_join_tables_in_the_order_of_the_list(rows, columns, size, count):
    with threads(count):
        draw = np.random.default_rng(0)
        values = draw.standard_normal((rows, columns)).astype(np.float32)
        places, line = draw.integers(0, size, (rows, columns)), draw.integers(0, size, rows)
        table = draw.standard_normal((size, columns)).astype(np.float32)
        x, index, of_rows, y = (fg.from_numpy(a.copy()) for a in (values, places, line, table))
        column = np.broadcast_to(np.arange(columns), places.shape)
        for join, found in [
            (np.add, y.scatter_add(0, index, x)),
            (np.maximum, y.scatter_reduce(0, index, x, "amax")),
            (np.multiply, y.scatter_reduce(0, index, x, "prod")),
            (np.add, y.t().scatter_add(1, index.t(), x.t()).t()),
        ]:
            wanted = table.copy()
            join.at(wanted, (places, column), values)
            assert found.numpy().tobytes() == wanted.tobytes(), join
        put = table.copy()
        for row in range(rows):
            put[places[row], column[row]] = values[row]
        assert (y.scatter(0, index, x).numpy() == put).all()
        assert (y.gather(0, index).numpy() == np.take_along_axis(table, places, 0)).all()
        wanted = table.copy()
        np.add.at(wanted, line, values)
        for found in (y.index_add(0, of_rows, x), y.index_put((of_rows,), x, accumulate=True)):
            assert found.numpy().tobytes() == wanted.tobytes()
        wanted = table.copy()
        np.add.at(wanted, line, np.float32(0.1))
        assert y.index_put((of_rows,), fg.tensor(0.1), accumulate=True).numpy().tobytes() == wanted.tobytes()
        spread = fg.from_numpy(values.astype(np.int16).repeat(2, 1))[:, ::2]
        wanted = np.zeros((size, columns), np.int16)
        np.add.at(wanted, line, spread.numpy())
        assert (fg.zeros(size, columns, dtype=fg.int16).index_add(0, of_rows, spread).numpy() == wanted).all()
        index[rows - 1, columns - 1] = size
        with pytest.raises((IndexError, RuntimeError)):
            y.scatter_add_(0, index, x)
        assert (y.numpy() == table).all()


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "uint8"])
def test_integers_are_divided_as_by_python(dtype):
    draw, of = np.random.default_rng(0), np.iinfo(dtype)
    ends = np.array([of.min, of.min + 1, 0, 1, 2, of.max - 1, of.max], dtype)
    a = np.concatenate([np.repeat(ends, len(ends)), draw.integers(of.min, of.max, 50_000, dtype)])
    b = np.concatenate([np.tile(ends, len(ends)), draw.integers(of.min, of.max, 50_000, dtype)])
    b = np.where(b == 0, np.array(3, dtype), b)
    x, y = fg.from_numpy(a), fg.from_numpy(b)
    # The least number by -1 is the least number again.
    bits = lambda numbers: np.array(numbers, dtype=object) & (2**64 - 1)  # noqa: E731
    pairs = list(zip(a.tolist(), b.tolist()))
    wraps = lambda numbers: bits(numbers).astype(np.uint64).astype(dtype)  # noqa: E731
    assert (x // y).numpy().tobytes() == wraps([p // q for p, q in pairs]).tobytes()
    assert (x % y).numpy().tobytes() == wraps([p % q for p, q in pairs]).tobytes()
    cut = [abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1) for p, q in pairs]
    assert fg.div(x, y, rounding_mode="trunc").numpy().tobytes() == wraps(cut).tobytes()


def test_a_zero_among_divisors_is_found_wherever_it_lies():
    x = fg.ones(100_000, dtype=fg.int64)
    for at in (0, 40_000, 99_999):
        y = fg.ones(100_000, dtype=fg.int32)
        y[at] = 0
        for divisor in (y, y.reshape(250, 400).t(), y.flip(0)):
            for f in (fg.floor_divide, fg.remainder, fg.fmod):
                with pytest.raises(RuntimeError, match="ZeroDivisionError"):
                    f(x.reshape(divisor.shape), divisor)
    # What is between the elements of a view is none of them.
    assert (x[:50_000] // fg.tensor([1, 0] * 50_000)[::2]).eq(1).all()
    assert (fg.ones(3, 0, dtype=fg.int64) // fg.tensor(0)).shape == (3, 0)


@pytest.mark.parametrize("n", [7, 5000, 300_000])
@pytest.mark.parametrize("dtype", [fg.float32, fg.float64, fg.int64])
def test_a_scaled_sum_in_place_is_that_out_of_place(n, dtype):
    draw = np.random.default_rng(0)
    x, y = (fg.from_numpy(draw.uniform(-9, 9, n)).to(dtype) for _ in range(2))
    for other in (y, y[:1], y.flip(0)):
        wanted, z = fg.add(x, other, alpha=3), x.clone()
        assert z.add_(other, alpha=3).tolist() == wanted.tolist() == z.tolist()
        wanted, z = fg.sub(x, other, alpha=3), x.clone()
        assert z.sub_(other, alpha=3).tolist() == wanted.tolist()
    z = x.clone()
    assert z.add_(z, alpha=2).tolist() == fg.add(x, x, alpha=2).tolist()
    z = x.clone()
    fg.where(x > 0, y, z, out=z)
    assert z.tolist() == fg.where(x > 0, y, x).tolist()


@pytest.mark.parametrize("dtype", [fg.uint8, fg.int16, fg.float32, fg.float64])
@pytest.mark.parametrize("inner", [2, 15, 16, 33, 100])
def test_copies_of_rows(inner, dtype):
    x = numbers((9, 40, 30, inner), low=0, high=200).to(dtype)
    wanted = x.numpy().transpose(0, 2, 1, 3)
    assert (x.transpose(1, 2).contiguous().numpy() == wanted).all()
    assert (x.flip(1).transpose(1, 2).reshape(9, -1).numpy() == wanted[:, :, ::-1].reshape(9, -1)).all()
    assert (x[:, ::2, 1:, : inner - 1].contiguous().numpy() == x.numpy()[:, ::2, 1:, : inner - 1]).all()


def test_incomplete_gamma_functions_of_small_numbers_are_shares():
    a, x = (fg.tensor(t.astype("float32")) for t in np.meshgrid(np.geomspace(1 / 32, 64, 50), np.geomspace(1e-40, 1, 200)))
    lower, upper = fg.special.gammainc(a, x), fg.special.gammaincc(a, x)
    assert ((lower >= 0) & (lower <= 1) & (upper >= 0) & (upper <= 1)).all()
    np.testing.assert_allclose(lower + upper, np.ones(lower.shape), atol=2e-7)
    assert fg.special.gammainc(fg.tensor([58.38, 20.0]), fg.tensor([4.165e-6, 1e-20])).tolist() == [0, 0]
