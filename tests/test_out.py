"""The argument `out`, which every operation takes that makes tensors."""

import pytest

import ferrograd as fg


def test_results_are_written_into_the_tensor():
    x, y = fg.tensor([1.0, 2.0]), fg.empty(2)
    pointer = y.data_ptr()
    assert fg.exp(x, out=y) is y
    assert y.data_ptr() == pointer and y._version == 1
    assert y.tolist() == fg.exp(x).tolist()


def test_views_are_written_through():
    base = fg.zeros(2, 2)
    fg.add(fg.ones(2), 1, out=base[1])
    assert base.tolist() == [[0.0, 0.0], [2.0, 2.0]]


def test_an_operand_can_be_the_target():
    x = fg.tensor([1.0, 2.0, 3.0])
    fg.mul(x, x, out=x)
    assert x.tolist() == [1.0, 4.0, 9.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fg.add(x[:-1], 1, out=x[1:]),
        lambda x: fg.exp(x[1:], out=x[:-1]),
        lambda x: fg.cumsum(x[1:], 0, out=x[:-1]),
        lambda x: fg.where(x[:2] > 0, x[2:], x[1:3], out=x[:2]),
    ],
)
def test_what_lies_beside_an_operand_is_refused_before_anything_is_written(call):
    x = fg.tensor([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(RuntimeError, match="single memory location"):
        call(x)
    assert x.tolist() == [1.0, 2.0, 3.0, 4.0] and x._version == 0


def test_a_view_of_the_target_is_read_before_it_is_written():
    x = fg.arange(16).reshape(4, 4)
    fg.transpose(x, 0, 1, out=x)
    assert x.tolist() == fg.arange(16).reshape(4, 4).t().tolist()


def test_shapes_change_with_a_warning_unless_empty():
    y = fg.empty(0)
    fg.cat([fg.ones(2), fg.zeros(1)], out=y)
    assert y.tolist() == [1.0, 1.0, 0.0]
    y = fg.empty(5)
    with pytest.warns(UserWarning, match="resized"):
        fg.sum(fg.ones(2, 2), 0, out=y)
    assert y.tolist() == [2.0, 2.0]


def test_dtypes_are_cast_within_their_kind():
    y = fg.empty(2, dtype=fg.float64)
    fg.exp(fg.zeros(2), out=y)
    assert y.tolist() == [1.0, 1.0] and y.dtype == fg.float64
    with pytest.raises(RuntimeError, match="result type"):
        fg.exp(fg.zeros(2), out=fg.empty(2, dtype=fg.int64))


def test_several_results():
    values, indices = fg.empty(0), fg.empty(0, dtype=fg.int64)
    found = fg.max(fg.tensor([[1.0, 3.0], [4.0, 2.0]]), 1, out=(values, indices))
    assert found.values is values and found.indices is indices
    assert values.tolist() == [3.0, 4.0] and indices.tolist() == [1, 0]
    with pytest.raises(TypeError, match="2 Tensors"):
        fg.max(fg.ones(2, 2), 1, out=(values,))


def test_where_one_result_cannot_be_written_none_is():
    x = fg.tensor([[1.0, 3.0], [4.0, 2.0]])
    for op in (lambda out: fg.max(x, 1, out=out), lambda out: fg.sort(x, out=out), lambda out: fg.topk(x, 1, out=out)):
        for wrong in (fg.zeros(2), fg.zeros(1, dtype=fg.int64).expand(2)):
            first = fg.arange(6.0)
            with pytest.raises(RuntimeError):
                op((first, wrong))
            assert first.tolist() == [0, 1, 2, 3, 4, 5]


def test_gradients_are_refused():
    x = fg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        fg.exp(x, out=fg.empty(2))
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        fg.exp(fg.ones(2), out=x)
    with fg.no_grad():
        y = fg.empty(2)
        fg.exp(x, out=y)
    assert not y.requires_grad


def test_none_is_no_target_and_other_objects_are_errors():
    assert fg.exp(fg.zeros(1), out=None).tolist() == [1.0]
    with pytest.raises(TypeError, match="argument 'out' must be Tensor"):
        fg.exp(fg.zeros(1), out=[1.0][0])
