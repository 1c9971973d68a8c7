"""Random programs of views, changes in place and shared nodes, run in both libraries: the same values, derivatives of the
first and second order and tangents, or an error in both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrograd as fg

torch = pytest.importorskip("torch")


@st.composite
def view_step(draw, shape):
    """A view of a tensor of a shape as a function of it, with its text; `None` where the shape allows none."""
    rank = len(shape)
    kind = draw(st.sampled_from(["slice", "select", "transpose", "unsqueeze", "flatten", "diagonal", "unfold", "index", "expand"]))
    dim = draw(st.integers(0, max(rank - 1, 0)))
    if kind == "unsqueeze" and rank < 4:
        return lambda t: t.unsqueeze(dim)
    if rank == 0 or 0 in shape:
        return None
    size = shape[dim]
    if kind == "slice":
        start, step = draw(st.integers(0, size - 1)), draw(st.integers(1, 2))
        index = (slice(None),) * dim + (slice(start, None, step),)
        return lambda t: t[index]
    if kind == "select":
        at = draw(st.integers(-size, size - 1))
        return lambda t: t.select(dim, at)
    if kind == "transpose":
        other = draw(st.integers(0, rank - 1))
        return lambda t: t.transpose(dim, other)
    if kind == "flatten" and rank > 1:
        return lambda t: t.reshape(-1)
    if kind == "diagonal" and rank > 1:
        offset = draw(st.integers(-1, 1))
        return lambda t: t.diagonal(offset)
    if kind == "unfold" and size > 1:
        return lambda t: t.unfold(dim, 2, 2)
    if kind == "expand":
        return lambda t: t.expand(2, *t.shape)
    return None


def changes(T, seed: int):
    """The changes in place that programs make of a tensor."""
    rng = np.random.default_rng(seed)

    def numbers(t):
        return T.tensor(rng.uniform(0.5, 1.5, size=tuple(t.shape)))

    return {
        "mul": lambda t, w: t.mul_(numbers(t)),
        "add": lambda t, w: t.add_(numbers(t) * w),
        "square": lambda t, w: t.pow_(2),
        "fill": lambda t, w: t.fill_(0.7),
        "copy": lambda t, w: t.copy_(numbers(t) * w),
        "zero": lambda t, w: t.zero_(),
        "set": lambda t, w: t.__setitem__(Ellipsis, numbers(t) * w),
        "mask": lambda t, w: t.masked_fill_(numbers(t) > 1.0, 0.3),
        "assign": lambda t, w: t.__setitem__(numbers(t) > 1.0, w),
        "first": lambda t, w: t.__setitem__(0, w * 2) if t.dim() else t.mul_(w),
        "rows": lambda t, w: t.__setitem__(T.tensor([*range(0, len(t), 2)]), w) if t.dim() else t.add_(w),
        "rows_twice": lambda t, w: t.__setitem__(T.tensor([0, 0, -1]), w) if t.dim() else t.add_(w),
        "add_rows": lambda t, w: (
            t.index_add_(0, T.tensor([0, 0]), numbers(t[:1].expand(2, *t.shape[1:])) * w) if t.dim() else t.mul_(w)
        ),
        "read": lambda t, w: None,
    }


def one_of_several(T, t, at: int, form: str, stands: bool = True):
    """A row as one of several views. torch forbids such views once their base has changed: there it is a view of its own,
    which shows and follows the same."""
    if T is torch and stands:
        return t[at] if form == "unbind" else t[at : at + 1]
    return t.unbind()[at] if form == "unbind" else t.split(1)[at]


def derivatives(T, total, inputs):
    """The gradients with respect to the inputs, and those of a number made of them."""
    first = T.autograd.grad(total, inputs, create_graph=True, materialize_grads=True)
    second = sum(
        (g * T.tensor(np.random.default_rng(n).uniform(0.5, 2.0, size=tuple(g.shape)))).sum() for n, g in enumerate(first)
    )
    found = [*first]
    if second.requires_grad:
        found += T.autograd.grad(second, inputs, materialize_grads=True)
    return [g.detach().numpy() for g in found]


def played(T, program, leaf, weight, stands: bool = True):
    """The tensors that a program makes of a leaf and a number, first those that it may change."""
    tensors, kept = [leaf * weight], []
    for kind, *rest in program:
        if kind == "view":
            source, make, recorded = rest
            with T.set_grad_enabled(recorded):
                tensors.append(make(tensors[source]))
        elif kind == "several":
            source, at, form = rest
            tensors.append(one_of_several(T, tensors[source], at, form, stands))
        elif kind == "change":
            target, name, seed, recorded = rest
            with T.set_grad_enabled(recorded):
                changes(T, seed)[name](tensors[target], weight)
        elif kind == "mix":
            tensors.append(tensors[rest[0]] * tensors[rest[1]].mean())
        else:
            kept.append(tensors[rest[0]].sin())
    return tensors, kept


def tangents(T, program):
    """The value and the tangent of all tensors after a program; or the class of the error."""
    forward = T.autograd.forward_ad
    numbers = np.linspace(-1.0, 1.0, 24).reshape(4, 6)
    with forward.dual_level():
        leaf = forward.make_dual(T.tensor(numbers), T.tensor(np.cos(numbers)))
        weight = forward.make_dual(T.tensor(1.3, dtype=T.float64), T.tensor(0.7, dtype=T.float64))
        try:
            tensors, kept = played(T, program, leaf, weight, stands=False)
        except (RuntimeError, IndexError) as error:
            return type(error).__name__
        found = []
        for t in tensors + kept:
            primal, tangent = forward.unpack_dual(t)
            found += [primal.numpy().copy(), np.zeros(primal.shape) if tangent is None else tangent.numpy().copy()]
        return found


def run(T, program, requires_grad: bool):
    """The value of the base and of all views after a program, and the derivatives; or the class of the error."""
    leaf = T.tensor(np.linspace(-1.0, 1.0, 24).reshape(4, 6), requires_grad=requires_grad)
    weight = T.tensor(1.3, dtype=T.float64, requires_grad=requires_grad)
    try:
        tensors, kept = played(T, program, leaf, weight)
        total = 0
        for n, t in enumerate(tensors + kept):
            weights = T.tensor(np.random.default_rng(n).uniform(0.5, 2.0, size=tuple(t.shape)))
            total = total + (t * t * weights).sum()
        values = [t.detach().numpy().copy() for t in tensors]
        if requires_grad:
            values += derivatives(T, total, [leaf, weight])
        return values
    except (RuntimeError, IndexError) as error:
        return type(error).__name__


#: A row that is assigned twice has two gradients in both libraries, and here two tangents.
ONCE = ["rows_twice"]
#: Changes of elements that share memory which torch refuses, or makes the same everywhere. All others it makes in an order
#: that nothing says, with a warning; they are an error here.
OF_SHARED = ["mul", "add", "square", "fill", "copy", "zero", "set", "read"]


def shares_memory(t) -> bool:
    """True for an expanded tensor."""
    return any(stride == 0 and size > 1 for stride, size in zip(t.stride(), t.shape))


@st.composite
def programs(draw, requires_grad: bool, left_out=()):
    """Steps whose views exist, found by making them of an empty tensor."""
    steps, made, unrecorded, several = [], [torch.zeros(4, 6)], [], []
    for _ in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["view", "view", "several", "change", "change", "use", "mix"]))
        at = draw(st.integers(0, len(made) - 1))
        if kind == "several":
            if made[at].dim() and len(made[at]):
                row, form = draw(st.integers(0, len(made[at]) - 1)), draw(st.sampled_from(["unbind", "split"]))
                several.append(len(made))
                if at in unrecorded:
                    unrecorded.append(len(made))
                steps.append(("several", at, row, form))
                made.append(one_of_several(torch, made[at], row, form))
        elif kind == "mix":
            other = draw(st.integers(0, len(made) - 1))
            if made[other].numel():
                steps.append(("mix", at, other))
                made.append(made[at] * made[other].mean())
        elif kind == "view":
            make = draw(view_step(tuple(made[at].shape)))
            if make is not None:
                recorded = draw(st.integers(0, 9)) > 0
                if not recorded or at in unrecorded:
                    unrecorded.append(len(made))
                if at in several:
                    several.append(len(made))
                steps.append(("view", at, make, recorded))
                made.append(make(made[at]))
        elif kind == "change" and made[at].numel() > 0:
            # A view made while nothing is recorded has no gradient here; torch refuses it once its base has changed.
            at = draw(st.sampled_from(unrecorded)) if unrecorded and requires_grad else at
            # Both refuse a recorded change of one of several views, but not of one that stands for it.
            recorded = bool(unrecorded) or draw(st.integers(0, 5)) > 0 and not (at in several and requires_grad)
            allowed = OF_SHARED if shares_memory(made[at]) else sorted(changes(torch, 0).keys() - set(left_out))
            steps.append(("change", at, draw(st.sampled_from(allowed)), draw(st.integers(0, 99)), recorded))
        elif kind == "use":
            steps.append(("use", at))
    return steps


@settings(max_examples=400, deadline=None)
@pytest.mark.parametrize("requires_grad", [False, True])
@given(data=st.data())
def test_random_programs(requires_grad, data):
    program = data.draw(programs(requires_grad))
    agree(run(fg, program, requires_grad), run(torch, program, requires_grad))


def agree(ours, theirs):
    if isinstance(theirs, str) or isinstance(ours, str):
        assert ours == theirs
        return
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_tangents_of_random_programs(data):
    program = data.draw(programs(False, ONCE))
    agree(tangents(fg, program), tangents(torch, program))

TRANSFORMS = {
    "jvp": lambda F, f, x, v, all: F.jvp(f, (x,), (v,)),
    "grad": lambda F, f, x, v, all: F.grad(f)(x),
    "vmap": lambda F, f, x, v, all: F.vmap(f)(all),
    "vmap of grad": lambda F, f, x, v, all: F.vmap(F.grad(f))(all),
    "vmap of jvp": lambda F, f, x, v, all: F.vmap(lambda x: F.jvp(f, (x,), (v,)))(all),
    "jvp of grad": lambda F, f, x, v, all: F.jvp(F.grad(f), (x,), (v,)),
    "grad of vmap": lambda F, f, x, v, all: F.grad(lambda all: F.vmap(f)(all).sin().sum())(all),
}


def transformed(T, program, transform):
    """What a transform makes of the function that a program is; or the error."""
    weight = T.tensor(1.3, dtype=T.float64)

    def total(leaf):
        tensors, kept = played(T, program, leaf, weight, stands=False)
        weights = [T.tensor(np.random.default_rng(n).uniform(0.5, 2.0, size=tuple(t.shape))) for n, t in enumerate(tensors + kept)]
        return sum((t.sin() * w).sum() for t, w in zip(tensors + kept, weights))

    x = T.tensor(np.linspace(-1.0, 1.0, 24).reshape(4, 6))
    try:
        found = TRANSFORMS[transform](T.func, total, x, x.cos(), T.stack([x, x * 0.5, x + 0.3]))
    except (RuntimeError, IndexError, ValueError) as error:
        return error
    return [t.detach().numpy() for t in (found if isinstance(found, tuple) else (found,))]


@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("transform", TRANSFORMS)
@given(data=st.data())
def test_transforms_of_random_programs(transform, data):
    """Where torch can transform a program, so can we, to the same numbers."""
    program = data.draw(programs(False, ONCE))
    theirs = transformed(torch, program, transform)
    if isinstance(theirs, Exception):
        return
    ours = transformed(fg, program, transform)
    assert not isinstance(ours, Exception), ours
    agree(ours, theirs)
