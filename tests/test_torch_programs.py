"""Random programs of views and changes in place, run in both libraries: the same values and gradients, or an error in both."""

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
        "rows": lambda t, w: t.__setitem__(T.tensor([0, 0, -1]), w) if t.dim() else t.add_(w),
        "add_rows": lambda t, w: (
            t.index_add_(0, T.tensor([0, 0]), numbers(t[:1].expand(2, *t.shape[1:])) * w) if t.dim() else t.mul_(w)
        ),
        "read": lambda t, w: None,
    }


def run(T, program, requires_grad: bool):
    """The value of the base and of all views after a program, and the gradient of the leaf; or the class of the error."""
    leaf = T.tensor(np.linspace(-1.0, 1.0, 24).reshape(4, 6), requires_grad=requires_grad)
    weight = T.tensor(1.3, dtype=T.float64, requires_grad=requires_grad)
    tensors = [leaf * weight]
    kept = []
    try:
        for kind, *rest in program:
            if kind == "view":
                source, make, recorded = rest
                if recorded:
                    tensors.append(make(tensors[source % len(tensors)]))
                else:
                    with T.no_grad():
                        tensors.append(make(tensors[source % len(tensors)]))
            elif kind == "change":
                target, name, seed = rest
                changes(T, seed)[name](tensors[target % len(tensors)], weight)
            else:
                kept.append(tensors[rest[0] % len(tensors)].sin())
        total = 0
        for n, t in enumerate(tensors + kept):
            weights = T.tensor(np.random.default_rng(n).uniform(0.5, 2.0, size=tuple(t.shape)))
            total = total + (t * weights).sum()
        values = [t.detach().numpy().copy() for t in tensors]
        if requires_grad:
            total.backward()
            values += [leaf.grad.numpy(), weight.grad.numpy() if weight.grad is not None else np.zeros(())]
        return values
    except (RuntimeError, IndexError) as error:
        return type(error).__name__


#: Changes of elements that share memory which torch refuses, or makes the same everywhere. All others it makes in an order
#: that nothing says, with a warning; they are an error here.
OF_SHARED = ["mul", "add", "square", "fill", "copy", "zero", "set", "read"]


def shares_memory(t) -> bool:
    """True for an expanded tensor."""
    return any(stride == 0 and size > 1 for stride, size in zip(t.stride(), t.shape))


@st.composite
def programs(draw, requires_grad: bool):
    """Steps whose views exist, found by making them of an empty tensor."""
    steps, made, unrecorded = [], [torch.zeros(4, 6)], []
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["view", "view", "change", "change", "use"]))
        at = draw(st.integers(0, len(made) - 1))
        if kind == "view":
            make = draw(view_step(tuple(made[at].shape)))
            if make is not None:
                recorded = draw(st.integers(0, 9)) > 0
                if not recorded:
                    unrecorded.append(len(made))
                steps.append(("view", at, make, recorded))
                made.append(make(made[at]))
        elif kind == "change" and made[at].numel() > 0:
            # A view made while nothing is recorded has no gradient here; torch refuses it once its base has changed.
            at = draw(st.sampled_from(unrecorded)) if unrecorded and requires_grad else at
            allowed = OF_SHARED if shares_memory(made[at]) else sorted(changes(torch, 0))
            steps.append(("change", at, draw(st.sampled_from(allowed)), draw(st.integers(0, 99))))
        elif kind == "use":
            steps.append(("use", at))
    return steps


@settings(max_examples=400, deadline=None)
@pytest.mark.parametrize("requires_grad", [False, True])
@given(data=st.data())
def test_random_programs(requires_grad, data):
    program = data.draw(programs(requires_grad))
    ours, theirs = run(fg, program, requires_grad), run(torch, program, requires_grad)
    if isinstance(theirs, str) or isinstance(ours, str):
        assert ours == theirs
        return
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
