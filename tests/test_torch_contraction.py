"""Products of vectors and matrices against torch."""

import itertools

import numpy as np
import pytest
from comparison import array, compare, torch

import ferrograd as fg

EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk", (3, 4), (4, 5)), ("ij->ji", (3, 4)), ("ji", (3, 4)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("i,i->", (4,), (4,)), ("i,j->ij", (3,), (4,)), ("ij,ij->ij", (3, 4), (3, 4)), ("ij,ij->", (3, 4), (3, 4)), ("i->", (4,)), ("->", ()),
    (",->", (), ()), ("ij,->ij", (3, 4), ()), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("bij,jk->bik", (2, 3, 4), (4, 5)),
    ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)), ("...ij,...jk", (2, 1, 3, 4), (5, 4, 2)), ("...,...->...", (2, 3), (3,)),
    ("i...->...", (3, 4, 2)), ("...i->i...", (3, 4, 2)), ("i...j->j...i", (3, 4, 2)), ("a...a->...", (3, 4, 3)), ("iij->j", (3, 3, 2)),
    ("ijk,jil,kl->il", (2, 3, 4), (3, 2, 5), (4, 5)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)), ("ea,fb,abcd,gc,hd->efgh", (2, 3), (2, 3), (3, 3, 3, 3), (2, 3), (2, 3)),
    ("i,i,i->i", (4,), (4,), (4,)), ("ij,jk->ik", (3, 1), (4, 5)), ("ij,jk->ik", (1, 4), (4, 5)), ("bi,bj->bij", (1, 3), (2, 4)),
    ("Aa,aB->AB", (2, 3), (3, 4)), ("Ba,aA", (2, 3), (3, 4)), (" i j , j k -> i k ", (3, 4), (4, 5)), ("ij,kl->", (2, 3), (4, 5)), ("ij,ik->j", (3, 2), (3, 4)),
    ("ijk->ki", (2, 3, 4)), ("ij,j->i", (3, 4), (4,)), ("...a,b...->...ab", (2, 3), (4, 2)), ("ij,jk->ik", (0, 4), (4, 5)), ("ij,jk->ik", (3, 0), (0, 5)),
    ("abc,cd,de,ef->abf", (2, 3, 4), (4, 3), (3, 2), (2, 5)), ("a,b,c,d,e,f,g,h,i->", *[(2,)] * 9),
    # What is wrong with each of these is an error.
    ("ij,jk->ik", (3, 4), (5, 4)), ("ij->ik", (3, 4)), ("ij->ii", (3, 3)), ("ii", (3, 4)), ("ij", (3,)), ("ij,jk", (3, 4)), ("i,j", (3,)), ("ij", (3, 4), (3, 4)),
    ("i.j", (3, 4)), ("i..j", (3, 4)), ("......", (3, 4)), ("i1", (3, 4)), ("i->j->k", (3,)), ("i-j", (3,)), ("ijk...", (3, 4)), ("i>j", (3,)),
]


@pytest.mark.parametrize("equation, shapes", [(e[0], e[1:]) for e in EQUATIONS], ids=[e[0] + str(i) for i, e in enumerate(EQUATIONS)])
def test_einsum(equation, shapes):
    compare(lambda T, *x: T.einsum(equation, *x), *[array(s, seed=i) for i, s in enumerate(shapes)], names=False)
    compare(lambda T, *x: T.einsum(equation, list(x)), *[array(s, seed=i) for i, s in enumerate(shapes)], grad=False)


def test_einsum_of_lists():
    x, y = array((3, 4)), array((4, 5))
    for f in [
        lambda T, x, y: T.einsum(x, [0, 1], y, [1, 2], [0, 2]), lambda T, x, y: T.einsum(x, [0, 1], y, [1, 2]),
        lambda T, x, y: T.einsum(x, [30, 1], y, [1, 2], [30, 2]), lambda T, x, y: T.einsum(x, [Ellipsis, 1], y, [1, Ellipsis], [Ellipsis]),
        lambda T, x, y: T.einsum(x, [0, 52]), lambda T, x, y: T.einsum(x), lambda T, x, y: T.einsum("ij,jk->ik", x, y.to(T.float32)),
        lambda T, x, y: T.einsum("ij"),
    ]:
        compare(f, x, y, names=False)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "float32"])
def test_dtypes(dtype):
    x, y = array((3, 4), dtype), array((4, 5), dtype, 1)
    for f in [
        lambda T, x, y: x @ y, lambda T, x, y: x.mm(y), lambda T, x, y: T.einsum("ij,jk->ik", x, y), lambda T, x, y: x.mv(y[:, 0]),
        lambda T, x, y: x[0].dot(y[:, 0]), lambda T, x, y: x[0].vdot(y[:, 0]), lambda T, x, y: T.tensordot(x, y, 1),
        lambda T, x, y: T.inner(x, y.t()), lambda T, x, y: x[0].outer(y[0]), lambda T, x, y: T.kron(x, y),
        lambda T, x, y: T.addmm(y[0], x, y), lambda T, x, y: T.addmm(y[0], x, y, beta=2, alpha=3), lambda T, x, y: T.addmm(y[0], x, y, alpha=0.5),
        lambda T, x, y: T.addmv(x[:, 0], x, y[:, 0]), lambda T, x, y: T.addr(x, x[:, 0], y[:, 0]), lambda T, x, y: T.linalg.vecdot(x, y.t()[:3]),
        lambda T, x, y: T.matrix_power(x[:3, :3], 3), lambda T, x, y: T.linalg.multi_dot([x, y, y.t()]), lambda T, x, y: T.cross(x, x.flip(0), dim=0),
        lambda T, x, y: T.baddbmm(x[:, :1, None], x[:, :, None], x[:, None, :]), lambda T, x, y: T.addbmm(y[:, :4], x[:, :, None], x[:, None, :]),
    ]:
        compare(f, x, y, names=False)


def both(f, *shapes, **kwargs):
    compare(f, *[array(s, seed=i) for i, s in enumerate(shapes)], **kwargs)


def test_products_with_sums():
    for beta, alpha in itertools.product([1, 0, 2, -0.5], [1, 0, 3, 0.25]):
        both(lambda T, x, a, b: T.addmm(x, a, b, beta=beta, alpha=alpha), (3, 5), (3, 4), (4, 5))
        both(lambda T, x, a, b: x.addmv(a, b, beta=beta, alpha=alpha), (3,), (3, 4), (4,))
        both(lambda T, x, a, b: x.addr(a, b, beta=beta, alpha=alpha), (3, 4), (3,), (4,), names=beta != 0)
        both(lambda T, x, a, b: x.addbmm(a, b, beta=beta, alpha=alpha), (3, 5), (2, 3, 4), (2, 4, 5))
        both(lambda T, x, a, b: x.baddbmm(a, b, beta=beta, alpha=alpha), (2, 3, 5), (2, 3, 4), (2, 4, 5))
    for shape in [(5,), (1, 5), (3, 1), (1,), (), (2, 3, 5), (4, 5)]:
        both(lambda T, x, a, b: T.addmm(x, a, b), shape, (3, 4), (4, 5), names=False)
    for f, shapes in [
        (lambda T, x, a, b: T.addmm(x, a, b), [(5,), (3, 4), (3, 5)]), (lambda T, x, a, b: T.addmm(x, a, b), [(5,), (4,), (4, 5)]),
        (lambda T, x, a, b: T.addmv(x, a, b), [(3,), (3, 4), (3,)]), (lambda T, x, a, b: T.addr(x, a, b), [(3, 4), (3, 1), (4,)]),
        (lambda T, x, a, b: T.baddbmm(x, a, b), [(2, 3, 5), (2, 3, 4), (1, 4, 5)]), (lambda T, x, a, b: T.addmm(x, a, b), [(0, 5), (0, 4), (4, 5)]),
        (lambda T, x, a, b: T.addmm(x, a, b), [(3, 5), (3, 0), (0, 5)]), (lambda T, x, a, b: (x * 1).addmm_(a, b), [(3, 5), (3, 4), (4, 5)]),
        (lambda T, x, a, b: (x * 1).addmm_(a, b), [(5,), (3, 4), (4, 5)]), (lambda T, x, a, b: (x * 1).baddbmm_(a, b), [(2, 3, 5), (2, 3, 4), (2, 4, 5)]),
    ]:
        both(f, *shapes)
    nan = np.full((3, 5), np.nan)
    compare(lambda T, x, a, b: T.addmm(x, a, b, beta=0), nan, array((3, 4)), array((4, 5)))


@pytest.mark.parametrize("shapes", list(itertools.product([(), (4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)], [(), (4,), (4, 3), (2, 4, 5), (5, 4), (3, 2, 4, 2)])))
def test_matmul_of_all_ranks(shapes):
    both(lambda T, a, b: T.matmul(a, b), *shapes)


def test_others():
    for f, *shapes in [
        (lambda T, a, b: T.tensordot(a, b), (2, 3, 4), (3, 4, 5)), (lambda T, a, b: T.tensordot(a, b, 0), (2, 3), (4,)),
        (lambda T, a, b: T.tensordot(a, b, dims=([1, 0], [0, 1])), (2, 3, 4), (3, 2, 5)), (lambda T, a, b: T.tensordot(a, b, ((-1,), (0,))), (2, 3), (3, 4)),
        (lambda T, a, b: T.tensordot(a, b, ([0], [1])), (2, 3), (3, 4)), (lambda T, a, b: T.tensordot(a, b, 3), (2, 3), (3, 4)),
        (lambda T, a, b: T.tensordot(a, b, -1), (2, 3), (3, 4)), (lambda T, a, b: T.tensordot(a, b, ([0, 1], [1])), (2, 3), (3, 2)),
        (lambda T, a, b: T.inner(a, b), (3,), (3,)), (lambda T, a, b: T.inner(a, b), (2, 3), (4, 3)), (lambda T, a, b: T.inner(a, b), (2, 3), ()),
        (lambda T, a, b: T.inner(a, b), (2, 3, 4), (5, 4)), (lambda T, a, b: T.inner(a, b), (2, 3), (2,)), (lambda T, a, b: a.outer(b), (3,), (2,)),
        (lambda T, a, b: T.ger(a, b), (3,), (2,)), (lambda T, a, b: T.outer(a, b), (3, 1), (2,)), (lambda T, a, b: T.kron(a, b), (2, 3), (2, 2)),
        (lambda T, a, b: T.kron(a, b), (3,), (2, 2)), (lambda T, a, b: a.kron(b), (), (2,)), (lambda T, a, b: T.kron(a, b), (2, 3, 2), (2,)),
        (lambda T, a, b: T.vdot(a, b), (3,), (3,)), (lambda T, a, b: T.vdot(a, b), (3,), (2,)), (lambda T, a, b: T.dot(a, b), (3, 1), (3,)),
        (lambda T, a, b: T.linalg.vecdot(a, b), (2, 3), (2, 3)), (lambda T, a, b: T.linalg.vecdot(a, b, dim=0), (2, 3), (2, 1)),
        (lambda T, a, b: T.linalg.cross(a, b), (2, 3), (2, 3)), (lambda T, a, b: T.linalg.cross(a, b, dim=0), (3, 2), (3, 1)),
        (lambda T, a, b: T.linalg.cross(a, b), (2, 3), (3,)), (lambda T, a, b: T.linalg.cross(a, b), (2, 2), (2, 2)), (lambda T, a, b: T.cross(a, b, 1), (2, 3), (2, 3)),
        (lambda T, a, b: T.chain_matmul(a, b), (2, 3), (3, 4)), (lambda T, a, b: T.linalg.multi_dot([a, b]), (3,), (3,)),
        (lambda T, a, b: T.linalg.multi_dot([a, b, b.t()]), (3,), (3, 4)), (lambda T, a, b: T.linalg.multi_dot([a, b, b.t(), b]), (2, 3), (3, 40)),
        (lambda T, a, b: T.linalg.multi_dot([a]), (2, 3), ()), (lambda T, a, b: T.linalg.multi_dot([a, b]), (2, 3), (2, 3)),
        (lambda T, a, b: T.bilinear(a, a, b), (4, 3), (2, 3, 3)), (lambda T, a, b: T.bilinear(a, a, b, b[:, 0, 0]), (2, 4, 3), (2, 3, 3)),
        (lambda T, a, b: T.bilinear(a, a, b), (4, 3), (2, 3, 2)), (lambda T, a, b: T.mv(a, b), (2, 3), (2,)), (lambda T, a, b: T.bmm(a, b), (2, 3, 4), (2, 3, 4)),
        (lambda T, a, b: T.mm(a, b), (2, 3), (3,)), (lambda T, a, b: a @ b, (2, 3), (2, 3)),
    ]:
        both(f, *shapes, names=False)


@pytest.mark.parametrize("n", [-1, 0, 1, 2, 3, 4, 5, 6, 7, 13])
def test_matrix_power(n):
    if n == -1:
        with pytest.raises(NotImplementedError):
            import ferrograd as fg

            fg.matrix_power(fg.ones(2, 2), -1)
        return
    both(lambda T, a: T.matrix_power(a * 0.3, n), (3, 3), names=n > 2)
    both(lambda T, a: T.linalg.matrix_power(a * 0.3, n), (2, 3, 3), names=False)
    both(lambda T, a: T.matrix_power(a, n), (2, 3))


def test_the_order_of_a_chain_is_the_cheapest():
    """A product of twenty matrices of which one order is cheap enough to run at all."""
    import ferrograd as fg

    sizes = [3000 if i % 2 else 1 for i in range(21)]
    parts = [np.full((sizes[i], sizes[i + 1]), 0.5) for i in range(20)]
    letters = "abcdefghijklmnopqrstuvwxyz"
    equation = ",".join(letters[i : i + 2] for i in range(20)) + "->" + letters[0] + letters[20]
    found = fg.einsum(equation, [fg.tensor(p) for p in parts])
    np.testing.assert_allclose(found.numpy(), np.linalg.multi_dot(parts))
    assert torch is not None


def test_factors_that_are_no_batches():
    """Sizes are read before anything is said of ranks, as in torch."""
    for shapes in [((5, 3), (3, 4)), ((5,), (2, 3, 4)), ((5, 3), (2, 3, 4)), ((), ()), ((2, 5, 3), ()), ((2, 5, 3, 1), (2, 3, 4)), ((2, 5, 3), (2, 3, 4, 1))]:
        for name in ("addbmm", "baddbmm"):
            kinds = []
            for T in (fg, torch):
                with pytest.raises((IndexError, RuntimeError)) as error:
                    getattr(T, name)(T.zeros(5, 4), *(T.zeros(shape) for shape in shapes))
                kinds.append(error.type)
            assert kinds[0] is kinds[1], (name, shapes)
    with pytest.raises(IndexError):
        fg.addbmm(fg.zeros(5, 4), fg.zeros(5, 3), fg.zeros(3, 4))


def test_powers_of_a_single_number_are_columns():
    both(lambda T, x: T.linalg.vander(x, N=3), ())
    both(lambda T, x: T.linalg.vander(x), ())
    both(lambda T, x, y: T.linalg.vecdot(x, y), (4,), (4,))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (2, 1, 3, 4), (0, 3, 4), (2, 4, 3)], ids=str)
@pytest.mark.parametrize("out", [5, 1])
def test_linear_maps_with_a_bias_are_torchs(shape, out):
    """Also of what does not lie row by row, as the last shape says; with derivatives of both orders, by both modes, and mapped."""
    numbers = np.random.default_rng(0)
    values = [numbers.normal(size=s) for s in (shape, (out, 4), out)]

    def program(T):
        def f(x, w, b):
            return T.nn.functional.linear(x if shape != (2, 4, 3) else x.mT, w, b)

        leaves = [T.tensor(v, requires_grad=True) for v in values]
        y = f(*leaves)
        first = T.autograd.grad((y**3).sum(), leaves, create_graph=True)
        second = T.autograd.grad(sum((g**2).sum() for g in first), leaves)
        pushed = T.func.jvp(f, tuple(x.detach() for x in leaves), tuple(x.detach() * 2 for x in leaves))
        x, w, b = leaves
        mapped = T.vmap(f, (0, None, None))(T.stack([x, 2 * x]), w, b), T.vmap(f, (None, 0, 0))(x, T.stack([w, 2 * w]), T.stack([b, b]))
        rows = T.vmap(T.func.grad(lambda *a: f(*a).sum(), (0, 1, 2)), (0, None, None))(T.stack([x, 2 * x]), w, b)
        return y.stride(), [t.detach().numpy() for t in (y, *first, *second, *pushed, *mapped, *rows)]

    (strides, found), (expected_strides, expected) = program(fg), program(torch)
    assert strides == expected_strides
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_a_linear_map_gives_is_changed_in_place():
    def program(T):
        x, w, b = T.ones(2, 3, 4, requires_grad=True), T.ones(5, 4, requires_grad=True), T.zeros(5, requires_grad=True)
        y = T.nn.functional.linear(x, w, b)
        y[:, 1].mul_(3)
        y.sum().backward()
        return y.tolist(), x.grad.tolist(), w.grad.tolist(), b.grad.tolist()

    assert program(fg) == program(torch)
