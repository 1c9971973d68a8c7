"""The derivatives of every operation that is not element-wise, against differences, in calls drawn from the table."""

import functools
import os

import captured
import numpy as np
import pytest
from captured import TABLE, call, mapped, tensors
from drawn import drawn
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from samples import PREPARED, WITHOUT_DERIVATIVE

import ferrograd as fg
from ferrograd.autograd.gradcheck import GradcheckError

# The same calls in every run, and so many others where asked for.
EXAMPLES = int(os.environ.get("FERROGRAD_DRAWN", 10))
FUNCTIONS = sorted(name for name, row in TABLE.items() if "arity" not in row and not name.endswith("_"))
WITH_DERIVATIVE = [name for name in FUNCTIONS if name not in WITHOUT_DERIVATIVE]
#: How far an example may be from where a step of it is tried.
STEP = 2e-6


def settled(examples, phases=tuple(Phase)):
    """Settings that leave it to the tests to say how many calls must have been accepted."""
    few = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, derandomize="FERROGRAD_DRAWN" not in os.environ, deadline=None, suppress_health_check=few, phases=phases)


def floats(result):
    return [t for t in tensors(tuple(result) if isinstance(result, tuple) else result) if t.is_floating_point()]


def collapsed(t):
    """A leaf of the elements that a tensor has in memory, in its layout: expanded dimensions have size 1."""
    for d, (stride, size) in enumerate(zip(t.stride(), t.shape)):
        if stride == 0 and size > 1:
            t = t.narrow(d, 0, 1)
    return t.detach().requires_grad_()


def written(name, arguments, named):
    """The places among the tensors of a call of those that the call writes to, as to running statistics."""
    copied = [mapped(a, fg.clone) for a in arguments], {key: mapped(value, fg.clone) for key, value in named.items()}
    before = [t._version for t in tensors([copied[0], list(copied[1].values())])]
    try:
        call(name, *copied)
    except RuntimeError:
        # The places that `as_strided` names are in the memory of the drawn tensor only.
        assume(not name.startswith("as_strided"))
        raise
    return {n for n, t in enumerate(tensors([copied[0], list(copied[1].values())])) if t._version != before[n]}


def constant(name, arguments, named):
    """The places of the tensors that an operation says have no gradient."""

    def refuses(place):
        places = iter(range(99))

        def own(t):
            return t.detach().requires_grad_() if next(places) == place and t.is_floating_point() else t

        made = [mapped(a, own) for a in arguments], {key: mapped(value, own) for key, value in named.items()}
        try:
            call(name, *made)
        except RuntimeError as error:
            return "no gradient: detach()" in str(error)

    return {n for n, _ in enumerate(tensors([arguments, list(named.values())])) if refuses(n)}


def as_function(name, arguments, named):
    """A call as a function of its floating-point tensors, and these as leaves. What it writes to is constant."""
    kept = written(name, arguments, named) | constant(name, arguments, named)
    given = list(tensors([arguments, list(named.values())]))
    moving = [n for n, t in enumerate(given) if t.is_floating_point() and n not in kept]
    leaves = [collapsed(given[n]) for n in moving]
    prepare = PREPARED.get(name, lambda *inputs: inputs)

    def function(*inputs):
        expanded = {n: x.expand(given[n].shape) for n, x in zip(moving, prepare(*inputs))}
        places = iter(range(len(given)))

        def own(t):
            n = next(places)
            return expanded.get(n, t.clone() if n in kept else t)

        made = [mapped(a, own) for a in arguments], {key: mapped(value, own) for key, value in named.items()}
        return call(name, *made)

    return function, leaves, [given[n].detach() for n in moving]


def smooth(function, inputs):
    """True where a small step changes the result by as much as the step back: there is no kink, as at ties, and no jump."""
    rng = np.random.default_rng(3)
    steps = [fg.tensor(rng.uniform(0.5, 1.0, tuple(x.shape)) * rng.choice([-STEP, STEP], tuple(x.shape))) for x in inputs]
    try:
        with fg.no_grad():
            here, after, before = (floats(function(*[x + k * step for x, step in zip(inputs, steps)])) for k in (0, 1, -1))
    except RuntimeError:
        return False  # The places that `as_strided` names are in the memory of the drawn tensor only.
    for y, up, down in zip(here, after, before):
        if not (y.shape == up.shape == down.shape and bool(y.isfinite().all())):
            return False
        room = 1e-3 * STEP * (1 + y.abs())
        if not bool(((up - y) - (y - down) <= room).all()) or not bool(((y - down) - (up - y) <= room).all()):
            return False
    return True


def shapes(leaves):
    return tuple(tuple(x.shape) for x in leaves)


def differentiable(name, data):
    """A drawn call as a function whose derivatives are those of differences; there must be such."""
    function, leaves, inputs = as_function(name, *drawn(data, name))
    assume(leaves and smooth(function, inputs))
    return function, leaves, any(y.requires_grad for y in floats(function(*leaves)))


def enough(seen, examples):
    """Tests that could not fail are none: most calls were checked, with gradients, and with several shapes."""
    assert len(seen) >= examples // 2, f"{len(seen)} calls of {examples} were checked"
    moved = [found for found, gradient in seen if gradient and any(np.prod(shape, dtype=int) for shape in found)]
    assert len(moved) >= examples // 3, f"{len(moved)} of {len(seen)} calls have gradients"
    assert examples < 6 or len(set(moved)) >= 2, moved


#: Operations that have no tangents by their first operand, which is an error, as in torch.
WITHOUT_TANGENTS = {"zeta"}


@pytest.mark.parametrize("name", [name for name in WITH_DERIVATIVE if name not in WITHOUT_TANGENTS])
def test_derivatives_are_those_of_differences(name):
    """Of backward and forward mode, and of a batch of gradients."""
    seen = []

    @settled(EXAMPLES)
    @given(data=st.data())
    def run(data):
        function, leaves, gradient = differentiable(name, data)
        assert fg.autograd.gradcheck(function, leaves, check_forward_ad=True, check_batched_grad=True)
        seen.append((shapes(leaves), gradient))

    run()
    enough(seen, EXAMPLES)


@pytest.mark.parametrize("name", sorted(WITHOUT_TANGENTS))
def test_derivatives_without_tangents_are_those_of_differences(name):
    """As above, of backward mode alone."""
    seen = []

    @settled(EXAMPLES)
    @given(data=st.data())
    def run(data):
        function, leaves, gradient = differentiable(name, data)
        assert fg.autograd.gradcheck(function, leaves, check_batched_grad=True)
        seen.append((shapes(leaves), gradient))

    run()
    enough(seen, EXAMPLES)


#: Operations and the calls in which their derivative is made wrong.
WRONG = {
    "softmax": lambda x, dim, *_, **__: dim % max(x.dim(), 1) != x.dim() - 1,
    "cumsum": lambda x, *_, **__: not x.is_contiguous(),
    "logsumexp": lambda x, dim, keepdim=False: keepdim,
    "mm": lambda x, y: not y.is_contiguous(),
    "cat": lambda parts, dim=0: dim < 0,
    "nn.linear": lambda x, weight, bias=None: bias is None,
    "nn.conv1d": lambda x, weight, *_, stride=1, groups=1, **__: groups != 1,
    "index_select": lambda x, dim, index: index.shape[0] > 2,
    "nn.mse_loss": lambda x, y, *_, reduction="mean", **__: reduction == "sum",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_derivative_that_is_wrong_in_some_calls_is_found(name, monkeypatch):
    """A mutant has the operation's value and twice its gradient where a condition holds."""
    right = captured.function(name)

    def mutant(*arguments, **named):
        y = right(*arguments, **named)
        return y + (y - y.detach()) if WRONG[name](*arguments, **named) else y

    monkeypatch.setattr(captured, "function", lambda asked: mutant)
    # The smallest such call is of no interest.
    monkeypatch.setattr("test_drawn.settled", functools.partial(settled, phases=[Phase.generate]))
    # Calls in which the mutant is wrong are one of several.
    monkeypatch.setattr("test_drawn.EXAMPLES", 4 * EXAMPLES)
    with pytest.raises(GradcheckError):
        test_derivatives_are_those_of_differences(name)


@pytest.mark.parametrize("name", WITH_DERIVATIVE)
def test_second_derivatives_are_those_of_differences(name):
    seen = []

    @settled(EXAMPLES // 2)
    @given(data=st.data())
    def run(data):
        function, leaves, gradient = differentiable(name, data)
        assert fg.autograd.gradgradcheck(function, leaves, fast_mode=True)
        seen.append((shapes(leaves), gradient))

    run()
    enough(seen, EXAMPLES // 2)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) & WITHOUT_DERIVATIVE))
def test_others_have_no_derivative(name):
    """Their results have no gradient, or zeros."""
    seen = []

    @settled(EXAMPLES)
    @given(data=st.data())
    def run(data):
        arguments, named = drawn(data, name)
        given = [t for t in tensors([arguments, list(named.values())]) if t.is_floating_point()]
        leaves = {id(t): t.detach().requires_grad_() for t in given}
        made = [[mapped(a, lambda t: leaves.get(id(t), t)) for a in arguments], {k: mapped(v, lambda t: leaves.get(id(t), t)) for k, v in named.items()}]
        results = [y for y in floats(call(name, *made)) if y.requires_grad]
        try:
            found = fg.autograd.grad([y.sum() for y in results], list(leaves.values()), allow_unused=True) if results else []
        except NotImplementedError as error:
            assert "derivative for" in str(error)
            found = []
        # What is drawn does not move with its parameters.
        assert not any(g is not None and bool((g != 0).any()) for g in found)
        seen.append(name)

    run()
    assert len(seen) >= EXAMPLES // 2
