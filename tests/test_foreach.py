"""Operations on each tensor of a list, and functions of the package that write into their first argument."""

import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

NAMES = [name for name in dir(torch) if name.startswith("_foreach_")]
#: A product of matrices is none of these tensors.
OTHERS = {"_foreach_mm": [("t",)]}
#: What follows the list `v` of two tensors.
ARGUMENTS = [(), (2,), ("v",), ([2.0, 3.0],), ("v", "v"), ("v", "v", [0.5, 2.0]), ("v", 0.5), ("v", "v", 3), ([1],), ("a", "b", "c", "d")]


def outcome(T, name, arguments):
    v = [T.tensor([[1.0, 2.5]]), T.tensor([[3.0], [0.5]])]
    known = {"v": v, "t": [x.t() for x in v]}
    try:
        found = getattr(T, name)(v, *[known[a] if a in ("v", "t") else a for a in arguments])
    except Exception:  # noqa: BLE001 - which one it is depends on what torch tries first
        return None
    return type(found), [t.flatten().tolist() for t in found], [t.flatten().tolist() for t in v], name.endswith("_") and all(a is b for a, b in zip(found, v))


@pytest.mark.parametrize("name", NAMES)
def test_each_of_a_list(name):
    known = 0
    for arguments in OTHERS.get(name, ARGUMENTS):
        theirs, ours = outcome(torch, name, arguments), outcome(fg, name, arguments)
        if theirs is None:
            continue
        known += 1
        assert ours[0] == theirs[0] and ours[3] == theirs[3], arguments
        for a, b in zip(ours[1] + ours[2], theirs[1] + theirs[2]):
            assert a == pytest.approx(b, rel=1e-5, nan_ok=True), arguments
    assert known, name


def test_lists_that_do_not_fit():
    x = [fg.ones(2), fg.ones(3)]
    with pytest.raises(RuntimeError, match="at least one tensor"):
        fg._foreach_add([], 1)
    with pytest.raises(RuntimeError, match="same number"):
        fg._foreach_mul(x, [fg.ones(2)])
    with pytest.raises(TypeError, match="tuple of Tensors"):
        fg._foreach_sqrt(x[0])
    with pytest.raises(TypeError, match="nonsense"):
        fg._foreach_add(x, nonsense=1)
    with pytest.raises(AttributeError, match="_foreach_nothing"):
        fg._foreach_nothing
    assert [y.tolist() for y in fg._foreach_pow(2.0, x)] == [[2.0] * 2, [2.0] * 3]
    assert [y.tolist() for y in fg._foreach_add(x, x, alpha=2)] == [[3.0] * 2, [3.0] * 3]


def test_functions_that_write_into_their_first_argument():
    for name, arguments in {"clamp_max_": (0.5,), "clamp_min_": (2.0,), "gcd_": ("i",), "lcm_": ("i",), "ldexp_": ("x",), "xlogy_": ("x",), "detach_": ()}.items():
        results = []
        for T in (fg, torch):
            known = {"x": T.tensor([1.0, 3.0]), "i": T.tensor([4, 6])}
            target = T.tensor([6, 9]) if arguments == ("i",) else T.tensor([1.0, 4.0])
            found = getattr(T, name)(target, *[known.get(a, a) for a in arguments])
            assert found is target
            results.append(target.tolist())
        assert results[0] == pytest.approx(results[1])


def test_rows_of_a_table_are_bounded_in_place():
    for T in (fg, torch):
        table, indices = T.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 0.5]]), T.tensor([[0, 2], [0, 0]])
        assert T.embedding_renorm_(table, indices, 1.0, 2.0) is table
        assert [round(v, 4) for row in table.tolist() for v in row] == [0.6, 0.8, 6.0, 8.0, 0.0, 0.5]
        with pytest.raises(RuntimeError):
            T.embedding_renorm_(table.requires_grad_(), indices, 1.0, 2.0)
