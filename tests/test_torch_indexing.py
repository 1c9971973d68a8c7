"""Indexing, gather and scatter, masks, and what they do in place: equal to torch in values, gradients and errors."""

import warnings

import numpy as np
import pytest

from compared import check, fg, names, same_gradients, same_value, torch

SELECTED = """
x.gather(0, g)
x.gather(1, g)
x.t().gather(1, g[:, :4])
x.gather(0, g.int())
x.gather(0, T.zeros(0, 3, dtype=T.int64))
x.gather(1, T.zeros(2, 3, dtype=T.int64).t()[:2])
z.gather(0, T.tensor([0, 0]))
row.gather(0, T.tensor(2))
x.gather(0, T.tensor([[5, 0]]))
x.gather(0, T.tensor([[-1, 0]]))
x.gather(0, g.float())
x.gather(0, T.tensor([0, 1]))
x.gather(2, g)
x.gather(0, T.zeros(3, 7, dtype=T.int64))
x.take_along_dim(g[:1], 0)
x.take_along_dim(g[:, :1].t() - 4, 0)
x.take_along_dim(T.tensor([[0], [1], [2], [-1]]), 1)
x.take_along_dim(i)
x.take_along_dim(T.tensor([0]), 1)
x.take_along_dim(g.int(), 0)
x.scatter(0, g, x[:2] * 2)
x.scatter(0, g, 2.0)
x.scatter(0, g, value=2)
x.scatter(1, g, x[:2] * x[2:])
x.t().scatter(0, g.t(), 1.0)
z.scatter(0, T.tensor(0), 2.0)
v.scatter(0, T.tensor([0]), 2.5)
v.scatter(0, T.tensor([0]), T.tensor([2.5]))
x.scatter(0, T.tensor([[5]]), 1.0)
x.scatter(0, T.tensor([0]), 1.0)
x.scatter(0, T.zeros(1, 7, dtype=T.int64), 1.0)
x.scatter(0, g, x[:1])
x.scatter(0, g, z)
f.scatter(0, T.tensor([[0, 0], [0, 1]]), f, reduce='add')
f.scatter(0, T.tensor([[0, 0], [0, 1]]), 3.0, reduce='multiply')
f.scatter(0, T.tensor([[0, 0], [0, 1]]), 3.0, reduce='mean')
x.scatter_add(0, g, x[:2] * 2)
x.scatter_add(1, g, x[:2] * x[2:])
x.scatter_add(0, T.zeros(4, 2, dtype=T.int64), x[:, :2])
x.scatter_add(0, g, x.float())
x.scatter_add(0, g, 1.0)
(x > 0).scatter_add(0, g, x[:2] > 0.5)
x.scatter_reduce(0, g, x[:2] * 2, 'sum')
x.scatter_reduce(0, g, x[:2] * 2, 'prod')
x.scatter_reduce(0, g, x[:2] * 2, 'mean')
x.scatter_reduce(0, g, x[:2] * 2, 'amax')
x.scatter_reduce(0, g, x[:2] * 2, 'amin')
x.scatter_reduce(0, g, x[:2] * 2, 'sum', include_self=False)
x.scatter_reduce(0, g, x[:2] * 2, 'prod', include_self=False)
x.scatter_reduce(0, g, x[:2] * 2, 'mean', include_self=False)
x.scatter_reduce(0, g, x[:2] * 2, 'amax', include_self=False)
x.scatter_reduce(0, g, x[:2] * 2, 'amin', include_self=False)
v.scatter_reduce(0, T.tensor([0, 0]), T.tensor([-3, -4]), 'mean')
v.scatter_reduce(0, T.tensor([0, 0]), T.tensor([3, 4]), 'amin', include_self=False)
v.scatter_reduce(0, T.tensor([0, 0]), T.tensor([3, 4]), 'prod')
x.scatter_reduce(0, g, x[:2], 'median')
x.index_select(0, i)
x.index_select(1, i)
x.t().index_select(0, i)
cube.index_select(1, T.tensor([2, 0]))
x.index_select(0, T.tensor(1))
x.index_select(0, T.tensor([1], dtype=T.int32))
z.index_select(0, T.tensor([0]))
x.index_select(0, T.tensor([4]))
x.index_select(0, T.tensor([[1]]))
x.index_select(0, T.tensor([1.0]))
x.index_select(2, i)
z.index_select(0, T.tensor([0, 0]))
x.index_add(0, i, x * 2)
x.index_add(0, i, x, alpha=3)
x.index_add(1, i, x[:, :4] * 2)
x.t().index_add(1, i, x.t() * 2)
x.index_add(0, i, x[:3])
x.index_add(0, T.tensor([5]), x[:1])
x.index_add(0, T.tensor([-1]), x[:1])
x.index_add(0, T.tensor([0]), x[:1].float())
x.index_add(0, T.tensor(0), x[:1])
v.index_add(0, T.tensor([0]), T.tensor([1]), alpha=2)
x.index_copy(0, i[:2], x[:2] * 2)
x.index_copy(1, i, x[:, :4] * 2)
x.index_copy(0, T.tensor([0]), x[1:])
x.index_copy(0, T.tensor([5]), x[:1])
x.index_copy(0, T.tensor([0]), x[:1].float())
x.index_fill(0, i, 7)
x.index_fill(1, T.tensor([-1, 0]), 7)
x.index_fill(0, i, z)
v.index_fill(0, T.tensor([0]), 2.5)
x.index_fill(0, T.tensor([5]), 7)
x.index_fill(0, T.tensor([0]), T.tensor([1.0]))
x.index_reduce(0, i, x * 2, 'prod')
x.index_reduce(0, i, x * 2, 'mean')
x.index_reduce(0, i, x * 2, 'amax')
x.index_reduce(0, i, x * 2, 'amin', include_self=False)
x.index_reduce(0, i, x * 2, 'sum')
x.take(T.tensor([0, 5, -1]))
x.take(T.tensor([[0, 5], [5, 5]]))
x.t().take(T.tensor([1, 2]))
x.take(T.tensor(3))
z.take(T.tensor([0]))
x.take(T.tensor([24]))
x.take(T.tensor([0], dtype=T.int32))
x.take(T.tensor([0.0]))
x.put(T.tensor([0, 5]), row[:2])
x.put(T.tensor([0, 0]), row[:2], accumulate=True)
x.put(T.tensor([-1]), row[:1])
x.put(T.tensor([24]), row[:1])
x.put(T.tensor([0, 1]), row[:1])
x.put(T.tensor([0]), T.tensor([1]))
x.masked_fill(mask, 1)
x.masked_fill(mask, z)
x.masked_fill(mask[:1], 2.5)
row.masked_fill(mask, 1)
z.masked_fill(mask, 1)
v.masked_fill(v > 1, 2.5)
v.masked_fill(v > 1, T.tensor(2.5))
v.masked_fill(v > 1, float('inf'))
(v > 1).masked_fill(v > 1, 0)
x.masked_fill(mask, row)
x.masked_fill(x, 1)
x.masked_fill(mask.to(T.uint8), 1)
x.masked_select(mask)
x.masked_select(mask[:1])
row.masked_select(mask)
z.masked_select(T.tensor(True))
x.masked_select(x)
x.masked_select(mask[:2])
x.masked_scatter(mask, x * 2)
x.masked_scatter(mask[:1], x * 2)
row.masked_scatter(mask, x * 2)
x.masked_scatter(mask, row[:2])
x.masked_scatter(mask, x.float())
x.masked_scatter(x, x)
T.nonzero(x > 0)
T.nonzero(x > 0, as_tuple=True)
T.nonzero(z)
T.nonzero(z, as_tuple=True)
T.nonzero(T.tensor(0.0))
T.nonzero(T.zeros(0, 3))
T.argwhere(cube > 0.5)
T.nonzero(T.tensor([float('nan'), 0.0]))
T.where(mask)
T.where(z)
T.where(mask, x, 0.0)
T.where(mask, 0, x)
T.where(mask, 1, 0)
T.where(mask, x, z)
T.where(mask, x)
T.where(x, x, x)
x.where(mask, 0)
x.where(mask, z)
x.count_nonzero()
x.count_nonzero(0)
x.count_nonzero((0, 1))
x.count_nonzero(5)
x.index_put((i, i), row[:4])
x.index_put((i,), row)
x.index_put((i, i), row[:4], accumulate=True)
x.index_put([i], z, accumulate=True)
x.index_put((mask,), z)
x.index_put((i,), T.tensor(1))
x.index_put((i,), row[:3])
x.index_put((T.tensor([5]),), z)
x.index_put((0,), z)
"""

INDEXED = """
x[0]
x[-1, 2]
x[1:3]
x[::2, 1::3]
x[:, None, 2]
x[..., 0]
x[0, ...]
x[None]
x[True]
x[False]
x[i]
x[:, i]
x[i, i]
x[i, 2]
x[2, i]
x[i[:, None], i]
x[i, :3]
cube[:, T.tensor([0, 2]), T.tensor([1, 3])]
cube[T.tensor([0, 1]), :, T.tensor([1, 3])]
cube[T.tensor([0, 1]), None, T.tensor([1, 3])]
cube[T.tensor([0, 1]), ..., 2]
cube[0, :, T.tensor([1, 3])]
cube[:, 1, T.tensor([1, 3])]
cube[T.tensor([[0], [1]]), T.tensor([1, 2])]
cube[..., T.tensor([1, 3])]
cube[1:, T.tensor([0, 2]), ::2]
x[T.tensor(1)]
x[T.tensor(-1), T.tensor(2)]
x[T.tensor([-1, -4])]
x[T.tensor([], dtype=T.int64)]
x[i.int()]
x[mask]
x[mask[:, 0]]
x[:, mask[0]]
x[mask[:, 0], 1]
x[mask[:, 0], mask[0]]
cube[mask[:2, :3]]
cube[:, mask[:3, :4]]
x[T.tensor([True, False, True, True]), 2:]
x[z > 0]
x[z > 5]
x[[0, 2]]
x[[0, 2], [1, 3]]
x[[0, 2], :]
x[[True, False, True, False]]
x[[[0, 1], [2, 3]]]
x[(0, 1)]
x[[0, -1], ..., None]
x[range(2)]
x[np.array([0, 2])]
x[np.array([True, False, True, False])]
x[np.int64(1)]
x[:, np.array([0, 2])]
x[mask.to(T.uint8)]
x[[]]
x[()]
x[..., None]
z[None]
z[...]
z[()]
z[True]
z[None, None]
x[0][1][...]
x[1:1]
x[5:2]
x[-100:100]
x[4]
x[-5]
x[0, 6]
x[0, 0, 0]
z[0]
x[::-1]
x[::0]
x[1.0]
x['a']
x[T.tensor([4])]
x[T.tensor([1.0])]
x[i, i[:3]]
x[mask[:, :3]]
x[mask[:3]]
x[:, 2:'a']
x[{}]
x[i, None, i]
cube[T.tensor([[0, 1]]), :, T.tensor([[1], [3]])]
x.t()[i]
x.t()[:, i]
x[:, ::2][:, T.tensor([0, 2])]
x[[T.tensor(0), T.tensor(1)]]
x[[slice(0, 2), 1]]
x[[None, 0]]
x[[0, 1]]
x[[[0, 1]]]
x[[i, i]]
x[[0, T.tensor(1)]]
x[[np.array([0, 1]), np.array([2, 3])]]
x[[0] * 32]
x[[[0]] * 33]
x[(range(2),)]
x[T.tensor(True)]
x[T.tensor(1, dtype=T.uint8)]
x[np.array(1)]
x[np.array(True)]
x[2**70:]
x[T.tensor(1):T.tensor(3)]
x[1.0:2]
x[..., ...]
x[(0,), 1]
x[None, ..., None, 0]
x[T.tensor([[True, False, True, False]])]
x[T.Size([0, 1])]
x[..., True]
x[True, True]
x[True, T.tensor([0, 1])]
x[T.tensor([0, 1]), True]
"""


def lines(*tables: str) -> list:
    return [line for table in tables for line in table.splitlines() if line]


@pytest.mark.parametrize("text", lines(SELECTED))
def test_selection(text):
    check(text, nodes="'sum'" not in text and "'mean'" not in text)


@pytest.mark.parametrize("text", lines(INDEXED))
def test_index(text):
    check(text)


#: Statements on `y`, a result, and what else they read: changes in place.
CHANGES = """
y[0] = 5
y[1:3, 2] = x[0, :2]
y[..., 1] = x[:, 0]
y[i] = x * 2
y[i] = 3
y[i, i] = x[:, 1]
y[:, i] = x[:, :4]
y[:, i] = x[:, :1]
y[mask] = 0
y[mask] = x[mask] * 2
y[mask[:, 0]] = row
y[mask] = z
y[None, 0] = row
y[T.tensor([], dtype=T.int64)] = 1
y[0] += 1
y[0] += x[1]
y[i] += 1
y[i, i] += x[:, 1]
y[mask] *= 2
y[1:, ::2] -= x[1:, ::2]
y[:, 0] *= y[:, 1]
y[0, 0] += z
y[0:2][0] = row
y[[0, 2]] = row
y[np.array([0, 2])] = row
y[i] = T.tensor([[2]])
y[mask] = T.tensor(2)
y[mask] = T.tensor([2, 3])
y[0] = T.tensor(2)
y[0] = T.tensor([1, 2, 3, 4, 5, 6])
y[2] = True
y[0, 1] = x[2, 2]
y[:] = x.flip(0)
y[...] = z
y[1] = y[0]
y[1:3] = y[0:2] * 1
y.t()[1] = x[:, 0]
y.view(24)[5:9] = x[:, 0]
y.diagonal().copy_(row[:4])
y.diagonal(1).mul_(2)
y.unfold(0, 2, 2)[0].fill_(3)
y.unflatten(1, (2, 3))[:, 0].mul_(x[:, :3])
y[0].unsqueeze_(0).mul_(2)
y.t_().mul_(2)
y.transpose_(0, 1)[0].mul_(x[:, 0])
y.unsqueeze_(1).squeeze_().mul_(x)
y.swapaxes_(0, 1).add_(1)
y.as_strided_((2, 3), (6, 1)).mul_(3)
y.tril_()
y.triu_(1)
y.fill_(3)
y.fill_(z)
y.zero_()
y.index_add_(0, i, x, alpha=2)
y.index_copy_(0, i[:2], x[:2] * 2)
y.index_fill_(1, i, 3)
y.index_fill_(1, i, z)
y.index_reduce_(0, i, x * 3, 'prod')
y.index_put_((i, i), row[:4])
y.index_put_((i, i), row[:4], accumulate=True)
y.scatter_(0, g, x[:2] * 2)
y.scatter_(0, g, 3.0)
y.scatter_add_(0, g, x[:2] * 2)
y.scatter_reduce_(0, g, x[:2] * 2, 'amax')
y.put_(T.tensor([1, 3]), row[:2])
y.put_(T.tensor([1, 1]), row[:2], accumulate=True)
y.masked_fill_(mask, 2)
y.masked_fill_(mask, z)
y.masked_scatter_(mask, x * 2)
y[1].index_add_(0, i, row[:4])
y[1:, 1:].scatter_add_(1, g[:, :5].clamp(max=4), x[:2, :5])
y[:, ::2].masked_fill_(mask[:, ::2], 7)
y.split(2)[0].mul_(2)
y.tensor_split(2)[0].mul_(2)
y.unbind()[0].mul_(2)
y.chunk(2)[1].add_(1)
y.expand(2, 4, 6).mul_(2)
y[0].expand(3, 6).add_(1)
y.detach().mul_(2)
leaf.mul_(2)
leaf[0].mul_(2)
leaf[0] = 1
leaf.t_()
y[4] = 0
y[:, 0, 0] = 1
y[i] = x[:3]
y[0] = x
y[mask] = row[:2]
y[::-1] = 0
y[1.5] = 0
y[T.tensor([9])] = 0
y[i] = y
y[1:] = y[:-1]
y.copy_(y[:1])
y[0].copy_(x)
y.view(24)[1:].copy_(y.view(24)[:-1])
y.view(24)[1:].add_(y.view(24)[:-1])
y.scatter_(0, g, y[:2])
y.index_add_(0, i, y)
y.resize_(3)
y.detach().set_(x)
y.masked_fill_(mask[:2], 1)
y[:1].masked_fill_(mask, 1)
y.index_copy_(0, i, y)
y.unsafe_split(2)[0].mul_(2)
"""


def after(T, text: str, requires_grad: bool):
    """What a change in place makes of a result, and the names it was made with; or the exception."""
    known = names(T, requires_grad)
    known["y"] = known["x"] * 1.5
    before = known["y"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(text, known)
    except Exception as error:  # noqa: BLE001 - what it is will be compared
        return error, known
    assert known["y"] is before or " = " in text or "= " in text
    return known["y"], known


@pytest.mark.parametrize("text", lines(CHANGES))
@pytest.mark.parametrize("requires_grad", [False, True])
def test_change_in_place(text, requires_grad):
    ours, our_names = after(fg, text, requires_grad)
    theirs, their_names = after(torch, text, requires_grad)
    if isinstance(theirs, Exception):
        assert type(ours).__name__ == type(theirs).__name__, f"{text}: {theirs!r} and {ours!r}"
        return
    if isinstance(ours, Exception):
        raise AssertionError(f"{text}: {ours!r}") from ours
    same_value(ours, theirs, text)
    if requires_grad:
        same_gradients(ours, theirs, our_names["leaf"], their_names["leaf"], text)


def test_views_without_recording_are_refused():
    """A view made while nothing is recorded has no history to rewrite."""
    for T in (fg, torch):
        y = T.ones(3, requires_grad=True) * 1
        with T.no_grad():
            view = y[0:2]
        with pytest.raises(RuntimeError):
            view.mul_(2)
        with T.no_grad():
            view.mul_(2)
        assert y.tolist() == [2, 2, 1]
        several = (T.ones(4, requires_grad=True) * 1).split(2)
        with pytest.raises(RuntimeError):
            several[0].mul_(2)


def test_indices_changed_after_use_are_noticed():
    for T in (fg, torch):
        for use in (lambda x, i: x[i], lambda x, i: x.index_select(0, i), lambda x, i: x.gather(0, i)):
            x, i = T.ones(3, requires_grad=True), T.tensor([0, 2])
            y = use(x, i)
            i += 0
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                y.sum().backward()


def test_layouts_changed_in_place():
    for T in (fg, torch):
        x = T.arange(6.0)
        view = x[2:4]
        assert view.resize_(3).tolist() == [2, 3, 4] and view.storage_offset() == 2
        y = T.arange(6.0)
        assert y.resize_(2, 2) is y and y.tolist() == [[0, 1], [2, 3]]
        assert y.resize_(8)[:4].tolist() == [0, 1, 2, 3]
        y.resize_as_(T.zeros(2, 3))
        assert y.shape == (2, 3)
        z, w = T.zeros(3), T.arange(8.0)
        assert z.set_(w) is z and z.is_set_to(w)
        w[0] = 9
        assert z[0] == 9
        z.set_(w, 2, (2, 2), (2, 1))
        assert z.tolist() == [[2, 3], [4, 5]]
        assert z.set_().numel() == 0
        with pytest.raises(RuntimeError):
            z.set_(T.zeros(3, dtype=T.int64))
        with pytest.raises(RuntimeError):
            T.zeros(3, requires_grad=True).resize_(2)
        leaf = T.zeros(2, 3, requires_grad=True)
        with T.no_grad():
            leaf.t_()
        assert leaf.shape == (3, 2) and leaf.is_leaf and leaf.requires_grad
        before = (T.ones(2, 3, requires_grad=True) * 1).exp()
        before.t_()
        assert before._version == 1 and before.grad_fn.name() == "TBackward1"


def test_lists_and_arrays_are_assigned():
    y = fg.zeros(2, 3)
    y[0] = [1, 2, 3]
    y[1, 1:] = np.array([4, 5])
    y[:, fg.tensor([0])] = [[7], [8]]
    assert y.tolist() == [[7, 2, 3], [8, 4, 5]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sums_at_indices_do_not_depend_on_threads(threads):
    rng = np.random.default_rng(3)
    index = fg.tensor(rng.integers(0, 50, 200_000))
    values = fg.tensor(rng.normal(size=200_000).astype("float32"))
    rows = fg.tensor(rng.normal(size=(2000, 100)).astype("float32"))
    before = fg.get_num_threads()
    fg.set_num_threads(threads)
    try:
        flat = fg.zeros(50).scatter_add(0, index, values)
        wide = fg.zeros(50, 100).index_add(0, index[:2000], rows)
        put = fg.zeros(50).index_put((index,), values)
    finally:
        fg.set_num_threads(before)
    expected = np.zeros(50, "float32")
    for i, value in zip(index.tolist(), values.numpy()):
        expected[i] += value
    assert (flat.numpy() == expected).all()
    sums = np.zeros((50, 100), "float32")
    np.add.at(sums, index[:2000].numpy(), rows.numpy())
    assert (wide.numpy() == sums).all()
    last = np.zeros(50, "float32")
    last[index.numpy()] = values.numpy()
    assert (put.numpy() == last).all()


WRONG_INDICES = {
    "no step": slice(None, None, 0), "backwards": slice(None, None, -1), "a step": slice(None, None, 2), "text": "a", "list": [0, "a"],
    "two ellipses": (..., ...), "an index behind two": (..., ..., 0), "indices behind two": (..., ..., [0]), "before two": (0, ..., ...),
    "a whole slice behind two": (..., ..., slice(None)), "all of it": (..., ..., slice(0, None, 1)), "a part behind two": (..., ..., slice(1, None)),
    "new behind two": (..., ..., None), "new and whole": (..., ..., None, slice(None)),
    "a mask and no step": ([True], slice(0, 2, 0)), "no step and a mask": (slice(0, 2, 0), [True]), "a mask and text": ([True], "a"),
    "two masks": ([True], [True]), "false in a tuple": (False,), "true in a tuple": (True,), "NumPy's number and text": (np.int64(1), "a", 0),
    "a wrong index first": (9, "a"), "a slice of text behind it": (9, slice("a", None)), "text first": ("a", 9), "a float": 1.5,
}


@pytest.mark.parametrize("shape", [(), (2, 3)])
@pytest.mark.parametrize("index", WRONG_INDICES)
def test_what_is_wrong_about_an_index_is_told_in_torchs_order(index, shape):
    def program(T):
        found = []
        for use in (lambda x, i: x[i].shape, lambda x, i: x.__setitem__(i, 5.0), lambda x, i: x.__setitem__(i, T.ones(1))):
            x = T.zeros(shape)
            try:
                found.append(use(x, WRONG_INDICES[index]))
            except Exception as error:  # noqa: BLE001 - its class is compared
                found.append(type(error))
            found.append(x.tolist())
        return found

    assert program(fg) == program(torch)


@pytest.mark.parametrize("index", ["T.tensor([0.0])", "T.tensor([0], dtype=T.int32)", "T.tensor([True])", "T.tensor([[0]])", "T.tensor([0, 9])"])
def test_index_fill_looks_at_its_index_before_it_writes(index):
    for T in (fg, torch):
        x = T.zeros(2, 3)
        with pytest.raises((IndexError, RuntimeError)) as error:
            x.index_fill_(0, eval(index), 5.0)  # noqa: S307 - indices of this file
        assert error.type is IndexError or "[[" in index
    x = fg.zeros(2, 3)
    with pytest.raises(IndexError):
        x.index_fill_(0, fg.tensor([0, 9]), 5.0)
    assert x.eq(0).all() and x._version == 0


def test_numbers_too_large_for_integers_are_floats_where_floats_are_asked_for():
    for T in (fg, torch):
        assert T.nn.functional.pad(T.zeros(1), (1, 0), value=2**64).tolist() == [2.0**64, 0.0]
        assert T.rsub(T.ones(2), 1, 2).tolist() == [-1.0, -1.0]
        with pytest.raises(RuntimeError):
            T.nn.functional.pad(T.zeros(1, dtype=T.int64), (1, 0), value=2**64)
