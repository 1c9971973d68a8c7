"""`func.rearrange`, held against torch's and against what patterns say."""

import itertools

import numpy as np
import pytest
from test_func import agree

import ferrograd as fg
from ferrograd.func import rearrange

X = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)

SAME = [
    ("a b c d -> a b c d", {}),
    ("a b c d -> d c b a", {}),
    ("a b c d->(d b) (c a)", {}),
    ("a b (c e) d -> (e b) a (d c)", {"e": 2}),
    ("a b (c e) d -> e d c b a", {"c": 2, "e": 2}),
    ("... -> (...)", {}),
    ("... c d -> d ... c", {}),
    ("a ... -> (... a)", {}),
    ("a ... d -> ... (a d)", {}),
    ("a b c d ... -> d ... b c a", {}),
    ("a b c d -> a 1 b c () d", {}),
    ("a b c d -> (a b c d)", {"c": 4}),
    ("a (1 b) c d -> a b (c 1 d)", {}),
]


@pytest.mark.parametrize(("pattern", "sizes"), SAME)
def test_patterns(pattern, sizes):
    agree(lambda T, F, x: F.rearrange(x, pattern, **sizes), X)
    agree(lambda T, F, x: F.grad(lambda x: (F.rearrange(x, pattern, **sizes).sin() * x.sum()).sum())(x), X / 9)
    agree(lambda T, F, x: F.vmap(lambda x: F.rearrange(x, pattern, **sizes), 1)(x), np.stack([X, X + 1], 1))


def test_every_order_of_dimensions():
    x = fg.tensor(X)
    for order in itertools.permutations(range(4)):
        y = rearrange(x, "a b c d -> " + " ".join("abcd"[n] for n in order))
        assert y.tolist() == X.transpose(order).tolist() and y._base is x


def test_sizes_of_one_and_several_tensors():
    assert rearrange(fg.ones(2, 1, 3), "a 1 b -> b a").shape == (3, 2)
    assert rearrange(fg.tensor(1.0), "->").shape == rearrange(fg.tensor(1.0), "... -> ...").shape == ()
    assert rearrange([fg.ones(2), fg.zeros(2)], "n a -> a n").tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert rearrange(fg.ones(0, 4), "a (b c) -> (a b) c", b=2).shape == (0, 2)
    with pytest.raises(ValueError, match="sizes multiply to 1"):
        rearrange(fg.ones(2, 3), "a 1 -> a")


WRONG = [
    ("a b", {}, "single '->' separator"),
    ("a -> b -> a", {}, "single '->' separator"),
    ("a -> a", {}, r"Number of dimensions in pattern \(1\)"),
    ("a b c ... -> a b c ...", {}, r"Number of dimensions in pattern \(3\)"),
    ("a b -> a", {}, "Identifiers only on one side"),
    ("a a -> a", {}, "duplicate dimension 'a'"),
    ("a b -> a b b", {}, "duplicate dimension 'b'"),
    ("a b -> a b", {"z": 1}, "Identifiers not found in rearrange expression"),
    ("a (b -> a b", {}, "Imbalanced parentheses"),
    ("a b) -> a b", {}, "Brackets are not balanced"),
    ("a ((b)) -> a b", {}, "brackets inside brackets not allowed"),
    ("a b -> a b ...", {}, "Ellipsis found in right side"),
    ("... ... -> ...", {}, "dots only inside ellipsis"),
    ("a . b -> a b", {}, "dots only inside ellipsis"),
    ("a (...) -> a ...", {}, "Ellipsis is parenthesis in the left side"),
    ("a b -> a b 2", {}, "unnamed axes of size 1"),
    ("a 1b -> a 1b", {}, "Invalid axis identifier: 1b"),
    ("a _b -> a _b", {}, "Invalid axis identifier: _b"),
    ("a b! -> a b!", {}, "Unknown character '!'"),
]


@pytest.mark.parametrize(("pattern", "sizes", "message"), WRONG)
def test_patterns_that_cannot_be_read(pattern, sizes, message):
    with pytest.raises(ValueError, match=message):
        rearrange(fg.ones(2, 3), pattern, **sizes)
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError):
        torch.func.rearrange(torch.ones(2, 3), pattern, **sizes)


def test_sizes_that_do_not_fit():
    for pattern, sizes, message in [
        ("(a b) c -> a b c", {}, "several dimensions at once, a and b,"),
        ("a (b c) -> a b c", {"b": 2}, "no size of c fits"),
        ("a (b c) -> a b c", {"b": 0}, "no size of c fits"),
        ("a (b c) -> a b c", {"b": 2, "c": 2}, "sizes multiply to 4"),
        ("a b -> b a", {"a": 3}, "sizes multiply to 3"),
        ("(a b) c -> a b c", {"a": -1}, "must not be negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            rearrange(fg.ones(2, 3), pattern, **sizes)
    with pytest.raises(TypeError, match="axis lengths must be integers"):
        rearrange(fg.ones(2, 3), "a b -> b a", a="2")
    with pytest.raises(TypeError, match="'pattern' must be str"):
        rearrange(fg.ones(2), 3)
