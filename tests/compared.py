"""Expressions evaluated in both libraries: results, layouts, nodes, gradients, second gradients, and classes of errors."""

import warnings

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")
warnings.filterwarnings("ignore", message=".*indexing argument.*")
warnings.filterwarnings("ignore", message=".*is deprecated.*")
warnings.filterwarnings("ignore", message=".*will be removed.*")


def names(T, requires_grad: bool = False) -> dict:
    """What expressions can name: tensors with the same numbers in both libraries."""
    leaf = T.arange(24, dtype=T.float64).reshape(4, 6).sin().add_(0.1).detach().requires_grad_(requires_grad)
    x = leaf * 1.0 if requires_grad else leaf
    cube = (x.reshape(2, 3, 4) * 1.0).detach() if not requires_grad else x.reshape(2, 3, 4) * 1.0
    return {
        "T": T,
        "leaf": leaf,
        "x": x,
        "cube": cube,
        "xt": T.arange(12, dtype=T.float64).reshape(4, 3).t(),
        "row": x[0] * 1.0,
        "z": x[1, 2] * 1.0,
        "f": T.arange(12.0).reshape(3, 4),
        "v": T.arange(3),
        "i": T.tensor([0, 2, 2, 1]),
        "g": T.tensor([[0, 1, 2, 0, 3, 3], [3, 1, 0, 0, 2, 1]]),
        "mask": T.tensor([[True, False, True], [False, False, True], [True, True, False], [True, False, False]]).repeat(1, 2),
        "np": np,
    }


def outcome(T, text: str, requires_grad: bool = False):
    """The value of an expression and the names it was evaluated with, or the exception."""
    known = names(T, requires_grad)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return eval(text, known), known
    except Exception as error:  # noqa: BLE001 - what it is will be compared
        return error, known


def tensors(value) -> list:
    """The tensors in a result, in order."""
    if isinstance(value, (fg.Tensor, torch.Tensor)):
        return [value]
    return [t for part in value for t in tensors(part)] if isinstance(value, (tuple, list)) else []


def same_value(ours, theirs, text: str, layout: bool = True) -> None:
    """Equal numbers, dtypes, shapes and strides; equal Python values."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, fg.Tensor), text
        assert tuple(ours.shape) == tuple(theirs.shape), text
        assert repr(ours.dtype) == repr(theirs.dtype), text
        if layout and theirs.numel() > 0:
            assert ours.stride() == theirs.stride(), text
            assert ours.storage_offset() == theirs.storage_offset(), text
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-12, err_msg=text)
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), text
        assert isinstance(ours, tuple) == isinstance(theirs, tuple), text
        for a, b in zip(ours, theirs):
            same_value(a, b, text, layout)
    else:
        assert ours == theirs, text


def same_base(ours, theirs, our_names: dict, their_names: dict, text: str) -> None:
    """Views of the same tensor, or of none; torch's may be views of what it made on its way."""
    known = [base for t in tensors(list(their_names.values())) for base in (t, t._base)]
    for a, b in zip(tensors(ours), tensors(theirs)):
        if all(b._base is not base for base in known):
            continue
        assert (a._base is None) == (b._base is None), text
        if b._base is not None:
            assert (a._base is our_names["x"]) == (b._base is their_names["x"]), text


def node_names(value) -> list:
    """torch's names of the nodes behind the tensors of a result."""
    return [t.grad_fn.name().rsplit("::", 1)[-1] if t.grad_fn is not None else None for t in tensors(value)]


def gradients(T, value, leaf):
    """The gradient and the second gradient of a function of a result that is not linear in it."""
    total = 0
    for n, t in enumerate(t for t in tensors(value) if t.requires_grad):
        weights = T.tensor(np.random.default_rng(n).uniform(0.5, 2.0, size=tuple(t.shape)))
        total = total + (t.double() ** 2 * weights).sum()
    (first,) = T.autograd.grad(total, leaf, create_graph=True, allow_unused=True)
    if first is None or not first.requires_grad:
        first = T.zeros_like(leaf) if first is None else first
        return first, T.zeros_like(leaf)
    weights = T.tensor(np.random.default_rng(99).uniform(0.5, 2.0, size=tuple(leaf.shape)))
    (second,) = T.autograd.grad((first**2 * weights).sum(), leaf, allow_unused=True)
    return first, T.zeros_like(leaf) if second is None else second


def same_gradients(ours, theirs, our_leaf, their_leaf, text: str) -> None:
    """Equal gradients of two results, or an error in both."""
    try:
        expected = gradients(torch, theirs, their_leaf)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            gradients(fg, ours, our_leaf)
        return
    for a, b in zip(gradients(fg, ours, our_leaf), expected):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=text)


def check(text: str, layout: bool = True, nodes: bool = True) -> None:
    """All of it, for one expression."""
    (ours, our_names), (theirs, their_names) = outcome(fg, text), outcome(torch, text)
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{text}: torch raises {theirs!r}, got {ours!r}"
        assert type(ours).__name__ == type(theirs).__name__, f"{text}: {theirs!r} and {ours!r}"
        return
    if isinstance(ours, Exception):
        raise AssertionError(f"{text}: {ours!r}") from ours
    same_value(ours, theirs, text, layout)
    same_base(ours, theirs, our_names, their_names, text)
    (ours, our_names), (theirs, their_names) = outcome(fg, text, True), outcome(torch, text, True)
    if isinstance(theirs, Exception) or not any(t.requires_grad for t in tensors(theirs)):
        assert isinstance(theirs, Exception) == isinstance(ours, Exception), f"{text}: {ours!r}"
        return
    if isinstance(ours, Exception):
        raise AssertionError(f"{text}: {ours!r}") from ours
    same_base(ours, theirs, our_names, their_names, text)
    if nodes:
        assert node_names(ours) == node_names(theirs), text
    same_gradients(ours, theirs, our_names["leaf"], their_names["leaf"], text)
