"""Every operation of the table: its value against NumPy, its derivatives against differences, its example.

The table says which element-wise operations there are and from where to draw; a new block is tested without a line here.
"""

import doctest
import re

import numpy as np
import pytest
from drawn import LAYOUTS, laid_out
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import broadcastable_shapes, mutually_broadcastable_shapes
from samples import ARGUMENTS, FUNCTIONS, NUMPY, WITHOUT_DERIVATIVE
from samples.random import DRAWN

import ferrograd as fg
from ferrograd import _ferrograd

TABLE = {row["name"]: row for row in _ferrograd._operations()}
POINTWISE = {name: row for name, row in TABLE.items() if "arity" in row}
#: Which operand is a condition or a mask.
MASKED = {"where": 0, "masked_fill": 1}
DIFFERENTIABLE = sorted(n for n, r in POINTWISE.items() if r["differentiable"] and n != "floor_divide")

HOMES = {"Package": fg, "Tensor": fg.Tensor, "Nn": _ferrograd._nn, "Special": _ferrograd._special, "Linalg": _ferrograd._linalg}


def function(name):
    """The operation as a Python function of tensors."""
    row = TABLE[name]
    return getattr(HOMES[row["home"]] if row["function"] else fg.Tensor, name.rpartition(".")[2])


def takes_number(row, n):
    """True where operand `n` of an element-wise operation is a parameter: a number, never a tensor."""
    parameters = row["signatures"][0].split("(", 1)[1].replace("*, ", "").split(", ")
    return n < len(parameters) and parameters[n].startswith("Number")


def documented(text):
    """The formula of one operand that a docstring gives, `y = x / (1 + |x|)`, as a function of NumPy's; None where there is
    none."""
    found = re.search(r"`y = ([^`]+)`", text)
    if found is None:
        return None
    formula = re.sub(r"\|([^|]+)\|", r"abs(\1)", found[1]).replace("^", "**")
    try:
        code = compile(formula, "docstring", "eval")
    except SyntaxError as error:
        raise AssertionError(f"`y = {found[1]}` is not as Python reads it: write it so, or a line of NUMPY in tests/samples") from error
    return lambda x: np.asarray(eval(code, vars(np) | {"x": x}))


def reference(name):
    """NumPy's function for an operation: that of the samples, else the formula of its docstring."""
    return NUMPY.get(name) or documented(function(name).__doc__)


def test_no_name_stands_for_two_operations():
    home = {"Nn": "nn.", "Special": "special.", "Linalg": "linalg."}
    names = []
    for row in _ferrograd._operations():
        own = home.get(row["home"], "package.")
        full = lambda name: name if "." in name else own + name  # noqa: E731 - used twice, here only
        names += [full(row["name"]), *(full(alias) for alias in row["aliases"])]
    assert sorted(n for n in set(names) if names.count(n) > 1) == []


def test_every_operation_has_a_reference():
    assert [name for name in POINTWISE if reference(name) is None] == []
    assert sorted(name for name in NUMPY if name not in POINTWISE) == []


def test_the_formula_of_a_docstring_is_read():
    softsign = documented("Softsign: `y = x / (1 + |x|)`, `dy/dx = 1 / (1 + |x|)^2`.")
    assert softsign(np.array([-1.0, 3.0])).tolist() == [-0.5, 0.75]
    assert documented("`y = exp(x)^2`")(np.zeros(2)).tolist() == [1, 1]
    assert documented("No formula.") is None


def draw(data, row, shapes, dtype):
    """Numbers of the operation's domain."""
    arrays = []
    for n, ((low, high), shape) in enumerate(zip(row["domain"], shapes)):
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        if takes_number(row, n):
            arrays.append(float(rng.uniform(low, high)))
            continue
        arrays.append(rng.uniform(low, high, size=shape).astype(dtype))
    return arrays


def operands(name, arrays):
    """The operands of a call: a condition and a mask are truth values, what fills is one number."""
    arrays = list(arrays)
    if name in MASKED:
        arrays[MASKED[name]] = np.asarray(arrays[MASKED[name]] > 1.0)
    if name == "masked_fill":
        arrays[2] = np.asarray(arrays[2].ravel()[:1].sum(), arrays[2].dtype)
    return arrays


def placed(data, arrays, layouts=LAYOUTS):
    """The operands with their elements transposed, with steps, expanded or flipped: as arrays and as tensors, numbers as they are."""
    made = [(a, a) if type(a) is float else laid_out(np.asarray(a), data.draw(st.sampled_from(layouts))) for a in arrays]
    return [array for array, _ in made], [tensor for _, tensor in made]


def shapes_of(data, row, **bounds):
    """Shapes that broadcast, one an operand; those of numbers are no matter."""
    tensors = [n for n in range(row["arity"]) if not takes_number(row, n)]
    drawn = iter(data.draw(mutually_broadcastable_shapes(num_shapes=len(tensors), min_side=0, **bounds)).input_shapes)
    return [next(drawn) if n in tensors else () for n in range(row["arity"])]


@pytest.mark.parametrize("name", sorted(POINTWISE))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_value_is_numpys(name, data):
    row = POINTWISE[name]
    shapes = shapes_of(data, row, max_dims=4, max_side=5)
    dtype = data.draw(st.sampled_from(["int32", "int64"] if row["rule"] in ("Bits", "Integer") else ["float32", "float64"]))
    arrays, tensors = placed(data, operands(name, draw(data, row, shapes, dtype)))
    ours = function(name)(*tensors).numpy()
    theirs = reference(name)(*arrays)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=3e-6 if dtype == "float32" else 1e-14, atol=1e-7 if dtype == "float32" else 1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_few_elements_have_the_bits_of_many(name, dtype):
    """Few elements run the formula directly and many run a program over blocks: one formula, the same bits."""
    row, call = POINTWISE[name], function(name)
    rng = np.random.default_rng(11)
    arrays = [
        float(rng.uniform(*bounds)) if takes_number(row, n) else rng.uniform(*bounds, 80).astype(dtype)
        for n, bounds in enumerate(row["domain"])
    ]
    arrays += [np.asarray(1.5, dtype)] if name == "masked_fill" else []
    arrays = operands(name, arrays[: row["arity"]])
    weights = rng.uniform(-1, 1, 80).astype(dtype)

    def run(part):
        inputs = [a if type(a) is float else fg.tensor(a[part] if a.ndim else a) for a in arrays]
        leaves = [t.requires_grad_() for t in inputs if type(t) is not float and t.is_floating_point() and t.dim()]
        y = call(*inputs)
        found = fg.autograd.grad(y, leaves, fg.tensor(weights[part]), allow_unused=True)
        return [y.detach().numpy()] + [np.zeros(0, dtype) if g is None else g.numpy() for g in found]

    many = run(slice(0, 80))
    for few in (1, 2, 5, 16):
        pieces = zip(*(run(slice(i, i + few)) for i in range(0, 80, few)))
        for whole, piece in zip(many, pieces):
            assert np.concatenate(piece).tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_derivatives_are_those_of_differences(name, data):
    row = POINTWISE[name]
    shapes = shapes_of(data, row, max_dims=3, max_side=3)
    arrays = draw(data, row, shapes, "float64")
    # Differences straddle kinks and jumps: keep away from ties and whole numbers.
    away = [a if type(a) is float else np.round(a * 2) / 2 + 0.11 + 0.07 * i for i, a in enumerate(arrays)]
    # Differences move one element at a time: those of expanded tensors do not.
    _, made = placed(data, away, [how for how in LAYOUTS if how != "expanded"])
    inputs = [t.requires_grad_() for t in made if type(t) is not float]
    if name in MASKED:
        at = MASKED[name]
        mask = fg.tensor(arrays[at] > 0)
        rest = inputs[:at] + inputs[at + 1 :]
        if name == "masked_fill":
            rest[1] = fg.tensor(0.7, dtype=fg.float64, requires_grad=True)
        assert fg.autograd.gradcheck(lambda *others: function(name)(*others[:at], mask, *others[at:]), rest)
        return

    def of_tensors(*tensors):
        given = iter(tensors)
        return function(name)(*[a if type(a) is float else next(given) for a in away])

    assert fg.autograd.gradcheck(of_tensors, inputs)
    assert fg.autograd.gradgradcheck(of_tensors, inputs)


def test_samples_are_of_functions():
    functions = {n for n in TABLE if n not in POINTWISE and not n.endswith("_")}
    assert (set(FUNCTIONS) | WITHOUT_DERIVATIVE) - functions == set()
    assert set(FUNCTIONS) & WITHOUT_DERIVATIVE == set()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_derivatives_of_samples(name):
    """Of what samples combine; the derivatives in drawn calls are tested in `test_drawn`."""
    x = fg.tensor(np.random.default_rng(5).normal(size=(3, 4)), requires_grad=True)
    assert fg.autograd.gradcheck(FUNCTIONS[name], x)
    assert fg.autograd.gradgradcheck(FUNCTIONS[name], x)


IN_PLACE = sorted(
    n for n in TABLE
    if n.endswith("_") and n[:-1] in TABLE and (n[:-1] not in POINTWISE or POINTWISE[n[:-1]]["differentiable"])
    and not n.startswith("bitwise") and n[:-1] not in DRAWN
)


def between(bounds, *portions):
    """Numbers of a domain, by how far they lie into it."""
    low, high = bounds
    return [low + (high - low) * portion for portion in portions]


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_is_the_operation(name):
    """The in-place form gives the values and gradients of the operation that it is named after."""
    plain = name[:-1]
    domain = [(0.2, 1.2)]
    others = ARGUMENTS.get(plain)
    if plain in POINTWISE:
        domain = POINTWISE[plain]["domain"]
    if others is None:
        is_number = [takes_number(POINTWISE[plain], n) for n in range(len(domain))] if plain in POINTWISE else [False]
        others = [
            between(bounds, 0.6)[0] if number else fg.tensor(between(bounds, 0.7, 0.8), dtype=fg.float64)
            for bounds, number in zip(domain[1:], is_number[1:])
        ]
    shaped = others[0] if others and callable(others[0]) else lambda x: x
    others = [other for other in others if not callable(other)]
    found = []
    for in_place in (True, False):
        x = fg.tensor([between(domain[0], 0.3, 0.55), between(domain[0], 0.05, 0.9)], dtype=fg.float64, requires_grad=True)
        y = shaped(x * 1.0)
        before = y
        z = function(name if in_place else plain)(y, *others)
        if in_place:
            assert z is before
            assert y._version == 1
        (z * fg.tensor([0.5, -2.0])).sum().backward()
        found.append((z.tolist(), x.grad.tolist()))
    np.testing.assert_allclose(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1])


@pytest.mark.parametrize("name", sorted(TABLE))
def test_example_runs(name):
    doc = TABLE[name]["doc"]
    assert ">>>" in doc, f"{name} has no example"
    test = doctest.DocTestParser().get_doctest(doc, {"ferrograd": fg}, name, None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    messages = []
    runner.run(test, out=messages.append)
    assert runner.failures == 0, "".join(messages)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_broadcast_gradients_sum_back(data):
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    other = data.draw(broadcastable_shapes(shape, max_dims=3))
    x = fg.ones(*other, requires_grad=True) if other else fg.tensor(1.0, requires_grad=True)
    (x * fg.ones(*shape)).sum().backward()
    total = np.prod(np.broadcast_shapes(shape, other))
    np.testing.assert_allclose(x.grad.numpy(), total / max(1, np.prod(other)))


@pytest.mark.parametrize("elements", [*range(1, 40), 57, 58, 114, 115, 1000, 10**6])
def test_elements_begin_a_cache_line(elements):
    made = [fg.empty(elements), fg.ones(elements) + 1, fg.rand(elements), fg.zeros(elements, dtype=fg.bool)]
    assert [t.data_ptr() % 64 for t in made] == [0, 0, 0, 0]
