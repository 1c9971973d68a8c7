"""Maps over examples, held against torch.func.vmap: nested values, dimensions, chunks, random numbers, assignment to indices."""

import collections
import itertools
from functools import partial

import numpy as np
import pytest
from test_func import BATCH, RNG, agree, fail_alike
from trees import same

import ferrograd as fg
from ferrograd import func as fgf

Pair = collections.namedtuple("Pair", ["first", "second"])


def test_maps_over_nested_values():
    f = lambda t: {"sum": t["a"] + t["b"][0], "more": [t["b"][1] * 2, (t["a"].sum(),)]}
    value = lambda x: {"a": x, "b": (x * 2, x[..., 0])}
    agree(lambda T, F, x: F.vmap(f)(value(x)), BATCH)
    agree(lambda T, F, x: F.vmap(f, ({"a": 0, "b": (None, 0)},))({"a": x, "b": (x[0], x[:, 0])}), BATCH)
    agree(lambda T, F, x: F.vmap(f, ({"a": 0, "b": 0},), {"sum": 1, "more": [0, (0,)]})(value(x)), BATCH)
    agree(lambda T, F, x: F.vmap(lambda p: Pair(p.first * p.second, p.first))(Pair(x, x + 1)), BATCH)
    assert isinstance(fgf.vmap(lambda p: Pair(p.first, p.second))(Pair(fg.ones(2), fg.ones(2))), Pair)
    agree(lambda T, F, x: F.vmap(lambda x, n, s: x * n, (0, None, None))(x, 3, "text"), BATCH)
    agree(lambda T, F, x: F.vmap(lambda x, none: x if none is None else x * 2, (0, None))(x, None), BATCH)
    agree(lambda T, F, x: F.vmap(lambda x: (x, 3, None), out_dims=(0, None, None))(x), BATCH)
    agree(lambda T, F, x: F.vmap(lambda x: x.max(0))(x), BATCH)
    agree(lambda T, F, x: F.vmap(lambda x: collections.OrderedDict(b=x, a=x * 2))(x), BATCH)
    agree(lambda T, F, x: F.vmap(partial(T.mul, T.tensor(2.0, dtype=T.float64)))(x), BATCH)


def test_results_are_not_written_into_examples():
    x = fg.ones(2, 3)
    for out in (lambda x: x, lambda x: fg.ones(3)):
        with pytest.raises(NotImplementedError, match="Batching rule not implemented"):
            fg.vmap(lambda x: fg.abs(x, out=out(x)))(x)


def test_examples_do_not_outlive_their_map():
    found = []
    fg.vmap(lambda x: (found.append(x), x)[1])(fg.ones(3))
    for use in (lambda x: x + 1, lambda x: x.sin(), lambda x: fg.stack([x, x]), lambda x: x.mul_(2), lambda x: fg.ones(3) @ x):
        with pytest.raises(RuntimeError, match="your tensor may have escaped from inside a function being vmapped"):
            use(found[0])
    assert "BatchedTensor" in repr(found[0])
    for use in (lambda x: x + 1, lambda x: x.sin()):
        fg.vmap(lambda y: use(y))(fg.ones(3))


def test_dimensions_of_maps():
    matrices = RNG.normal(size=(2, 3, 4))
    for dim, out in itertools.product([0, 1, 2, -1, -3], [0, 1, 2, -1, -2]):
        agree(lambda T, F, x: F.vmap(lambda x: T.sin(x) * x.sum(), dim, out)(x), matrices)
    agree(lambda T, F, x: F.vmap(lambda a, b: a @ b, (0, 2), -1)(x, x.reshape(4, 3, 2)), matrices)
    agree(lambda T, F, x: F.vmap(lambda a, b: a @ b, (None, 0))(x[0], x.reshape(3, 4, 2)), matrices)
    agree(lambda T, F, x: F.vmap(F.vmap(F.vmap(T.sin, 0, 0), 1, 1), -1, 0)(x), matrices)
    agree(lambda T, F, x: F.vmap(lambda a: F.vmap(lambda b: a @ b)(x[0]))(x[1]), matrices)
    agree(lambda T, F, x: F.vmap(lambda a: T.ones(3))(x), matrices)
    agree(lambda T, F, x: F.vmap(lambda a: (a, T.ones(2)), out_dims=(1, 1))(x), matrices)


def test_chunks_of_maps():
    data = RNG.normal(size=(7, 3))
    f = lambda T: lambda x, y: {"a": T.sin(x) * y, "b": (x.sum(), x[:, None] * y)}
    for size in (1, 2, 3, 7, 10):
        agree(lambda T, F, x, y: F.vmap(f(T), (0, None), chunk_size=size)(x, y), data, data[0])
        agree(lambda T, F, x, y: F.vmap(f(T), (1, None), {"a": 1, "b": (0, -1)}, chunk_size=size)(x.t(), y), data, data[0])
    rows = []
    fgf.vmap(lambda x: (rows.append(1), x)[1], chunk_size=3)(fg.tensor(data))
    assert len(rows) == 3
    fail_alike(lambda T, F, x: F.vmap(T.sin, chunk_size=0), data, message="chunk_size should be None or greater than 0")


def test_randomness_of_maps():
    def drawn(randomness, **options):
        fg.manual_seed(0)
        return fgf.vmap(lambda x: x + fg.randn(2), randomness=randomness, **options)(fg.zeros(4, 1)).tolist()

    fg.manual_seed(0)
    first = fg.randn(2).tolist()
    assert drawn("same") == drawn("same", chunk_size=3) == [first] * 4
    assert len({tuple(row) for row in drawn("different")}) == 4
    fail_alike(lambda T, F: F.jacfwd(lambda x: x, randomness="some")(T.zeros(4)), message="randomness")
    fail_alike(lambda T, F: F.jacfwd(lambda x: x)(T.tensor([1, 2])), message="floating point")
    for x, randomness in (("zeros(4)", "error"), ("zeros(4)", "some")):
        fail_alike(lambda T, F: F.vmap(lambda x: T.rand(2), randomness=randomness)(T.zeros(4)), message="randomness")
    torch = pytest.importorskip("torch")
    for T, F in ((fg, fgf), (torch, torch.func)):
        T.manual_seed(0)
    assert fgf.vmap(lambda x: fg.rand(2), randomness="different")(fg.zeros(4)).shape == (4, 2)


#: The index, the value, the dimensions of the tensor, and whether torch does the same (some forms are errors there, and
#: one takes the value in the wrong order).
ASSIGNMENTS = {
    "a number": (lambda i: i, lambda x: 5.0, 3, True),
    "one element": (lambda i: i, lambda x: x[0, 0, 0] * 2, 3, True),
    "rows": (lambda i: i, lambda x: x[:2] * 2, 3, True),
    "columns": (lambda i: (slice(None), i), lambda x: x[:, :2] * 3, 2, False),
    "slice and tensor": (lambda i: (slice(1, None), i), lambda x: x[1:, :2] ** 2, 2, False),
    "two": (lambda i: (i, i), lambda x: x[:2, 0] * 2, 2, True),
    "apart": (lambda i: (i, slice(None), i), lambda x: x[:2, :, 0] * 2, 3, True),
    "negative": (lambda i: i - 3, lambda x: x[:2] * 2, 3, True),
    "ellipsis": (lambda i: (..., i), lambda x: x[..., :2] * 2, 3, False),
    "none": (lambda i: (None, i), lambda x: x[:2] * 2, 3, False),
    "integer": (lambda i: (1, i), lambda x: x[0, :2] * 2, 3, True),
    "leading ones": (lambda i: i, lambda x: (x[:2] * 2)[None, None], 3, False),
}


@pytest.mark.parametrize("form", ASSIGNMENTS)
def test_assignment_to_indices_in_a_map(form):
    index, value, rank, is_torchs = ASSIGNMENTS[form]

    def change(x, i):
        y = x * 1
        y[index(i)] = value(x)
        return y

    data = RNG.normal(size=(4, 3, 3, 3)[: rank + 1])
    indices = np.array([[0, 2], [1, 0], [2, 1], [0, 1]])
    weights = fg.tensor(RNG.normal(size=data.shape[1:]))
    x, i = fg.tensor(data), fg.tensor(indices)
    for f in (change, fgf.grad(lambda x, i: (change(x, i) * weights).pow(2).sum())):
        same(fgf.vmap(f)(x, i), fg.stack([f(a, b) for a, b in zip(x, i)]))
        same(fgf.vmap(f, (0, None))(x, i[1]), fg.stack([f(a, i[1]) for a in x]))
    nested = fgf.vmap(lambda j: fgf.vmap(lambda a: change(a + j.sum() * 0, j))(x))(i)
    same(nested, fg.stack([fg.stack([change(a, j) for a in x]) for j in i]))
    if is_torchs:
        agree(lambda T, F, x, i: F.vmap(change)(x, i), data, indices)


def test_assignment_to_a_single_index_and_to_a_shared_mask():
    def put(T, x, i):
        y = x * 1
        y[i] = x.sum()
        y[T.tensor([True, False, True])] = y[:2] * 2
        return y

    agree(lambda T, F, x, i: F.vmap(lambda x, i: put(T, x, i))(x, i), RNG.normal(size=(2, 3)), np.array([0, 2]))
    agree(lambda T, F, x, i: F.vmap(lambda x, i: x[i])(x, i), RNG.normal(size=(2, 3)), np.array([0, 2]))


def test_what_lies_where_it_did_is_given_back():
    """An argument that was changed in place is the result, as in torch."""
    x = fg.ones(2, 3)
    assert fg.vmap(lambda x: x.sin_())(x) is x and fg.vmap(lambda x: x)(x) is x
    assert fg.vmap(fg.vmap(lambda x: x.mul_(2)))(x) is x
    assert fg.vmap(lambda x: x.mul_(2), out_dims=1)(x)._base is x
    assert fg.vmap(lambda x: x * 1)(x) is not x


def test_vectors_of_no_elements_are_joined_to_anything():
    some, none = RNG.normal(size=(5, 2, 3)), np.zeros((5, 0))
    cat = lambda dim: lambda T, F, *t: F.vmap(lambda *t: T.cat(t, dim))(*t)
    agree(cat(1), some, none)
    agree(cat(-1), none, some, none, some)
    agree(cat(0), none, none)
    agree(cat(0), some[:, 0], none)
    agree(lambda T, F, x, e: F.vmap(lambda x, e: T.cat([x, e], 1), (None, 0))(x, e), some[0], none)
    agree(lambda T, F, x, e: F.vmap(lambda x, e: T.cat([x, e], 1), (0, None))(x, e), some, none[0])
    agree(lambda T, F, x, e: F.vmap(lambda x, e: T.cat([x, e.to(T.float64)], 1))(x.to(T.float32), e), some, none)
    agree(lambda T, F, x, e: F.grad(lambda x: F.vmap(lambda x, e: T.cat([x, e, x], 1))(x, e).sin().sum())(x), some, none)


def test_a_histogram_of_each_example():
    values = RNG.normal(size=(3, 9))
    agree(lambda T, F, x: F.vmap(lambda x: T.histc(x, 4, -1, 1))(x), values)
    agree(lambda T, F, x: F.vmap(lambda x: T.histc(x, 3))(x), values)
    agree(lambda T, F, x: F.vmap(F.vmap(lambda x: T.histc(x, 2, -1, 1)), 1)(x), RNG.normal(size=(3, 2, 9)))


def test_numbers_of_their_own_need_room_for_each_example():
    p = fg.full((3,), 0.5)
    for draw in (lambda t: t.bernoulli_(p), lambda t: t.bernoulli_(0.5), lambda t: t.normal_()):
        with pytest.raises(RuntimeError, match="different inplace randomness on an unbatched tensor"):
            fg.vmap(lambda t, _: draw(t), (None, 0), randomness="different")(fg.ones(3), fg.ones(2))
        same = fg.vmap(lambda t, _: draw(t), (None, 0), randomness="same")(fg.ones(3), fg.ones(2))
        assert same[0].tolist() == same[1].tolist()


def test_a_view_of_its_own_shape_in_maps_of_maps():
    values = RNG.normal(size=(3, 2, 4))
    agree(lambda T, F, x: F.vmap(F.vmap(lambda x: x.expand_as(x)))(x), values)
    agree(lambda T, F, x: F.vmap(F.vmap(F.vmap(lambda x: x.expand(()))))(x), values)
    agree(lambda T, F, x: F.vmap(F.vmap(lambda x: T.broadcast_to(x, (4,)).sin()), 1)(x), values)


def test_a_number_is_filled_in_once_at_places_that_each_example_names_twice():
    x, v = RNG.normal(size=(2, 3)), RNG.normal(size=2)

    def pulled(T, F, x, v):
        index = T.tensor([[1, 1], [0, 0]])
        return F.vmap(lambda x, i, v: F.vjp(lambda v: x.index_fill(0, i, v), v)[1](T.ones(3, dtype=T.float64))[0])(x, index, v)

    def pushed(T, F, x, v):
        index = T.tensor([[1, 1], [0, 0]])
        return F.vmap(lambda x, i, v: F.jvp(lambda v: x.index_fill(0, i, v), (v,), (T.ones_like(v),))[1])(x, index, v)

    def written(T, F, x, v):
        index = T.tensor([[1, 1], [0, 0]])
        filled = lambda x, i, v: x.clone().index_fill_(0, i, v).sum()
        return F.vmap(F.grad(filled, (0, 2)))(x, index, v)

    agree(pulled, x, v)
    # Of two levels torch fills the places of one example in the other.
    assert pushed(fg, fgf, fg.tensor(x), fg.tensor(v)).tolist() == [[0, 1, 0], [1, 0, 0]]
    below = fg.vmap(fgf.grad(lambda v, x, i: x.index_fill(0, i, v).sum()))(fg.tensor(v), fg.tensor(x), fg.tensor([[0, -3], [2, 1]]))
    assert below.tolist() == [1, 2]
    agree(written, x, v)


def test_histograms_of_examples_between_edges():
    values, weights = RNG.normal(size=(3, 9)), RNG.random((3, 9))
    edges = [-2.0, -0.5, 0.5, 2.0]
    agree(lambda T, F, x: F.vmap(lambda x: T.histogram(x, T.tensor(edges, dtype=T.float64))[0])(x), values)
    agree(lambda T, F, x, w: F.vmap(lambda w: T.histogram(x[0], T.tensor(edges, dtype=T.float64), weight=w)[0])(w), values, weights)


@pytest.mark.parametrize("name", ["addr_", "addmv_", "scatter_reduce_"])
def test_what_is_no_example_takes_nothing_of_examples(name):
    x, square = fg.ones(2, 2), fg.ones(2, 2)
    calls = {
        "addr_": lambda b: square.addr_(b, fg.ones(2)),
        "addmv_": lambda b: x[0].addmv_(square, b),
        "scatter_reduce_": lambda b: x[0].scatter_reduce_(0, fg.tensor([0, 1]), b, "sum"),
    }
    with pytest.raises(RuntimeError, match="vmap"):
        fg.vmap(calls[name])(fg.ones(4, 2))
    assert (x == 1).all() and (square == 1).all()


def test_running_statistics_that_a_transform_has_from_outside_move():
    def moved(T, F, x):
        mean, variance = T.zeros(3, dtype=T.float64), T.ones(3, dtype=T.float64)
        norm = lambda x: T.nn.functional.batch_norm(x, mean, variance, training=True).pow(3).sum()
        F.grad(norm)(x)
        F.jvp(norm, (x,), (x,))
        mapped = F.vmap(lambda m: T.nn.functional.batch_norm(x, m, variance))(x[:2])
        return mean, variance, mapped

    agree(moved, RNG.normal(size=(4, 3)))
