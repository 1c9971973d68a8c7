"""Reductions, order statistics and scans against torch."""

import math

import numpy as np
import pytest
from comparison import DTYPES, SHAPES, array, compare, specials, ties

import ferrograd as fg

torch = pytest.importorskip("torch")

#: Over all elements or over some dimensions.
OVER_DIMS = {
    "sum": lambda T, x, **k: T.sum(x, **k),
    "mean": lambda T, x, **k: T.mean(x, **k),
    "nansum": lambda T, x, **k: T.nansum(x, **k),
    "nanmean": lambda T, x, **k: T.nanmean(x, **k),
    "var": lambda T, x, **k: T.var(x, **k),
    "std": lambda T, x, **k: T.std(x, **k),
    "var_mean": lambda T, x, **k: T.var_mean(x, **k),
    "std_mean": lambda T, x, **k: T.std_mean(x, **k),
    "amax": lambda T, x, **k: T.amax(x, **k),
    "amin": lambda T, x, **k: T.amin(x, **k),
    "all": lambda T, x, **k: T.all(x, **k),
    "any": lambda T, x, **k: T.any(x, **k),
    "logsumexp": lambda T, x, dim=0, **k: T.logsumexp(x, dim=dim, **k),
}
#: Over all elements or over one dimension.
OVER_ONE = {
    "prod": lambda T, x, **k: T.prod(x, **k),
    "max": lambda T, x, **k: T.max(x, **k),
    "min": lambda T, x, **k: T.min(x, **k),
    "aminmax": lambda T, x, **k: T.aminmax(x, **k),
    "argmax": lambda T, x, **k: T.argmax(x, **k),
    "argmin": lambda T, x, **k: T.argmin(x, **k),
    "median": lambda T, x, **k: T.median(x, **k),
    "nanmedian": lambda T, x, **k: T.nanmedian(x, **k),
}
#: Along one dimension.
ALONG = {
    "softmax": lambda T, x, dim: x.softmax(dim),
    "log_softmax": lambda T, x, dim: x.log_softmax(dim),
    "cumsum": lambda T, x, dim: x.cumsum(dim),
    "cumprod": lambda T, x, dim: x.cumprod(dim),
    "cummax": lambda T, x, dim: x.cummax(dim),
    "cummin": lambda T, x, dim: x.cummin(dim),
    "logcumsumexp": lambda T, x, dim: x.logcumsumexp(dim),
    "sort": lambda T, x, dim: x.sort(stable=True, dim=dim),
    "sort descending": lambda T, x, dim: x.sort(stable=True, dim=dim, descending=True),
    "argsort": lambda T, x, dim: x.argsort(stable=True, dim=dim),
    "topk": lambda T, x, dim: x.topk(1, dim),
    "topk least": lambda T, x, dim: x.topk(1, dim, largest=False),
    "kthvalue": lambda T, x, dim: x.kthvalue(1, dim, True),
    "mode": lambda T, x, dim: x.mode(dim),
    "diff": lambda T, x, dim: x.diff(dim=dim),
}


def dims_of(rank):
    yield {}
    for dim in range(-rank, rank + 1):
        yield {"dim": dim}
        yield {"dim": dim, "keepdim": True}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OVER_DIMS)
def test_over_dimensions(name, shape):
    x = array(shape)
    for arguments in dims_of(len(shape)):
        compare(lambda T, x: OVER_DIMS[name](T, x, **arguments), x)
    for dim in [(), None, (0,), (0, 1), (1, -1), (-1, 0), (0, 0), (0, -2)]:
        if name == "logsumexp" and dim == () or 0 in shape and dim in [(0, 0), (0, -2), (1, -1), (-1, 0)]:
            continue
        # torch divides the gradients of variances over no dimensions by zero.
        grad = dim != () or name not in ("var", "std", "var_mean", "std_mean")
        compare(lambda T, x: OVER_DIMS[name](T, x, dim=dim), x, grad=grad)
        compare(lambda T, x: OVER_DIMS[name](T, x, dim=dim, keepdim=True), x, grad=grad)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OVER_ONE)
def test_over_one_dimension(name, shape):
    for arguments in dims_of(len(shape)):
        compare(lambda T, x: OVER_ONE[name](T, x, **arguments), array(shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ALONG)
def test_along_a_dimension(name, shape):
    for dim in range(-len(shape) - 1, len(shape) + 1):
        # torch takes any dimension of nothing for these.
        if -len(shape) <= dim < len(shape) or name not in ("cummax", "cummin") or 0 not in shape:
            compare(lambda T, x: ALONG[name](T, x, dim), array(shape))


EVERY = OVER_DIMS | OVER_ONE | ALONG


#: Where equal elements have the same chance, torch's choice depends on its algorithm.
CHOOSES = ("topk", "topk least", "kthvalue")


def call(name, T, x):
    if name in CHOOSES:
        return ALONG[name](T, x.detach(), -1).values
    if name in ALONG:
        return ALONG[name](T, x, -1)
    return EVERY[name](T, x, dim=-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_dtypes(name, dtype):
    for seed in range(3):
        compare(lambda T, x: call(name, T, x), array((3, 5), dtype, seed))
    if name not in ALONG:
        compare(lambda T, x: EVERY[name](T, x), array((3, 5), dtype))


@pytest.mark.parametrize("name", EVERY)
def test_specials(name):
    if name == "nanmedian":
        compare(lambda T, x: call(name, T, x).values, specials(), grad=False)
    else:
        compare(lambda T, x: call(name, T, x), specials(), second=name in ("sum", "max", "cumsum"), grad=name != "cumprod")
    if name not in ALONG:
        for line in specials():
            compare(lambda T, x: EVERY[name](T, x), line)


@pytest.mark.parametrize("name", EVERY)
def test_ties(name):
    for seed in range(4):
        compare(lambda T, x: call(name, T, x), ties((4, 6), seed=seed))
    if name not in ALONG:
        compare(lambda T, x: EVERY[name](T, x), ties((4, 6)), second=name != "prod")


LAYOUTS = {
    "transposed": lambda x: x.transpose(0, -1),
    "permuted": lambda x: x.permute(1, 2, 0),
    "steps": lambda x: x[::2, :, 1::2],
    "expanded": lambda x: x[:, :1].expand(-1, 7, -1),
    "part": lambda x: x[1:, 2:5, 3:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", EVERY)
def test_layouts(name, layout):
    if layout == "expanded" and (name in CHOOSES or "median" in name):
        # Of elements that are one in memory torch may choose any, and moves the medians of others.
        return
    x = array((6, 7, 40))
    for dim in (0, 1, 2):
        run = (lambda T, x: ALONG[name](T, x, dim)) if name in ALONG else (lambda T, x: EVERY[name](T, x, dim=dim))
        compare(lambda T, x: run(T, LAYOUTS[layout](x)), x, names=False, scale=10)
    if name in OVER_DIMS:
        for dim in [(0, 1), (0, 2), (1, 2), (0, 1, 2)]:
            compare(lambda T, x: EVERY[name](T, LAYOUTS[layout](x), dim=dim), x, names=False, scale=10)


@pytest.mark.parametrize("shape", [(70_000,), (3, 40_000), (40_000, 3), (600, 500), (500, 600), (20, 70, 90)])
def test_large(shape):
    for dtype in ("float32", "float64", "int32"):
        x = array(shape, dtype)
        for name in ("sum", "mean", "var", "amax", "any", "max", "argmax", "logsumexp", "softmax", "cumsum", "sort", "median", "cummax"):
            if dtype == "int32" and name in ("mean", "var", "logsumexp", "softmax"):
                continue
            for dim in range(len(shape)):
                run = (lambda T, x: ALONG[name](T, x, dim)) if name in ALONG else (lambda T, x: EVERY[name](T, x, dim=dim))
                compare(run, x, grad=False, scale=40)
        compare(lambda T, x: x.sum(), x, grad=False, scale=400)
        compare(lambda T, x: x.max(), x, grad=False)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
@pytest.mark.parametrize("asked", ["float64", "float32", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("name", ["sum", "mean", "nansum", "prod", "cumsum", "cumprod", "softmax", "log_softmax"])
def test_asked_dtype(name, asked, dtype):
    along = (0,) if name in ("cumsum", "cumprod", "softmax", "log_softmax") else ()
    run = lambda T, x: getattr(T, name)(x, *along, dtype=getattr(T, asked))
    x = array((3, 4), dtype) if dtype == "bool" else np.abs(array((3, 4), dtype))
    compare(run, x, grad=asked.startswith("float"), names=False)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_corrections(name):
    for arguments in [
        {"correction": 0}, {"correction": 2}, {"correction": 0.5}, {"correction": 4}, {"correction": 7}, {"unbiased": False},
        {"unbiased": True}, {"dim": 1, "unbiased": False}, {"dim": (0, 1), "correction": 0, "keepdim": True}, {"correction": None},
    ]:
        compare(lambda T, x: getattr(T, name)(x, **arguments), array((2, 5)))
        compare(lambda T, x: getattr(T, name)(x, **({"dim": 1} | arguments)), array((2, 5)))
    compare(lambda T, x: getattr(T, name)(x, True), array((2, 5)))
    compare(lambda T, x: getattr(T, name)(x, 1, False, True), array((2, 5)))
    compare(lambda T, x: getattr(T, name)(x + 1e4, 1), array((2, 50), "float32"), names=False, scale=10)


def test_zeros_in_products():
    for x in ([2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.0, 2.0, 0.0]):
        compare(lambda T, x: x.prod(), np.array(x))
        compare(lambda T, x: x.cumprod(0), np.array(x))
        compare(lambda T, x: x.prod(1), np.array([x, [1.0, 2.0, 3.0]]))
        compare(lambda T, x: x.cumprod(1), np.array([x, [1.0, 2.0, 3.0]]))


def test_zeros_beside_what_is_no_number():
    """The product of all elements has no gradient where two are zero; that along a dimension has what the others give."""
    for x in ([0.0, 0.0, math.nan], [0.0, 0.0, math.inf], [math.inf, 0.0, 0.0, 3.0], [0.0, math.inf, 2.0]):
        compare(lambda T, x: x.prod(), np.array(x), second=False)
        for run in (lambda T, x: x.prod(0), lambda T, x: T.stack([x, x]).prod(1), lambda T, x: x[None].prod(0)):
            compare(run, np.array(x), second=False, names=False)


#: Sums of numbers that all round the same way, and numbers drawn.
NUMBERS = {
    "equal": lambda n: np.full(n, 0.1, np.float32),
    "thirds": lambda n: np.full(n, 1 / 3, np.float32),
    "drawn": lambda n: np.random.default_rng(n).exponential(1, n).astype(np.float32),
}
#: The same numbers in a line, in each of several lines, columns and steps: what is reduced is the same everywhere.
PLACES = {
    "line": lambda x: (fg.from_numpy(x), 0),
    "lines": lambda x: (fg.from_numpy(np.tile(x, (3, 1))), 1),
    "columns": lambda x: (fg.from_numpy(np.repeat(x[:, None], 5, 1)), 0),
    "wide": lambda x: (fg.from_numpy(np.repeat(x[:, None], 40, 1)), 0),
    "steps": lambda x: (fg.from_numpy(np.repeat(x, 2))[::2], 0),
    "both": lambda x: (fg.from_numpy(np.repeat(x.reshape(10, 1, -1), 3, 1)), (0, 2)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NUMBERS)
def test_totals_are_exact_to_a_few_units(kind, place):
    """Against sums that are rounded once: a few units in the last place, at any number of elements."""
    for n in (1000, 10_000, 100_000, 1_000_000):
        if place == "wide" and n > 100_000:
            continue
        x = NUMBERS[kind](n)
        exact = x.astype(np.float64)
        total, squares = math.fsum(exact), math.fsum(exact**2)
        deviation = math.fsum((exact - total / n) ** 2) / (n - 1)
        t, dim = PLACES[place](x)
        wanted = {
            "sum": (t.sum(dim), total), "mean": (t.mean(dim), total / n), "norm": (t.norm(dim=dim), math.sqrt(squares)),
            "logsumexp": (t.logsumexp(dim), math.log(math.fsum(np.exp(exact)))),
        }  # fmt: skip
        if kind == "drawn":
            wanted |= {"var": (t.var(dim), deviation), "std": (t.std(dim), math.sqrt(deviation))}
        if type(dim) is int:
            wanted["cumsum"] = (t.cumsum(dim).select(dim, -1), total)
        for name, (found, expected) in wanted.items():
            units = np.abs(found.numpy().astype(np.float64) - expected) / np.spacing(np.float32(expected))
            assert units.max() <= 4, (name, n, units.max())


def test_zeros_of_both_signs():
    """The greatest and the least of a dimension are the element at the index that is told: the first of equals."""
    for line in ([-0.0, 0.0], [0.0, -0.0], [-0.0] * 40 + [0.0] * 40, [0.0] + [-0.0] * 9000):
        for dtype in ("float32", "float64", "float16"):
            for name in ("max", "min"):
                for run in (lambda x: x, lambda x: np.tile(x, (4, 1)), lambda x: np.tile(x, (4, 1)).T):
                    x = run(np.array(line, dtype))
                    dim = -1 if x.shape[-1] == len(line) else 0
                    (ours, _), (theirs, _) = (getattr(T.from_numpy(x), name)(dim) for T in (fg, torch))
                    assert np.signbit(ours.numpy()).tolist() == np.signbit(theirs.numpy()).tolist()
        for name in ("amax", "amin"):
            x = np.array(line[:2])
            assert math.copysign(1, getattr(fg.from_numpy(x), name)(0)) == math.copysign(1, getattr(torch.from_numpy(x), name)(0))
    a, b = np.array([0.0, -0.0, 0.0]), np.array([-0.0, 0.0, 0.0])
    for name in ("maximum", "minimum", "fmax", "fmin"):
        ours, theirs = (getattr(T, name)(T.from_numpy(a), T.from_numpy(b)).numpy() for T in (fg, torch))
        assert np.signbit(ours).tolist() == np.signbit(theirs).tolist()


def test_forms_of_calls():
    for f in [
        lambda T, x: x.sum(0, 1), lambda T, x: x.sum(axis=0, keepdims=True), lambda T, x: x.max(0, True), lambda T, x: x.any((0, 1), keepdim=True),
        lambda T, x: x.sort(0, True), lambda T, x: T.sort(x, descending=True), lambda T, x: x.sort(stable=None),
        lambda T, x: x.argsort(0, True), lambda T, x: x.topk(2, 0, False, True), lambda T, x: T.topk(x, k=2), lambda T, x: x.topk(9),
        lambda T, x: x.topk(-1), lambda T, x: x.kthvalue(0), lambda T, x: x.kthvalue(9), lambda T, x: x.kthvalue(k=2, dim=0),
        lambda T, x: x.median(0, True), lambda T, x: x.median(dim=5), lambda T, x: x.mode(), lambda T, x: x.count_nonzero(),
        lambda T, x: x.count_nonzero((0, 1)), lambda T, x: x.count_nonzero(1), lambda T, x: T.count_nonzero(x, dim=()),
        lambda T, x: x.max(x * 2), lambda T, x: x.min(other=x * 2), lambda T, x: x.aminmax(), lambda T, x: T.aminmax(x, dim=0, keepdim=True),
        lambda T, x: x.softmax(5), lambda T, x: x.msort(), lambda T, x: x.diff(n=2),
        lambda T, x: x.diff(prepend=x, append=x), lambda T, x: x.diff(n=0), lambda T, x: x.diff(n=-1), lambda T, x: x.diff(n=9),
        lambda T, x: x.sum("a"), lambda T, x: x.sum(0.5), lambda T, x: x.cumsum(), lambda T, x: x.argmax(dim=None, keepdim=True),
        lambda T, x: (x * 1).cumsum_(0), lambda T, x: (x * 1).cumprod_(1), lambda T, x: (x * 1)[1:].cumsum_(0),
    ]:
        compare(f, array((3, 4)), names=False)


def test_softmax_in_another_dtype():
    for name in ("softmax", "log_softmax"):
        compare(lambda T, x: getattr(x, name)(0, T.float32), array((3, 4)), scale=1e6)
        compare(lambda T, x: getattr(x, name)(0, dtype=T.float64), array((3, 4), "float32"))


def test_named_results():
    compare(lambda T, x: x.max(0).values + x.max(0)[0] + x.min(dim=0).values, array((3, 4)))
    compare(lambda T, x: x.aminmax().min + x.aminmax()[1], array((3, 4)))
    compare(lambda T, x: (lambda v, i: v * i)(*x.topk(2)), array((3, 4)))


def test_results_written_into_tensors():
    def out(T, x):
        values, indices = T.zeros(4, dtype=T.float64), T.zeros(4, dtype=T.int64)
        r = T.max(x, 0, out=(values, indices))
        return r.values, indices, values

    compare(out, array((3, 4)), grad=False)
    compare(lambda T, x: T.cumsum(x, 0, out=T.zeros(3, 4, dtype=T.float64)), array((3, 4)), grad=False)
    compare(lambda T, x: T.sort(x, out=(T.zeros(3, 4, dtype=T.float64), T.zeros(3, 4, dtype=T.int64))).values, array((3, 4)), grad=False)


NORMS = [0, 1, 2, 3, 0.5, 1.5, 2.5, -1, -2, float("inf"), float("-inf")]


@pytest.mark.parametrize("p", NORMS)
def test_vector_norms(p):
    for shape in SHAPES:
        for arguments in [{}, {"dim": 0}, {"dim": (0, 1)}, {"dim": -1, "keepdim": True}, {"dim": 7}, {"dim": ()}]:
            if 0 in shape and arguments.get("dim") in (7, (0, 1)):
                continue
            compare(lambda T, x: T.linalg.vector_norm(x, p, **arguments), array(shape), scale=10)
    zeros = np.array([[0.0, 0.0], [0.0, 3.0], [-3.0, 3.0]])
    compare(lambda T, x: T.linalg.vector_norm(x, p, dim=1), zeros)
    compare(lambda T, x: x.norm(p), zeros)
    compare(lambda T, x: x.norm(p, 1), specials())
    compare(lambda T, x: x.dist(x[:1] * 2, p), array((3, 4)), grad=p != 0, second=p > 1, scale=10)
    compare(lambda T, x, y: T.dist(x, y, p), array((3, 4)), array((4,)), grad=p != 0, second=p > 1, scale=10)


def test_norms():
    x, inf = array((3, 4)), float("inf")
    for f in [
        lambda T, x: x.norm(), lambda T, x: x.norm("fro"), lambda T, x: x.norm("fro", 0), lambda T, x: x.norm("fro", (0, 1), True), lambda T, x: x.norm(dim=1),
        lambda T, x: x.norm(p=1, dim=(0, 1)), lambda T, x: T.norm(x, 2, dim=0), lambda T, x: x.norm("inf"), lambda T, x: x.norm(dtype=T.float64),
        lambda T, x: T.norm(x, dtype=T.float32), lambda T, x: T.linalg.norm(x), lambda T, x: T.linalg.norm(x, "fro"), lambda T, x: T.linalg.norm(x, 1),
        lambda T, x: T.linalg.norm(x, -1), lambda T, x: T.linalg.norm(x, inf), lambda T, x: T.linalg.norm(x, -inf), lambda T, x: T.linalg.norm(x, 3),
        lambda T, x: T.linalg.norm(x, 3, 1), lambda T, x: T.linalg.norm(x, dim=(0, 1)), lambda T, x: T.linalg.norm(x, inf, (1, 0), True),
        lambda T, x: T.linalg.norm(x, "x"), lambda T, x: T.linalg.norm(x, dim=(0, 1, 2)), lambda T, x: T.linalg.norm(x[None], 1), lambda T, x: T.linalg.norm(x[None]),
        lambda T, x: T.linalg.matrix_norm(x), lambda T, x: T.linalg.matrix_norm(x, 1), lambda T, x: T.linalg.matrix_norm(x, inf, keepdim=True),
        lambda T, x: T.linalg.matrix_norm(x, -1, dim=(1, 0)), lambda T, x: T.linalg.matrix_norm(x[0]), lambda T, x: T.linalg.matrix_norm(x, 1, dim=(0, 0)),
        lambda T, x: T.linalg.matrix_norm(T.stack([x, x * 2]), 1, dim=(0, 2)), lambda T, x: T.linalg.matrix_norm(T.stack([x, x * 2]), "fro", dim=(0, 1)),
        lambda T, x: x.renorm(2, 0, 1.0), lambda T, x: x.renorm(1, 1, 2.5), lambda T, x: x.renorm(3, -1, 0.1), lambda T, x: x.renorm(inf, 0, 1), lambda T, x: x.renorm(0, 0, 1),
        lambda T, x: x.renorm(2, 0, -1), lambda T, x: x[0].renorm(2, 0, 1), lambda T, x: x.renorm(2, 5, 1), lambda T, x: (x * 1).renorm_(2, 0, 1.0),
    ]:
        compare(f, x, names=False)
    for f in [lambda T, x: x.renorm(2, 0, 1.0), lambda T, x: x.renorm(3, 1, 2.5), lambda T, x: T.linalg.norm(x, 1)]:
        compare(f, x)
    compare(lambda T, x: x.norm(), array((3,), "int64"))


@pytest.mark.parametrize("p", [0, 1, 2, 0.5, 1.5, 3, float("inf")])
def test_distances(p):
    for first, second in [((4, 3), (5, 3)), ((2, 4, 3), (5, 3)), ((2, 1, 4, 3), (3, 5, 3)), ((4, 0), (5, 0)), ((0, 3), (5, 3)), ((30, 3), (4, 3))]:
        # torch crashes in the gradient of no rows, and of rows of nothing.
        compare(lambda T, x, y: T.cdist(x, y, p), array(first), array(second, seed=1), grad=0 not in first, second=False, names=False, scale=20)
    compare(lambda T, x: T.cdist(x, x, p), array((4, 3)), second=False)
    compare(lambda T, x: T.pdist(x, p), array((5, 3)), second=False)
    compare(lambda T, x: T.pdist(T.cat([x, x[:1]]), p), array((5, 3)), second=False, names=False)
    for f in [
        lambda T, x: T.cdist(x, x[:, :2]), lambda T, x: T.cdist(x[0], x), lambda T, x: T.cdist(x, x, -1), lambda T, x: T.pdist(x[0]), lambda T, x: T.pdist(x, -1),
        lambda T, x: T.pdist(x[:1]), lambda T, x: T.pdist(x.detach()[:0]), lambda T, x: T.cdist(x, x + 1, 2, "use_mm_for_euclid_dist"),
        lambda T, x: T.cdist(x, x + 1, compute_mode="donot_use_mm_for_euclid_dist"), lambda T, x: T.cdist(x, x, compute_mode="x"),
    ]:
        compare(f, array((4, 3)), second=False, names=False, scale=20)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest", "x"])
def test_quantiles(interpolation):
    for shape in SHAPES:
        for q in [0.0, 0.3, 0.5, 1.0, 1.5]:
            for arguments in [{}, {"dim": 0}, {"dim": -1, "keepdim": True}, {"keepdim": True}, {"dim": 1}]:
                for name in ("quantile", "nanquantile"):
                    compare(lambda T, x: getattr(T, name)(x, q, interpolation=interpolation, **arguments), array(shape), names=False)
    for arguments in [{}, {"dim": 0}, {"dim": 1, "keepdim": True}, {"keepdim": True}, {"dim": 2}]:
        run = lambda T, x: x.quantile(T.tensor([0.1, 0.5, 0.9], dtype=T.float64), interpolation=interpolation, **arguments)
        compare(run, array((2, 3, 4)), names=False)
    for name in ("quantile", "nanquantile"):
        compare(lambda T, x: getattr(T, name)(x, 0.4, dim=1, interpolation=interpolation), specials(), names=False)
        compare(lambda T, x: getattr(T, name)(x, T.tensor([0.25, 0.75]), dim=0, interpolation=interpolation), array((4, 3), "float32"), names=False)
    for f in [
        lambda T, x: x.quantile(T.tensor([[0.5]], dtype=T.float64)), lambda T, x: x.quantile(T.tensor(0.5)), lambda T, x: x.to(T.int64).quantile(0.5),
        lambda T, x: x.quantile(T.tensor([1.5], dtype=T.float64)), lambda T, x: x.quantile(0.5, 5),
    ]:
        compare(f, array((3, 4)), names=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_unique(dtype):
    for x in [ties((5,), dtype), ties((3, 4), dtype), ties((4, 1, 3), dtype), np.zeros((0,), dtype), np.array(1, dtype), ties((0, 3), dtype), ties((6, 2), dtype, 3)]:
        for name in ("unique", "unique_consecutive"):
            for inverse, counts in [(False, False), (True, False), (False, True), (True, True)]:
                for dim in (None, 0, 1, -1):
                    compare(lambda T, x: getattr(T, name)(x, return_inverse=inverse, return_counts=counts, dim=dim), x)
    compare(lambda T, x: x.unique(), ties((3, 4), dtype))
    compare(lambda T, x: x.unique(True, True, True), ties((3, 4), dtype))


def test_unique_of_what_is_no_number():
    for name in ("unique", "unique_consecutive"):
        compare(lambda T, x: getattr(T, name)(x, return_counts=True), specials(), grad=False)
        compare(lambda T, x: getattr(T, name)(x, return_inverse=True, return_counts=True), specials()[:6, 0], grad=False)


def test_counts_and_histograms():
    for f in [
        lambda T, x: x.histc(), lambda T, x: x.histc(4), lambda T, x: T.histc(x, bins=5, min=-1, max=2), lambda T, x: x.histc(4, 3, 1), lambda T, x: x.histc(0),
        lambda T, x: x.histogram(4), lambda T, x: T.histogram(x, bins=5, range=(-1.0, 2.0)), lambda T, x: x.histogram(4, density=True),
        lambda T, x: x.histogram(4, weight=x.abs()), lambda T, x: x.histogram(T.tensor([-1.0, 0.0, 0.5, 2.0], dtype=x.dtype)), lambda T, x: x.histogram(0),
        lambda T, x: x.histogram(3, range=(2.0, 1.0)), lambda T, x: x.histogram(3, weight=x[:1]), lambda T, x: x.histogram(T.tensor([0, 1])),
        lambda T, x: (x * 0 + 1).histc(4), lambda T, x: (x * 0 + 1).histogram(4), lambda T, x: x[:0].histc(3), lambda T, x: x.histogram(3, range=(1.0, 1.0)),
        lambda T, x: (x / 0).histc(3), lambda T, x: T.cat([x, x / 0]).histc(3, -1, 1),
    ]:
        for dtype in ("float32", "float64"):
            compare(f, array((50,), dtype), grad=False)
        compare(f, array((5,), "int64"), grad=False)
    for f in [
        lambda T, x: x.bincount(), lambda T, x: x.bincount(minlength=9), lambda T, x: T.bincount(x, x * 0.5), lambda T, x: T.bincount(x, x), lambda T, x: (x - 3).bincount(),
        lambda T, x: x.bincount(minlength=-1), lambda T, x: x.bincount(x[:2]), lambda T, x: x[None].bincount(), lambda T, x: x[:0].bincount(), lambda T, x: (x * 0.5).bincount(),
        lambda T, x: x.bincount(x.to(T.float32)),
    ]:
        compare(f, np.array([1, 5, 2, 2, 0, 1]))


def test_search():
    rows = np.sort(array((3, 6)), axis=1)
    for right in (False, True):
        for values in [array((3, 4)), array((3, 0))]:
            compare(lambda T, s, v: T.searchsorted(s, v, right=right), rows, values, grad=False)
            compare(lambda T, s, v: T.searchsorted(s, v, right=right, out_int32=True), rows, values, grad=False)
            compare(lambda T, s, v: T.searchsorted(s[0], v, right=right), rows, values, grad=False)
            compare(lambda T, s, v: T.bucketize(v, s[0], right=right), rows, values, grad=False)
    for f in [
        lambda T, s: T.searchsorted(s, s[0]), lambda T, s: T.searchsorted(s, 1.0), lambda T, s: T.searchsorted(s[0], 1.0), lambda T, s: T.searchsorted(s[0], 1),
        lambda T, s: T.searchsorted(s, s, side="right"), lambda T, s: T.searchsorted(s, s, side="x"), lambda T, s: T.searchsorted(s, s, side="left", right=True),
        lambda T, s: T.searchsorted(s[0], s.to(T.float32)), lambda T, s: T.bucketize(2, s[0]), lambda T, s: T.bucketize(s, s),
        lambda T, s: T.searchsorted(s[0].flip(0), s, sorter=T.arange(5, -1, -1)), lambda T, s: T.searchsorted(s[0], s, sorter=T.arange(3)),
        lambda T, s: T.searchsorted(s[0], s / 0), lambda T, s: T.searchsorted(s[0].to(T.int64), s), lambda T, s: T.searchsorted(s[0][0], s),
        lambda T, s: T.searchsorted(s[0], s, sorter=T.arange(6) + 1), lambda T, s: T.searchsorted(s[0], s, sorter=T.arange(6).to(T.int32)),
    ]:
        compare(f, rows, grad=False)


def test_search_within_a_map():
    rows = np.sort(array((3, 6)), axis=1)
    blocks = np.sort(array((3, 2, 6)), axis=-1)
    for f in [
        lambda T, s, v: T.func.vmap(lambda s, v: T.searchsorted(s, v, right=True))(s, v),
        lambda T, s, v: T.func.vmap(lambda v: T.searchsorted(s[0], v))(v),
        lambda T, s, v: T.func.vmap(lambda v: T.bucketize(v, s[0], out_int32=True), 1)(v),
        lambda T, s, v: T.func.vmap(lambda v: T.func.vmap(lambda v: T.bucketize(v, s[0]))(v))(v),
        lambda T, s, v: T.func.vmap(lambda v: T.searchsorted(s, v))(T.stack([v, v * 2])),
        lambda T, s, v: T.func.vmap(lambda s: T.searchsorted(s, v[0]))(s),
    ]:
        compare(f, rows, array((3, 4)), grad=False)
    compare(lambda T, s: T.func.vmap(lambda s: T.searchsorted(s, s.flip(0) * 2))(s), blocks, grad=False)


def test_histograms_of_many():
    """Threads share the counting; bounds are numbers of the elements' type."""
    for dtype in ("float32", "float64"):
        many = array((400, 500), dtype)
        compare(lambda T, x: x.histc(64, -1, 1), many, grad=False)
        compare(lambda T, x: x.histogram(64), many, grad=False)
        compare(lambda T, x: x.histogram(16, range=(-1.0, 2.0), weight=x.abs()), many, grad=False, scale=100)
        compare(lambda T, x: x.histc(3, 0.1, 0.7), np.array([0.1, 0.7, 0.3, 0.5], dtype), grad=False)
    counts = np.random.default_rng(5).integers(0, 300, 200_000)
    compare(lambda T, x: x.bincount(), counts)
    compare(lambda T, x: x.bincount(x * 0.5), counts)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_operands_that_lie_across(dtype):
    """Elements of a transposed operand are read by tiles."""
    for shape in [(70, 130), (9, 700), (16, 64), (3, 20, 600), (5, 33, 2, 100)]:
        x = array(shape, dtype)
        compare(lambda T, x: x.transpose(-1, -2).contiguous(), x, grad=False)
        compare(lambda T, x: x.transpose(0, -1).contiguous(), x, grad=False)
        compare(lambda T, x: x.transpose(0, -1) * 2 + x.transpose(0, -1).contiguous(), x, grad=False)
        compare(lambda T, x: x.transpose(0, 1).contiguous().transpose(0, 1) * x, x, grad=False)
        compare(lambda T, x: T.empty_like(x).copy_(x.transpose(0, -1).contiguous().transpose(0, -1)), x, grad=False)
    square = array((80, 80), dtype)
    compare(lambda T, x: (x.t() * x).sum(0), square, scale=10)
    compare(lambda T, x: x.clone().t().mul_(x.t()[:, :1]), square, grad=False)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_exponentials_of_lines(dim):
    """Lines and columns of all lengths about a vector's."""
    for length in (1, 31, 32, 33, 65, 100):
        shape = [3, 2, 2]
        shape[dim] = length
        for dtype in ("float32", "float64"):
            x = array(tuple(shape), dtype)
            for f in (lambda T, x: x.softmax(dim), lambda T, x: x.log_softmax(dim), lambda T, x: x.logsumexp(dim)):
                compare(f, x, scale=20)
    wide = array((5, 70), "float32")
    compare(lambda T, x: x.log_softmax(0), wide, scale=20)
    compare(lambda T, x: x.softmax(0), wide, scale=20)
    compare(lambda T, x: x.logsumexp(0), wide, scale=20)


def test_covariances_and_integrals():
    for f in [
        lambda T, x: x.cov(), lambda T, x: T.cov(x, correction=0), lambda T, x: x[0].cov(), lambda T, x: x[0, 0].cov(), lambda T, x: x[None].cov(),
        lambda T, x: x.cov(fweights=T.tensor([1, 2, 3, 1])), lambda T, x: x.cov(aweights=T.tensor([0.5, 1.0, 2.0, 1.0], dtype=T.float64)),
        lambda T, x: x.cov(fweights=T.tensor([1, 2, 3, 1]), aweights=T.tensor([0.5, 1.0, 2.0, 1.0], dtype=T.float64)), lambda T, x: x.cov(fweights=T.tensor([1, 2])),
        lambda T, x: x.cov(fweights=T.tensor([1.0, 2, 3, 1])), lambda T, x: x.cov(fweights=T.tensor([-1, 2, 3, 1])), lambda T, x: x.cov(aweights=T.tensor([0, 0, 0, 0])),
        lambda T, x: x.corrcoef(), lambda T, x: x[0].corrcoef(), lambda T, x: x[None].corrcoef(), lambda T, x: T.trapezoid(x), lambda T, x: T.trapezoid(x, dx=0.5),
        lambda T, x: T.trapezoid(x, dim=0), lambda T, x: T.trapz(x, x * 2), lambda T, x: T.trapezoid(x, x[0]), lambda T, x: T.trapezoid(x, x[:, 0], dim=0),
        lambda T, x: T.trapezoid(x, x[0, :2]), lambda T, x: T.trapezoid(x, dim=5), lambda T, x: T.trapezoid(x[0, 0]), lambda T, x: T.trapezoid(x[:, :0]),
        lambda T, x: T.cumulative_trapezoid(x), lambda T, x: T.cumulative_trapezoid(x, x * 2), lambda T, x: T.cumulative_trapezoid(x, dx=0.5, dim=0), lambda T, x: T.trapezoid(x > 0),
        lambda T, x: T.cumulative_trapezoid(x[:, :1]), lambda T, x: T.trapezoid(x[:, :1]),
    ]:
        compare(f, array((3, 4)), names=False, scale=4)
    compare(lambda T, x: x.cov(), array((3, 4), "int64"))
    compare(lambda T, x: x.cov(), array((3, 4), "bool"))


@pytest.mark.parametrize("run", [
    lambda x: x.mean(), lambda x: x.mean(0).sum(), lambda x: x.mean(1).square().sum(), lambda x: x.mean((0, 1), keepdim=True).sum(),
    lambda x: x.mean(dtype=x.dtype) * 3, lambda x: x[:1].mean(0).sum(), lambda x: x.t().mean(), lambda x: x.sum(), lambda x: x.sum(0).sum(),
])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (1, 4), (60, 700)])
def test_gradients_of_means_have_memory_of_their_own(run, shape):
    """Those of sums have none."""

    def laid(T):
        x = T.ones(shape, requires_grad=True)
        (g,) = T.autograd.grad(run(x), x)
        return tuple(s for s, size in zip(g.stride(), shape) if size > 1), g.is_contiguous()

    def changed(T):
        x = T.ones(shape, requires_grad=True)
        x.register_hook(lambda g: g.mul_(0.5))
        run(x).backward()
        return x.grad.numpy()

    assert laid(fg) == laid(torch)
    try:
        expected = changed(torch)
    except RuntimeError:
        with pytest.raises(RuntimeError, match="single memory location"):
            changed(fg)
    else:
        np.testing.assert_allclose(changed(fg), expected, rtol=1e-6)


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
@pytest.mark.parametrize("initial", [None, 2, 0.5])
def test_segments(reduce, initial):
    x = np.array([[2.0, 2.0, 0.5, 0.0, 1.0], [1.0, -3.0, 3.0, 3.0, 2.0]])
    for given in ({"lengths": [2, 0, 3]}, {"offsets": [0, 2, 2, 5]}, {"lengths": [0, 5]}):
        call = lambda T, x: T.segment_reduce(x.t(), reduce, initial=initial, **{name: T.tensor(value) for name, value in given.items()})
        compare(call, x, names=False, second=False)
    rows = lambda T, x: T.segment_reduce(x, reduce, lengths=T.tensor([[1, 4], [2, 3]]), axis=1, initial=initial)
    compare(rows, x, names=False, second=False)
    part = lambda T, x: T.segment_reduce(x[0], reduce, lengths=T.tensor([1, 2]), unsafe=True)
    compare(part, x, names=False, second=False)


def test_segments_that_are_refused():
    x = np.ones((3, 4))
    for call in [
        lambda T, x: T.segment_reduce(x, "sum"), lambda T, x: T.segment_reduce(x, "none", lengths=T.tensor([1, 2])), lambda T, x: T.segment_reduce(x, "sum", lengths=T.tensor([1, 1])),
        lambda T, x: T.segment_reduce(x, "sum", lengths=T.tensor([-1, 4])), lambda T, x: T.segment_reduce(x, "sum", lengths=T.tensor([1, 3]), axis=1),
        lambda T, x: T.segment_reduce(x, "sum", lengths=T.tensor([1, 2]), axis=5), lambda T, x: T.segment_reduce(x.int(), "sum", lengths=T.tensor([1, 2])),
        lambda T, x: T.segment_reduce(x, "sum", lengths=T.tensor([1.0, 2.0])), lambda T, x: T.segment_reduce(x, "sum", indices=T.tensor([1])),
    ]:
        compare(call, x)
    with pytest.raises(RuntimeError, match="not within"):
        fg.segment_reduce(fg.ones(3), "sum", offsets=fg.tensor([0, 5]))


def test_gradients_of_normalised_exponentials_are_functions():
    g, y = np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(0.1, 2, 12).reshape(3, 4)
    for name in ("_softmax_backward_data", "_log_softmax_backward_data"):
        for dim in (0, 1, -1, 2):
            compare(lambda T, g, y: getattr(T, name)(g, y, dim, T.float64), g, y, names=False)
        compare(lambda T, g, y: getattr(T, name)(g, y.float(), 0, T.float64), g, y)


def test_stretches_of_several_tensors_side_by_side():
    for shapes, dim, count in [([(3, 4), (5, 4, 2)], 0, 2), ([(3, 4)], 1, 3), ([(3, 4), (3, 4, 2)], 1, 2), ([(3, 4)], -1, 5)]:
        runs = [T._chunk_cat([T.arange(1.0, 1.0 + math.prod(s)).reshape(s) for s in shapes], dim, count).tolist() for T in (fg, torch)]
        assert runs[0] == runs[1]
