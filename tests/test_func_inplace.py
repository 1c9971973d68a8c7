"""Changes in place within transforms, held against torch.func: of examples and their views, of arguments, and of what was
there before.
"""

import numpy as np
import pytest
from test_func import BATCH, RNG, X, agree, failure

import ferrograd as fg
from ferrograd import func as fgf

#: Changes of a vector `a`, which is an example of a batch.
IN_PLACE = {
    "number": lambda T, a: a.add_(1),
    "slice": lambda T, a: a[1:3].mul_(2),
    "element": lambda T, a: a[2].mul_(2),
    "two views": lambda T, a: (a[1:].add_(1), a[:2].mul_(3)),
    "view of a view": lambda T, a: a.view(5, 1).t()[0, 1:].add_(a[:4].clone()),
    "new dimension": lambda T, a: a.unsqueeze(0).add_(1),
    "set one": lambda T, a: a.__setitem__(0, a[1] * 2),
    "set a slice": lambda T, a: a.__setitem__(slice(0, 2), a[1:3].clone()),
    "set by indices": lambda T, a: a.__setitem__(T.tensor([0, 2]), a[3] * 2),
    "set a number": lambda T, a: a.__setitem__(0, 7.0),
    "set by a shared mask": lambda T, a: a.__setitem__(T.tensor([True, False, True, False, True]), 0.0),
    "set by a mask": lambda T, a: a.masked_fill_(a > 0, 0.0),
    "copy of what is shared": lambda T, a: a.copy_(T.arange(5.0, dtype=T.float64)),
    "copy of itself": lambda T, a: a.copy_(a.flip(0)),
    "fill": lambda T, a: a.fill_(3.0),
    "fill with what is shared": lambda T, a: a.fill_(T.tensor(3.0, dtype=T.float64)),
    "fill with its own": lambda T, a: a.fill_(a[0].clone()),
    "zero": lambda T, a: a.zero_(),
    "clamp": lambda T, a: a.clamp_(-0.5, 0.5),
}
#: Where the change takes place: `f(T, a)` gives `a` after it.
PLACES = {
    "map": lambda T, F, f, x: (F.vmap(lambda a: f(T, a))(x), x),
    "map of columns": lambda T, F, f, x: F.vmap(lambda a: f(T, a), in_dims=1)(x.t().clone()),
    "maps": lambda T, F, f, x: F.vmap(F.vmap(lambda a: f(T, a)))(T.stack([x, x * 2])),
    "gradients in a map": lambda T, F, f, x: F.vmap(F.grad(lambda a: (f(T, a * 1) ** 2).sum()))(x),
    "tangents in a map": lambda T, F, f, x: F.vmap(lambda a: F.jvp(lambda a: f(T, a * 1) ** 2, (a,), (a * 2,)))(x),
    "gradient of a map": lambda T, F, f, x: F.grad(lambda x: F.vmap(lambda a: f(T, a * 1) ** 2)(x).sum())(x),
    "tangents of a map": lambda T, F, f, x: F.jvp(lambda x: F.vmap(lambda a: f(T, a) ** 2)(x), (x,), (x.sin(),)),
    "second derivatives": lambda T, F, f, x: F.hessian(lambda a: (f(T, a * 1) ** 3).sum())(x[0]),
}


@pytest.mark.parametrize("change", IN_PLACE)
@pytest.mark.parametrize("place", PLACES)
def test_changes_of_examples(place, change):
    def changed(T, a):
        IN_PLACE[change](T, a)
        return a

    agree(lambda T, F, x: PLACES[place](T, F, changed, x), BATCH)


def test_changes_of_what_has_no_room_for_all_examples():
    def refused(change):
        return lambda T, F, x: type(failure(lambda: F.vmap(lambda a: change(T, a))(x)))

    agree(refused(lambda T, a: T.zeros(5, dtype=T.float64).add_(a)), BATCH)
    agree(refused(lambda T, a: T.zeros(5, dtype=T.float64)[:2].add_(a[:2])), BATCH)
    agree(lambda T, F, x: type(failure(lambda: F.vmap(lambda a: F.vmap(lambda b: b.add_(a.sum()))(x))(x))), BATCH)
    agree(lambda T, F, x: type(failure(lambda: F.vmap(lambda a: F.vmap(lambda b: a.add_(b))(x))(x))), BATCH)


#: Ways of a function of `x` to change a tensor `z` that was there before the transform.
CHANGES = {
    "add_": lambda T, z, x: z.add_(x),
    "a number": lambda T, z, x: z.add_(1.0),
    "copy_": lambda T, z, x: z.copy_(x),
    "detached": lambda T, z, x: z.copy_(x.detach()),
    "setitem": lambda T, z, x: z.__setitem__(0, x[0]),
    "a view": lambda T, z, x: z[1:].mul_(x[1:]),
    "zero_": lambda T, z, x: z.zero_(),
    "fill_": lambda T, z, x: z.fill_(x.sum()),
    ".data": lambda T, z, x: z.data.add_(x),
    "indices": lambda T, z, x: z.__setitem__(T.tensor([0]), x[:1]),
    "itself": lambda T, z, x: z.add_(z),
    "no_grad": lambda T, z, x: T.no_grad()(z.copy_)(x),
}
AROUND = {
    "grad": lambda T, F, f, x: F.grad(f)(x),
    "vjp": lambda T, F, f, x: F.vjp(f, x),
    "jvp": lambda T, F, f, x: F.jvp(f, (x,), (x,)),
    "jacrev": lambda T, F, f, x: F.jacrev(f)(x),
    "jacfwd": lambda T, F, f, x: F.jacfwd(f)(x),
    "hessian": lambda T, F, f, x: F.hessian(f)(x),
    "vmap of grad": lambda T, F, f, x: F.vmap(F.grad(f))(T.stack([x, x])),
    "grad within grad": lambda T, F, f, x: F.grad(lambda x: (F.grad(f)(x) * x).sum())(x),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("transform", AROUND)
def test_what_is_captured_is_not_changed(transform, change):
    def attempt(T, F, x):
        z = T.ones(5, dtype=T.float64)

        def f(x):
            CHANGES[change](T, z, x)
            return (z * x).sum()

        error = failure(lambda: AROUND[transform](T, F, f, x))
        assert isinstance(error, RuntimeError)
        assert "would mutate a captured Tensor" in str(error) or "vmap" in str(error)
        return z, F.grad(lambda x: (z * x).sum())(x)

    agree(attempt, X)


def test_what_an_outer_transform_has_is_captured_by_the_inner():
    def outer(change):
        def f(T, F, x):
            z = T.zeros(5, dtype=T.float64)

            def g(x):
                made = z.clone()
                return (F.grad(lambda y: (change(made, x, y) * y).sum())(x) * x).sum()

            return failure(lambda: F.grad(g)(x)) is not None

        return f

    for change in (lambda made, x, y: made.add_(y), lambda made, x, y: made.add_(x), lambda made, x, y: x.mul_(2)):
        agree(outer(change), X)
    agree(outer(lambda made, x, y: made.clone().add_(y)), X)


def test_arguments_and_what_a_function_makes_may_be_changed():
    def argument(T, F, x, z):
        return F.grad(lambda x, z: (z.add_(x) * x).sum())(x, z), z

    def nested(T, F, x, z):
        return F.grad(lambda x, zs: (zs["a"][0].add_(x) * x).sum())(x, {"a": [z]}), z

    def named(T, F, x, z):
        return F.grad(lambda x, z: (z.add_(x) * x).sum())(x, z=z), z

    for case in (argument, nested, named):
        agree(case, X, X + 1)
    agree(lambda T, F, x: F.grad(lambda x: (T.zeros(5, dtype=T.float64).add_(x) * x).sum())(x), X)
    agree(lambda T, F, x: F.jvp(lambda x: x.add_(1).sin(), (x,), (x * 3,)), X)
    agree(lambda T, F, x: F.vmap(F.grad(lambda x: (T.zeros_like(x).copy_(x) * x).sum()))(x), BATCH)
    for like in ("zeros_like", "ones_like", "empty_like"):
        agree(lambda T, F, x: F.vmap(lambda x: getattr(T, like)(x).copy_(x))(x), BATCH)
    agree(lambda T, F, x: F.vmap(lambda x: F.vmap(lambda y: T.full_like(y, 2.0).mul_(x[0]))(x))(x), BATCH)
    news = [
        lambda x: x.new_zeros(5),
        lambda x: x.new_ones((5,)),
        lambda x: x.new_full((5,), 3.0),
        lambda x: x.new_empty(5).fill_(1),
    ]
    for new in news:
        agree(lambda T, F, x: F.vmap(lambda x: new(x).add_(x))(x), BATCH)
        agree(lambda T, F, x: F.vmap(lambda x: F.vmap(lambda y: new(y).add_(x))(x))(x), BATCH)
    # After a transform, and after one that failed, everything is as before.
    z = fg.zeros(2)
    with pytest.raises(RuntimeError, match="captured"):
        fgf.grad(lambda x: fgf.jvp(lambda x: z.add_(x), (x,), (x,))[1].sum())(fg.ones(2))
    assert z.add_(1).tolist() == [1.0, 1.0]


def test_values_that_wait_are_captured():
    waiting = fg.ones(100_000) * 2
    with pytest.raises(RuntimeError, match="captured"):
        fgf.grad(lambda x: waiting.add_(x).sum())(fg.ones(100_000))
    assert fgf.grad(lambda x: (waiting * x).sum())(fg.ones(100_000))[0].item() == 2


def test_changes_of_parts_and_aliases_of_arguments_in_forward_mode():
    def part(change):
        return lambda T, F, x: F.jvp(lambda v: (change(v), (v * v).sum())[1], (x,), (x * 3,))

    agree(part(lambda v: v[:2].add_(1)), X)
    agree(part(lambda v: v[1:].mul_(2)), X)
    agree(part(lambda v: v[1:3].copy_(v[:2].sin())), X)
    agree(part(lambda v: v.detach().add_(1)), X)
    agree(lambda T, F, x: F.jacfwd(lambda v: (v[:2].mul_(v[3]), v * v)[1])(x), X)
    # The window of a dual in the graph of an outer transform.
    window = lambda x: fgf.jvp(lambda v: (v[:2].mul_(2), (v * v).sum())[1], (x * 1,), (x,))[1]
    assert fgf.grad(window)(fg.tensor([1.0, 2.0, 3.0])).tolist() == [16.0, 32.0, 12.0]


def test_arguments_that_were_changed_are_results():
    """What is given back keeps its history for the pass that comes after the function, though the argument loses it."""

    def copied(x, y):
        y.copy_(x)
        return y

    def in_part(x, y):
        y[1:3] = x[:2] * 2
        return y, y[2]

    def view(x, y):
        seen = y[1:]
        y.mul_(x)
        return seen

    def given_back(F, jacobian, change, x, y):
        return getattr(F, jacobian)(change)(x, y), y, y.requires_grad

    for change in (copied, in_part, view):
        for jacobian in ("jacrev", "jacfwd"):
            agree(lambda T, F, x, y: given_back(F, jacobian, change, x, y), X, X + 1)
        agree(lambda T, F, x, y: F.vmap(F.jacrev(change))(x, y), BATCH, BATCH + 1)


LAYOUTS = {
    "squeeze": lambda t: t.squeeze_(),
    "squeeze dim": lambda t: t.squeeze_(0),
    "unsqueeze": lambda t: t.unsqueeze_(0),
    "unsqueeze last": lambda t: t.unsqueeze_(-1),
    "transpose": lambda t: t.transpose_(0, 1),
    "t": lambda t: t.t_(),
    "swapaxes": lambda t: t.swapaxes_(0, -1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_examples_are_changed(name):
    change = LAYOUTS[name]
    rows = RNG.normal(size=(4, 1, 3))

    def f(x):
        made = x * 1
        changed = change(made)
        return made, changed * 2, made.dim() * x.sum()

    def written(x):
        made = x * 1
        change(made).mul_(x.sum())
        return made.sin()

    agree(lambda T, F, x: F.vmap(f)(x), rows)
    agree(lambda T, F, x: F.vmap(f, 1, (1, 1, 0))(x), rows.swapaxes(0, 1))
    agree(lambda T, F, x: F.vmap(F.vmap(f))(x), np.stack([rows, rows + 1]))
    agree(lambda T, F, x: F.vmap(written)(x), rows)
    agree(lambda T, F, x: F.vmap(F.grad(lambda x: written(x).sum()))(x), rows)
    agree(lambda T, F, x: F.grad(lambda x: F.vmap(written)(x).sin().sum())(x), rows)
    agree(lambda T, F, x: F.jvp(lambda x: F.vmap(written)(x), (x,), (x * 3,)), rows)
    x = fg.tensor(rows)
    fg.vmap(change)(x)
    assert x.shape == (4, 1, 3)
