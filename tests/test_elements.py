"""One element by integers, read and written: the way without views is the way with them."""

import itertools
import warnings

import numpy as np
import pytest

import ferrograd as fg

DTYPES = (fg.float32, fg.float64, fg.float16, fg.bfloat16, fg.int64, fg.int32, fg.int16, fg.int8, fg.uint8, fg.bool)


def shown(dtype):
    """Numbers 0 to 23 as three dimensions in several layouts."""
    x = fg.arange(24).reshape(2, 3, 4).to(dtype)
    wide = fg.zeros(2, 3, 4, 2, dtype=dtype)
    wide[..., 1] = x
    return {"plain": x, "turned": x.permute(2, 1, 0).clone().permute(2, 1, 0), "strided": wide[..., 1]}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_integers_are_the_view_of_a_view(dtype):
    for x in shown(dtype).values():
        rows = x.tolist()
        for i, j, k in itertools.product((0, 1, -1, -2), (0, 2, -3), (0, 3, -4)):
            assert x[i, j, k].item() == rows[i][j][k] and x[i, j, k].shape == ()
            assert x[i, j].tolist() == rows[i][j] and x[i].tolist() == rows[i]
            assert x[i, j].stride() == x[i][j].stride() and x[i, j].storage_offset() == x[i][j].storage_offset()
            assert x[i, j]._base is x[i][j]._base


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_number_is_written_to_one_element(dtype):
    for x in shown(dtype).values():
        view, version = x[1], x._version
        wanted = x.tolist()
        for index in ((0, 0, 0), (1, 2, 3), (-1, -3, -2)):
            x[index] = 1
            wanted[index[0]][index[1]][index[2]] = fg.tensor(1).to(dtype).item()
            assert x.tolist() == wanted
        assert view.tolist() == wanted[1] and x._version == version + 3


def test_a_written_number_is_converted_as_everywhere():
    x, n, b = fg.zeros(2), fg.zeros(2, dtype=fg.int32), fg.zeros(2, dtype=fg.bool)
    x[0], n[0], b[0] = True, 2.75, 0.5
    assert (x[0].item(), n[0].item(), b[0].item()) == (1.0, 2, True)
    n[1], u = np.int64(7), fg.zeros(1, dtype=fg.uint8)
    u[0] = -1
    assert (n[1].item(), u[0].item()) == (7, 255)
    for value in (2**31, float("nan"), 1e30):
        with pytest.raises(RuntimeError, match="__setitem__"):
            n[1] = value
    assert n.tolist() == [2, 7]


@pytest.mark.parametrize(
    ("index", "dim", "size"),
    [((1, 20), 1, 3), ((1, 2, 9), 2, 4), ((7,), 0, 2), ((0, slice(None), 9), 2, 4), ((slice(None), 9), 1, 3), ((-3, 0, 0), 0, 2)],
    ids=str,
)
def test_an_index_out_of_range_names_its_dimension(index, dim, size):
    x = fg.zeros(2, 3, 4)
    text = f"out of bounds for dimension {dim} with size {size}"
    with pytest.raises(IndexError, match=text):
        x[index]
    with pytest.raises(IndexError, match=text):
        x[index] = 1.0
    assert not x.any()


def test_too_many_integers():
    for x, index in ((fg.zeros(2), (0, 0)), (fg.tensor(1.0), (0,)), (fg.tensor(1.0), 0)):
        for use in (lambda: x[index], lambda: x.__setitem__(index, 1.0)):
            with pytest.raises(IndexError, match="too many indices|invalid index of a 0-dim"):
                use()


def test_history_goes_the_way_of_views():
    x = fg.arange(6.0).reshape(2, 3).requires_grad_()
    y = x[1, 2]
    assert y.grad_fn.name() == "SelectBackward0" and y.grad_fn.next_functions[0][0].name() == "SelectBackward0"
    y.backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 1]]
    z = x * 2
    z[0, 1] = 5.0
    z.sum().backward()
    assert x.grad.tolist() == [[2, 0, 2], [2, 2, 3]]
    with pytest.raises(RuntimeError, match="leaf"):
        x[0, 0] = 1.0
    with fg.no_grad():
        x[0, 0] = 9.0
    assert x[0, 0].item() == 9.0


def test_a_written_number_is_seen_by_what_was_saved():
    x, w = fg.ones(3), fg.ones(3, requires_grad=True)
    y = (x * w).sum()
    x[1] = 2.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_what_waits_is_computed_before_a_number_is_written():
    n = 50_000
    x = fg.ones(n)
    y = x + 1
    x[7] = 5.0
    y[8] = 9.0
    assert y[7].item() == 2.0 and y[8].item() == 9.0 and x[7].item() == 5.0


def test_memory_that_may_not_be_written():
    array = np.zeros(3, dtype=np.float32)
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = fg.from_numpy(array)
    with pytest.raises(RuntimeError, match="read-only"):
        x[0] = 1.0
    with fg.inference_mode():
        y = fg.ones(2)
    with pytest.raises(RuntimeError, match="[Ii]nference"):
        y[0] = 3.0
    assert y.tolist() == [1.0, 1.0]


def test_tangents_and_batches_go_the_general_way():
    x, t = fg.ones(3), fg.tensor([1.0, 2.0, 3.0])
    with fg.autograd.forward_ad.dual_level():
        d = fg.autograd.forward_ad.make_dual(x, t)
        assert fg.autograd.forward_ad.unpack_dual(d[1]).tangent.item() == 2.0
        y = d * 1
        y[1] = 7.0
        assert fg.autograd.forward_ad.unpack_dual(y).tangent.tolist() == [1.0, 0.0, 3.0]

    def changed(row):
        row = row.clone()
        row[1] = 5.0
        return row[1] + row[0]

    assert fg.func.vmap(changed)(fg.arange(6.0).reshape(2, 3)).tolist() == [5.0, 8.0]
