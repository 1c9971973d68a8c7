"""Random programs of views and changes in place, step by step in both libraries: what every tensor is, not only what it holds.

After each program all tensors have the same values, versions, strides and offsets, require gradients alike, are leaves alike,
look at the same memory, and have the same graph behind them, node by node with torch's names; then the gradients are compared.
"""

import random

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

DEPTH = 12


def graph(t):
    """The names of the nodes behind a tensor, from the result back."""

    def told(node, depth):
        if node is None or depth == 0:
            return "None" if node is None else "..."
        inner = ", ".join(told(to, depth - 1) for to, _ in node.next_functions)
        return f"{node.name()}({inner})"

    return told(t.grad_fn, DEPTH)


def memory(t):
    """The address of the first element of a tensor's memory."""
    return t.data_ptr() - t.storage_offset() * t.element_size()


def indices(rng, shape):
    """An index as text."""

    def one(size):
        kind = rng.randrange(8)
        if kind == 0:
            return str(rng.randrange(-size, size))
        if kind == 1:
            return f"{rng.randrange(size)}:"
        if kind == 2:
            return f"{-size}:{size}"
        if kind == 3:
            return "::2"
        if kind == 4:
            return f"[{rng.randrange(size)}, {rng.randrange(-size, size)}]"
        return ":" if kind < 7 else f"0:{size}"

    if rng.randrange(8) == 0:
        return rng.choice(["...", "None", "..., :", "None, ..."])
    return ", ".join(one(size) for size in shape[: rng.randint(1, len(shape))])


def view(rng, shape):
    """A view of a tensor as text."""
    rank = len(shape)
    dim = rng.randrange(-rank, rank) if rank else 0
    made = ["unsqueeze(0)", "view_as(x)", "detach()", "squeeze()", "alias()"]
    if rank:
        made += [f"[{indices(rng, shape)}]"] * 4 + [f"select({dim}, {rng.randrange(shape[dim])})", f"narrow({dim}, 0, {shape[dim]})", "view(-1)"]
        made += ["reshape(-1)", "flatten()", f"unfold({dim}, 1, 1)", f"squeeze({dim})", "expand_as(x)", f"movedim({dim}, 0)"]
        made += [f"unbind({dim})[0]", f"split(1, {dim})[0]", f"chunk(2, {dim})[0]"]
    if rank > 1:
        made += ["transpose(0, 1)", "mT", "diagonal()", f"permute({', '.join(map(str, rng.sample(range(rank), rank)))})", "flatten(0, 1)"]
    chosen = rng.choice(made)
    return f"{{}}{chosen}" if chosen[0] == "[" else f"{{}}.{chosen}"


def change(rng, shape):
    """A change in place as text; `{}` is what is changed."""
    made = ["{}.mul_(2.)", "{}.mul_(w)", "{}.add_(w)", "{}.zero_()", "{}.fill_(0.5)", "{}.copy_(w)", "{}.sin_()", "{}.pow_(2)", "{}.detach().zero_()"]
    made += ["{}.data.mul_(3.)", "{}.requires_grad_()"]
    if shape:
        at = indices(rng, shape)
        made += [f"{{}}[{at}] {form}" for form in ("= 2.", "= w", "*= 2.", "*= w", "+= w", "-= 1.", "/= w", "**= 2")] * 2
    return rng.choice(made)


def drawn(seed):
    """The lines of a program and whether its leaf asks for gradients. Lines that torch refuses are left out."""
    rng = random.Random(seed)
    asks = rng.random() < 0.7
    names, lines = start(torch, asks), []
    for n in range(rng.randint(2, 7)):
        name = rng.choice([n for n in names if n != "w"])
        shape = tuple(names[name].shape)
        if rng.random() < 0.5:
            line = f"t{n} = {view(rng, shape).format(name)}"
        else:
            line = change(rng, shape).format(name)
        if rng.random() < 0.12:
            line = f"with T.no_grad(): {line}"
        try:
            exec(line, {"T": torch}, names)
            settled(names)
        except (RuntimeError, IndexError, ValueError, AttributeError, TypeError):
            names = start(torch, asks)
            for kept in lines:
                exec(kept, {"T": torch}, names)
            continue
        lines.append(line)
    return lines, asks


def settled(names):
    """torch raises at the node of a view that it forbids to use."""
    for t in names.values():
        assert t.grad_fn is None or t.requires_grad


def start(T, asks):
    leaf = T.tensor(np.arange(1.0, 13.0).reshape(3, 4), requires_grad=asks)
    w = T.tensor(1.5, dtype=T.float64, requires_grad=True)
    return {"leaf": leaf, "x": leaf * 2, "w": w}


def played(T, lines, asks):
    """What all tensors of a program are, and the gradients of the leaf and the number."""
    names = start(T, asks)
    for line in lines:
        exec(line, {"T": T}, names)
    told = {}
    for name, t in names.items():
        same = [other for other, o in names.items() if memory(o) == memory(t)]
        told[name] = {
            "values": t.detach().numpy().round(9).tolist(), "strides": t.stride(), "offset": t.storage_offset(), "version": t._version,
            "requires_grad": t.requires_grad, "leaf": t.is_leaf, "memory": same, "graph": graph(t), "base": t._base is not None,
        }  # fmt: skip
    total = sum((t * t).sum() for t in names.values())
    inputs = [names[name] for name in ("leaf", "w") if names[name].requires_grad]
    found = T.autograd.grad(total, inputs, allow_unused=True) if total.requires_grad else []
    return told, [None if g is None else g.tolist() for g in found]


def differences(seed):
    lines, asks = drawn(seed)
    try:
        theirs = played(torch, lines, asks)
    except RuntimeError:
        # Whether torch refuses a program can depend on who has looked at the nodes of views meanwhile.
        return lines, []
    try:
        ours = played(fg, lines, asks)
    except Exception as error:  # noqa: BLE001: any error is a difference
        return lines, [f"{type(error).__name__}: {error}"]
    found = [f"{name} {key}: {ours[0][name][key]} for {value}" for name in theirs[0] for key, value in theirs[0][name].items() if ours[0][name][key] != value]
    if not all(np.allclose(a, b) if a is not None and b is not None else a is b for a, b in zip(ours[1], theirs[1], strict=True)):
        found.append(f"gradients: {ours[1]} for {theirs[1]}")
    return lines, found


PROGRAMS = 400


@pytest.mark.parametrize("block", range(8))
def test_tensors_are_what_torchs_are(block):
    changed = 0
    for seed in range(block, PROGRAMS, 8):
        lines, found = differences(seed)
        changed += any("=" in line or "_(" in line for line in lines)
        assert not found, (seed, lines, found)
    assert changed > PROGRAMS // 8 // 2


def asked_later(T):
    """Views of a tensor that asks for gradients after they were made."""
    for change in (None, "fill", "detach"):
        x = T.ones(2, 3)
        if change == "fill":
            x.fill_(2.0)
        with T.no_grad():
            apart = x.view(6)
        y, one = x.view(6), x.unbind()[0]
        x.requires_grad_()
        yield [(t.requires_grad, t.is_leaf, graph(t), graph(t * 2), graph(t[:1])) for t in (y, one, apart)]
        yield T.autograd.grad(y.sum(), [x, y], allow_unused=True)
        (y * 2).sum().backward()
        yield x.grad, y.grad
        if change == "detach":
            x.detach().mul_(2)
            yield y.requires_grad, y.is_leaf, graph(y), T.autograd.grad(y.sum(), x)[0].tolist()
        for write in (lambda: y.mul_(2), lambda: y.__setitem__(0, 1.0)):
            try:
                yield write()
            except RuntimeError as error:
                yield "a view of a leaf" in str(error), "is being used in an in-place operation" in str(error)
        with T.no_grad():
            x.mul_(2)
        yield y.requires_grad, y.is_leaf, graph(y), y._version
        yield y.requires_grad_(False).requires_grad if y.is_leaf else None
    x = T.ones(2, 3)
    y = x.view(6)
    x.mul_(2)
    x.requires_grad_()
    yield y.requires_grad, y.is_leaf, graph(y), T.autograd.grad(y.sum(), x)[0].tolist()


def test_views_of_what_asks_for_gradients_later():
    assert list(asked_later(fg)) == list(asked_later(torch))


INDICES = ["0", "1:", ":", "..., 1:", "...", "None", "x > 1", "[0, 1]", "T.tensor([0, 1])", ":, [0, 1]", "1:, [0, 1]", "0, 1", "True", "T.tensor(0)", "0:2, 0:3", "-2:2", "-2:2, [0, 1]"]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("asks", [False, True])
def test_augmented_assignment(index, asks):
    """`x[i] += v` takes a part, changes it and writes it back: two changes of what is a view."""

    def run(T, form, value):
        x = T.ones(2, 3, requires_grad=asks) * 2
        exec(f"x[{index}] {form} {value}", {"T": T, "x": x})
        return x._version, x.tolist(), graph(x)

    for form in ("*=", "+=", "-=", "/=", "**="):
        for value in ("2", "T.tensor(2.0)"):
            assert run(fg, form, value) == run(torch, form, value)


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 5, None])
def test_as_strided_scatter_before_the_first_element(offset):
    """The offset counts from where the memory begins, also where the tensor begins later."""
    run = lambda T, x: T.as_strided_scatter(x, T.full((2, 2), 99.0), (2, 2), (2, 1), offset)
    for part in (lambda T: T.arange(20.0)[3:15], lambda T: T.arange(20.0).view(4, 5).t()[1:]):
        ours, theirs = run(fg, part(fg)), run(torch, part(torch))
        assert ours.tolist() == theirs.tolist() and ours.stride() == theirs.stride()
    x, source = fg.arange(20.0, requires_grad=True), fg.full((2, 2), 99.0, requires_grad=True)
    y = fg.as_strided_scatter((x * 1)[3:15], source, (2, 2), (2, 1), offset)
    weights = fg.arange(1.0, 13.0)
    (y * weights).sum().backward()
    asked = 3 if offset is None else offset
    written = [n - 3 for n in range(asked, asked + 4)]
    assert source.grad.ravel().tolist() == [weights[n].item() if n >= 0 else 0.0 for n in written]
    assert x.grad.tolist() == [0.0] * 3 + [0.0 if n in written else weights[n].item() for n in range(12)] + [0.0] * 5


@pytest.mark.parametrize("change", [
    lambda y: y.t_(), lambda y: y.unsqueeze_(0), lambda y: y.transpose_(0, 1), lambda y: y.squeeze_(), lambda y: y.squeeze_(0),
    lambda y: y.as_strided_((2,), (1,)),
])
def test_a_gradient_outlives_a_change_of_the_layout(change):
    def gradients(T):
        for retains, assigns in ((False, True), (True, False), (True, True)):
            x = T.ones(3, 2, requires_grad=True)
            y = x * 2
            if assigns:
                y.grad = T.ones(3, 2)
            if retains:
                y.retain_grad()
            change(y)
            yield y.grad, y.retains_grad
            if not assigns:
                y.sum().backward()
                yield y.retains_grad, x.grad
                # torch keeps the gradient in the shape from before the change.
                assert T is torch or y.grad.shape == y.shape and (y.grad == 1).all()
        x = T.ones(3, 2)
        x.grad = T.ones(3, 2)
        change(x)
        yield (x.grad,)
        y = T.ones(3, 2, requires_grad=True) * 2
        y.retain_grad()
        (y * 3).sum().backward()
        change(y)
        yield y.grad, y.retains_grad

    told = lambda T: [[v.tolist() if isinstance(v, T.Tensor) else v for v in row] for row in gradients(T)]
    assert told(fg) == told(torch)


DIMENSIONS = {
    "squeezed": lambda x: x.squeeze(0, 2), "squeezed in place": lambda x: x.clone().squeeze_(0, 2), "one": lambda x: x.squeeze(2),
    "in brackets": lambda x: x.squeeze((0, 2)), "twice": lambda x: x.squeeze(0, 0), "none such": lambda x: x.squeeze(0, 7),
    "named twice before one that is not there": lambda x: x.permute(0, 0, 7), "not there before": lambda x: x.permute(7, 0, 0),
    "flipped": lambda x: x.flip(0, 1), "tiled": lambda x: x.tile(2, 1), "no number": lambda x: x.squeeze(0, "a"),
}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimensions_that_are_all_that_a_method_takes_need_no_brackets(name):
    def run(T):
        try:
            return DIMENSIONS[name](T.arange(3).reshape(1, 3, 1)).tolist()
        except Exception as error:  # noqa: BLE001 - its class is compared
            return type(error)

    assert run(fg) == run(torch)


#: Copies of what views of `x`, of shape (2, 3), show.
COPIES = """
alias_copy(x); as_strided_copy(x, (2,), (3,)); diagonal_copy(x); expand_copy(x, (2, 2, 3)); permute_copy(x, (1, 0)); select_copy(x, 0, 1)
slice_copy(x, 1, 0, 3, 2); slice_copy(x); split_copy(x, 2, 1); split_with_sizes_copy(x, (1, 2), 1); squeeze_copy(x[:1]); squeeze_copy(x[:1], 0)
squeeze_copy(x[:1], (0,)); t_copy(x); transpose_copy(x, 0, 1); unbind_copy(x); unfold_copy(x, 1, 2, 1); unsqueeze_copy(x, 1); view_copy(x, (3, 2))
view_copy(x.t(), (6,)); view_copy(x, T.int32); alias_copy(x.t()); squeeze_copy(x); slice_copy(x, 0, 0, 2, 0); slice_copy(x[0, 0]); view_copy(x, (4,))
"""


@pytest.mark.parametrize("text", [text.strip() for line in COPIES.strip().splitlines() for text in line.split(";")])
def test_copies_have_nodes_of_their_own(text):
    def run(T):
        x = T.arange(1.0, 7.0).reshape(2, 3).requires_grad_()
        try:
            found = eval(f"T.{text}", {"T": T, "x": x})
        except Exception as error:  # noqa: BLE001 - its class is compared
            return type(error).__name__
        all = found if isinstance(found, (list, tuple)) else [found]
        looks = [(y.tolist(), y.stride(), y._base is None, str(y.grad_fn and y.grad_fn.name())) for y in all]
        if not all[0].requires_grad:
            return looks
        weights = [T.arange(1.0, 1.0 + y.numel()).reshape(y.shape) for y in all]
        behind = [str(n and n.name()) for n, _ in all[0].grad_fn.next_functions]
        gradient = T.autograd.grad(list(all), x, weights)[0].tolist()
        if text == "view_copy(x.t(), (6,))":
            return looks, behind, gradient  # whose tangent torch refuses
        return looks, behind, gradient, T.func.jvp(lambda x: eval(f"T.{text}", {"T": T, "x": x}), (x,), (x * 2,))[1][0].tolist()

    assert run(fg) == run(torch)
