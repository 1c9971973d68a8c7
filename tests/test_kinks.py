"""Derivatives where a function has none or several: known numbers of subgradients, which torch gives too where it is
installed.
"""

import re
from math import inf, nan

import pytest
from known import LIBRARIES, in_all

import ferrograd as fg
from ferrograd import _ferrograd

#: Functions of `x`, the numbers there, and the gradient of the sum.
TABLE = [
    ('x.max().sqrt()', [0.0, -2.0, -3.0], [inf, 0.0, 0.0]),
    ('x.min().log() + x.sum()', [0.0, 5.0, 2.0], [inf, 1.0, 1.0]),
    ('x.median().log()', [0.0, 5.0, -2.0], [inf, 0.0, 0.0]),
    ('x.amax().sqrt()', [0.0, -2.0], [inf, nan]),
    ('x.floor().sqrt()', [0.3], [0.0]),
    ('x.sign().sqrt()', [0.0], [0.0]),
    ('x.round().log()', [0.3], [0.0]),
    ('x[0].prod()', [inf], [1.0]),
    ('x.abs()', [0.0, -0.0, -2.0, 3.0], [0.0, 0.0, -1.0, 1.0]),
    ('x.relu()', [0.0, -1.0, 2.0], [0.0, 0.0, 1.0]),
    ('F.relu6(x)', [0.0, 6.0, 3.0, 7.0], [0.0, 0.0, 1.0, 0.0]),
    ('F.hardtanh(x)', [-1.0, 1.0, 0.5, 2.0], [0.0, 0.0, 1.0, 0.0]),
    ('F.hardtanh(x, -2, 3)', [-2.0, 3.0], [0.0, 0.0]),
    ('F.leaky_relu(x, 0.5)', [0.0, -1.0], [0.5, 0.5]),
    ('F.elu(x)', [0.0, 1.0], [1.0, 1.0]),
    ('F.selu(x)', [0.0], [1.758099340847]),
    ('F.celu(x)', [0.0], [1.0]),
    ('F.threshold(x, 1.0, 5.0)', [1.0, 2.0, 0.0], [0.0, 1.0, 0.0]),
    ('F.hardshrink(x, 0.5)', [0.5, -0.5, 0.6], [0.0, 0.0, 1.0]),
    ('F.softshrink(x, 0.5)', [0.5, -0.5, 0.6], [0.0, 0.0, 1.0]),
    ('F.hardsigmoid(x)', [-3.0, 3.0], [0.0, 0.0]),
    ('F.hardswish(x)', [-3.0, 3.0, 0.0], [0.0, 1.0, 0.5]),
    ('F.prelu(x, T.tensor([0.25]))', [0.0, -1.0], [0.25, 0.25]),
    ('F.rrelu(x, 0.5, 0.5)', [0.0, -1.0], [0.5, 0.5]),
    ('F.softplus(x)', [0.0], [0.5]),
    ('x.clamp(1, 2)', [1.0, 2.0, 0.5, 2.5, 1.5], [1.0, 1.0, 0.0, 0.0, 1.0]),
    ('x.clamp(min=1)', [1.0, 0.0], [1.0, 0.0]),
    ('x.clamp(max=1)', [1.0, 2.0], [1.0, 0.0]),
    ('x.clamp(T.tensor([1.0]), T.tensor([2.0]))', [1.0, 2.0, 0.5], [1.0, 1.0, 0.0]),
    ('x.clamp(2, 1)', [1.0, 1.5, 2.0], [0.0, 0.0, 0.0]),
    ('x.clip(0, 0)', [0.0], [1.0]),
    ('T.clamp(T.tensor([1.0, 2.0, 2.0]), min=x)', [1.0, 3.0, 0.0], [0.0, 1.0, 0.0]),
    ('T.clamp(T.tensor([1.0, 2.0, 2.0]), max=x)', [1.0, 3.0, 0.0], [0.0, 0.0, 1.0]),
    ('T.clamp(T.tensor([1.0]), x, x)', [1.0], [0.0]),
    ('T.maximum(x, T.tensor([1.0, 2.0, 0.0]))', [1.0, 1.0, 1.0], [0.5, 0.0, 1.0]),
    ('T.minimum(x, T.tensor([1.0, 2.0, 0.0]))', [1.0, 1.0, 1.0], [0.5, 1.0, 0.0]),
    ('T.maximum(T.tensor([1.0, 2.0]), x)', [1.0, 1.0], [0.5, 0.0]),
    ('T.maximum(x, x)', [1.0, 2.0], [1.0, 1.0]),
    ('T.fmax(x, T.tensor([1.0, 0.0]))', [1.0, 1.0], [1.0, 1.0]),
    ('T.fmin(x, T.tensor([1.0, 0.0]))', [1.0, 1.0], [1.0, 0.0]),
    ('T.fmax(T.tensor([1.0, 0.0]), x)', [1.0, 1.0], [0.0, 1.0]),
    ('T.fmin(T.tensor([1.0, 0.0]), x)', [1.0, 1.0], [0.0, 0.0]),
    ('x.max()', [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    ('x.min()', [1.0, 2.0, 1.0], [0.5, 0.0, 0.5]),
    ('x.amax()', [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    ('x.amin()', [1.0, 2.0, 1.0, 1.0], [0.333333333333, 0.0, 0.333333333333, 0.333333333333]),
    ('x.amax(0)', [3.0, 3.0, 3.0], [0.333333333333, 0.333333333333, 0.333333333333]),
    ('x.max(0)[0]', [2.0, 2.0, 1.0], [1.0, 0.0, 0.0]),
    ('x.min(0)[0]', [2.0, 1.0, 1.0], [0.0, 1.0, 0.0]),
    ('x.aminmax().max', [2.0, 2.0], [0.5, 0.5]),
    ('x.aminmax().min', [1.0, 2.0, 1.0], [0.5, 0.0, 0.5]),
    ('x.cummax(0)[0]', [1.0, 1.0, 0.0], [1.0, 2.0, 0.0]),
    ('x.cummin(0)[0]', [1.0, 1.0, 2.0], [1.0, 2.0, 0.0]),
    ('x.median()', [1.0, 1.0, 2.0], [0.5, 0.5, 0.0]),
    ('x.median(0)[0]', [1.0, 1.0, 2.0], [0.0, 1.0, 0.0]),
    ('x.nanmedian()', [1.0, 1.0, 2.0], [0.5, 0.5, 0.0]),
    ('x.kthvalue(1)[0]', [1.0, 1.0], [1.0, 0.0]),
    ('x.mode()[0]', [1.0, 1.0, 2.0], [0.0, 1.0, 0.0]),
    ('x.topk(1)[0]', [2.0, 2.0, 1.0], [1.0, 0.0, 0.0]),
    ('x.sort(stable=True)[0] * T.tensor([1.0, 10.0])', [1.0, 1.0], [1.0, 10.0]),
    ('x.quantile(0.5)', [1.0, 3.0, 2.0, 4.0], [0.0, 0.5, 0.5, 0.0]),
    ('x.sign()', [0.0, 1.0], [0.0, 0.0]),
    ('x.round()', [0.5], [0.0]),
    ('x.floor()', [1.0], [0.0]),
    ('x.ceil()', [1.0], [0.0]),
    ('x.trunc()', [1.0], [0.0]),
    ('x.frac()', [1.0, 1.5], [1.0, 1.0]),
    ('x.fmod(2)', [2.0, 3.0], [1.0, 1.0]),
    ('x.remainder(2)', [2.0, 3.0], [1.0, 1.0]),
    ('T.copysign(x, T.tensor([1.0, -1.0, -1.0]))', [0.0, 0.0, 2.0], [0.0, 0.0, -1.0]),
    ('x.sqrt()', [0.0, 4.0], [inf, 0.25]),
    ('x.rsqrt()', [0.0], [-inf]),
    ('x.pow(0)', [0.0, 2.0], [0.0, 0.0]),
    ('x.pow(1)', [0.0], [1.0]),
    ('x.pow(2)', [0.0], [0.0]),
    ('x.pow(0.5)', [0.0], [inf]),
    ('x ** -1', [0.0], [-inf]),
    ('x.pow(3)', [0.0], [0.0]),
    ('0 ** x', [0.0, 1.0], [0.0, 0.0]),
    ('T.pow(T.tensor([0.0, 0.0, 2.0]), x)', [0.0, 1.0, 0.0], [0.0, 0.0, 0.69314718056]),
    ('T.pow(x, T.tensor([0.0, 1.0, 2.0, 0.5]))', [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, inf]),
    ('x.log()', [0.0], [inf]),
    ('x.reciprocal()', [0.0], [-inf]),
    ('x.log1p()', [-1.0], [inf]),
    ('x.asin()', [1.0], [inf]),
    ('x.acos()', [-1.0], [-inf]),
    ('x.atanh()', [1.0], [inf]),
    ('x.acosh()', [1.0], [inf]),
    ('x.tan()', [0.0], [1.0]),
    ('T.sinc(x)', [0.0], [0.0]),
    ('T.xlogy(x, T.tensor([0.0, 2.0]))', [0.0, 0.0], [0.0, 0.69314718056]),
    ('T.hypot(x, T.zeros(2))', [0.0, 3.0], [nan, 1.0]),
    ('T.atan2(x, T.zeros(2))', [0.0, 1.0], [0.0, 0.0]),
    ('T.logaddexp(x, x)', [0.0], [1.0]),
    ('x.lerp(T.ones(1), 0.5)', [1.0], [0.5]),
    ('x.norm()', [0.0, 0.0], [0.0, 0.0]),
    ('x.norm(1)', [0.0, 2.0], [0.0, 1.0]),
    ('x.norm(3)', [0.0, 0.0], [0.0, 0.0]),
    ("x.norm(float('inf'))", [2.0, -2.0, 1.0], [0.5, -0.5, 0.0]),
    ("x.norm(float('inf'))", [0.0, 0.0], [0.0, 0.0]),
    ('x.norm(0.5)', [0.0, 1.0], [0.0, 1.0]),
    ("T.linalg.vector_norm(x, float('-inf'))", [1.0, -1.0, 2.0], [0.5, -0.5, 0.0]),
    ('T.linalg.vector_norm(x, 1)', [0.0, -1.0], [0.0, -1.0]),
    ('T.linalg.norm(x)', [0.0, 0.0], [0.0, 0.0]),
    ('T.dist(x, T.zeros(2))', [0.0, 0.0], [0.0, 0.0]),
    ('T.cdist(x[None], T.zeros(1, 2))', [0.0, 0.0], [0.0, 0.0]),
    ('F.normalize(x, dim=0)', [0.0, 0.0], [1000000000000.0, 1000000000000.0]),
    ('F.cosine_similarity(x, T.ones(2), dim=0)', [0.0, 0.0], [70710678.11865474, 70710678.11865474]),
    ('T.renorm(x[None], 2, 0, 1.0)', [0.6, 0.8], [1.0, 1.0]),
    ('x.std()', [1.0, 1.0], [0.0, 0.0]),
    ('x.var()', [1.0, 1.0], [0.0, 0.0]),
    ('x.std(0)', [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]),
    ('F.pairwise_distance(x[None], T.zeros(1, 2), eps=0.0)', [0.0, 0.0], [0.0, 0.0]),
    ('x.prod()', [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    ('x.prod()', [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
    ('x.prod(0)', [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    ('x.prod(0)', [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
    ('x.cumprod(0)', [2.0, 0.0, 3.0], [1.0, 8.0, 0.0]),
    ('x.cumprod(0)', [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]),
    ('x.logsumexp(0)', [0.0, 0.0], [0.5, 0.5]),
    ('x.logcumsumexp(0)', [0.0, 0.0], [1.5, 0.5]),
    ('x.softmax(0) * T.tensor([1.0, 0.0])', [0.0, 0.0], [0.25, -0.25]),
    ("F.l1_loss(x, T.zeros(2), reduction='sum')", [0.0, 1.0], [0.0, 1.0]),
    ("F.smooth_l1_loss(x, T.zeros(3), reduction='sum')", [0.0, 1.0, -1.0], [0.0, 1.0, -1.0]),
    ("F.huber_loss(x, T.zeros(3), reduction='sum')", [0.0, 1.0, -1.0], [0.0, 1.0, -1.0]),
    ("F.margin_ranking_loss(x, T.zeros(2), T.ones(2), margin=0.0, reduction='sum')", [0.0, -1.0], [-1.0, -1.0]),
    ("F.hinge_embedding_loss(x, -T.ones(2), reduction='sum')", [1.0, 0.0], [-1.0, -1.0]),
    ('F.multilabel_margin_loss(x, T.tensor([0, -1]))', [1.0, 0.0], [0.0, 0.0]),
    ('F.multi_margin_loss(x[None], T.tensor([0]))', [1.0, 0.0], [0.0, 0.0]),
    ("F.binary_cross_entropy(x, T.tensor([1.0, 0.0]), reduction='sum')", [1.0, 0.0], [0.0, 0.0]),
    ("F.kl_div(x, T.tensor([0.0, 1.0]), reduction='sum')", [0.0, 0.0], [0.0, -1.0]),
    ('F.max_pool1d(x[None], 2)', [1.0, 1.0], [1.0, 0.0]),
    ('F.adaptive_max_pool1d(x[None], 1)', [1.0, 1.0], [1.0, 0.0]),
    ('T.where(x > 0, x, -x)', [0.0, 1.0, -1.0], [-1.0, 1.0, -1.0]),
    ('x.masked_fill(x == 0, 0.0)', [0.0, 1.0], [0.0, 1.0]),
    ('x.nan_to_num()', [nan, inf, 1.0], [0.0, 0.0, 1.0]),
    ('x.logit(eps=0.25)', [0.25, 0.2, 0.5], [5.333333333333, 0.0, 4.0]),
    ("x.scatter_reduce(0, T.tensor([0, 0]), x.detach(), 'amax')", [1.0, 1.0], [0.333333333333, 1.0]),
    ("x.index_reduce(0, T.tensor([0]), T.tensor([1.0]), 'amax')", [1.0, 1.0], [0.5, 1.0]),
    ("x.scatter_reduce(0, T.tensor([0, 0]), T.tensor([0.0, 2.0]), 'prod')", [3.0, 1.0], [0.0, 1.0]),
    ('F.gelu(x)', [0.0], [0.5]),
    ('F.silu(x)', [0.0], [0.5]),
    ('F.mish(x)', [0.0], [0.6]),
    ('F.logsigmoid(x)', [0.0], [0.5]),
    ('F.softsign(x)', [0.0], [1.0]),
    ('F.tanhshrink(x)', [0.0], [0.0]),
    ('x.erfinv()', [0.0], [0.886226925453]),
    ('x.sinh()', [0.0], [1.0]),
    ('x.lgamma()', [1.0], [-0.577215664902]),
]


@pytest.fixture
def wide():
    """Numbers of 64 bits everywhere."""
    before = [T.get_default_dtype() for T in LIBRARIES]
    for T in LIBRARIES:
        T.set_default_dtype(T.float64)
    yield
    for T, dtype in zip(LIBRARIES, before):
        T.set_default_dtype(dtype)


def gradient(T, text, at):
    x = T.tensor(at, requires_grad=True)
    y = eval(text, {"T": T, "F": T.nn.functional, "x": x})
    return T.autograd.grad(y.sum(), x)[0].tolist()


@in_all
@pytest.mark.parametrize("text, at, expected", TABLE, ids=[f"{n}-{text}" for n, (text, *_) in enumerate(TABLE)])
def test_subgradients(wide, T, text, at, expected):
    assert gradient(T, text, at) == pytest.approx(expected, rel=1e-10, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("text, at, expected", TABLE, ids=[f"{n}-{text}" for n, (text, *_) in enumerate(TABLE)])
def test_subgradients_of_float32_are_those_of_float64(text, at, expected):
    """The kernels of both take the same side."""
    assert gradient(fg, text, at) == pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True)


#: The rows of functions of each element alone.
POINTWISE = {row["name"] for row in _ferrograd._operations() if row.get("arity") == 1}
ALONE = [row for row in TABLE if "T." not in row[0] and set(re.findall(r"^[xF]\.(\w+)", row[0])) & POINTWISE]


@pytest.mark.parametrize("text, at, expected", ALONE)
def test_subgradients_of_many_elements_are_those_of_one(wide, text, at, expected):
    """Vectors of the processor take the same side as single elements."""
    many = [number for number in at for _ in range(37)]
    assert gradient(fg, text, many) == pytest.approx([g for g in expected for _ in range(37)], rel=1e-10, abs=1e-10, nan_ok=True)


def test_there_are_functions_of_each_element_alone():
    assert {"x.abs()", "x.relu()", "x.sqrt()", "x.sign()"} <= {text for text, *_ in ALONE}


#: The first four derivatives of Bessel functions at 0. With `exp(-|x|)` the second has a jump there, whose middle counts.
BESSEL = {
    "i0": [0.0, 0.5, 0.0, 0.375], "i0e": [0.0, 0.5, 0.0, 0.375], "i1": [0.5, 0.0, 0.375, 0.0], "i1e": [0.5, 0.0, 0.375, 0.0],
}  # fmt: skip


def derivatives(T, name, at, count):
    """Derivatives of a special function, one after another."""
    x = T.tensor(at, dtype=T.float64, requires_grad=True)
    y, found = getattr(T.special, name)(x), []
    for _ in range(count):
        (y,) = T.autograd.grad(y, x, create_graph=True)
        found.append(y.item())
    return found


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("name", BESSEL)
def test_derivatives_of_bessel_functions_at_zero(name, zero):
    assert derivatives(fg, name, zero, 4) == BESSEL[name]
    if len(LIBRARIES) > 1:  # torch's derivatives beyond the second are zero there
        assert derivatives(LIBRARIES[1], name, zero, 2) == BESSEL[name][:2]


@pytest.mark.parametrize("at", [1e-300, 1e-10, -1e-3, 0.2, -0.4999, 0.5, 0.7, -3.0, 20.0])
def test_derivatives_of_the_first_bessel_function(at):
    # The sum of its series, differentiated term by term; from `I1' = (I0 + I2) / 2` and so on far from zero.
    special = pytest.importorskip("scipy.special")
    found = derivatives(fg, "i1", at, 3)
    expected = [special.ivp(1, at, n) for n in (1, 2, 3)]
    assert found == pytest.approx(expected, rel=1e-11, abs=1e-14 * abs(special.ivp(1, at, 1)))
