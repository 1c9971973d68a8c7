"""Calls at the border of what is taken: known results and classes of errors, which are torch's too where it is installed."""

import warnings

import numpy as np
import pytest
from known import in_all

import ferrograd as fg

#: Calls with their values, or with the errors that they are and what these say.
TABLE = {
    "T.linspace(-1, 5, 4, dtype=T.uint8)": [255, 171, 88, 5],
    "T.linspace(-1, 5, 7, dtype=T.uint8)": [255, 213, 171, 130, 88, 46, 5],
    "T.linspace(255, -1, 3, dtype=T.uint8)": [255, 255, 255],
    "T.linspace(-1, -5, 5, dtype=T.uint8)": [255, 254, 253, 252, 251],
    "T.linspace(-1, 5, 1, dtype=T.uint8)": [255],
    "T.linspace(-1, 5, 4, dtype=T.int8)": [-1, 1, 3, 5],
    "T.linspace(-1.0, 5, 4, dtype=T.uint8)": (RuntimeError, "overflow"),
    "T.linspace(-300, 5, 4, dtype=T.uint8)": (RuntimeError, "overflow"),
    "T.linspace(0, 300, 4, dtype=T.uint8)": (RuntimeError, "overflow"),
    "T.logspace(300, 2, 2, dtype=T.uint8)": (RuntimeError, "overflow"),
    "T.zeros(2, 3).all(keepdim=True)": [[False]],
    "T.ones(2, 3).any(keepdim=True)": [[True]],
    "T.all(T.zeros(2, 3), keepdim=False)": False,
    "T.ones(2, 3).all(0, keepdim=True)": [[True, True, True]],
    "T.ones(2, 3).all(dim=None, keepdim=True)": [[True]],
    "T.zeros(2, 3).reshape(-1, -1)": (RuntimeError, "only one dimension can be inferred"),
    "T.zeros(2, 3).view(-1, -1)": (RuntimeError, "only one dimension can be inferred"),
    "T.zeros(2, 3).view(-2, -1)": (RuntimeError, "invalid shape dimension -2 at index 0"),
    "T.zeros(2, 3).reshape(4, -1)": (RuntimeError, "is invalid for input of size 6"),
    "T.ones(2).view(0, -1)": (RuntimeError, "is invalid for input of size 2"),
    "T.ones(0).view(0, -1)": (RuntimeError, "cannot reshape tensor of 0 elements"),
    "T.ones(2).expand(-1, 2)": (RuntimeError, "leading, non-existing dimension 0"),
    "T.zeros(size=3)": (TypeError, "argument 'size' must be tuple of ints, not int"),
    "T.zeros(size=(2,))": [0, 0],
    "T.zeros(2)": [0, 0],
    "T.full(size=2, fill_value=1)": (TypeError, "must be tuple of ints, not int"),
    "T.rand(size=3)": (TypeError, "must be tuple of ints, not int"),
    "T.ones(1).new_zeros(size=3)": (TypeError, "must be tuple of ints, not int"),
    "T.ones(1).expand(size=3)": (TypeError, "must be tuple of ints, not int"),
    "T.ones(1).expand(size=(3,))": [1, 1, 1],
    "T.ones(2).repeat(repeats=2)": (TypeError, "must be tuple of ints, not int"),
    "T.ones(2).permute(dims=0)": (TypeError, "must be tuple of ints, not int"),
    "T.tile(T.ones(2), dims=2)": (TypeError, "must be tuple of ints, not int"),
    "T.ones(2).sum(dim=0)": 2,
    "T.roll(T.tensor([1, 2]), 1, dims=0)": [2, 1],
    "T.nn.functional.interpolate(T.ones(1, 1, 2), size=3)": [[[1, 1, 1]]],
    "T.ones((True, 2))": (TypeError, "found element of type bool"),
    "T.ones([True])": (TypeError, "found element of type bool"),
    "T.ones([2, True])": [[1], [1]],
    "T.zeros(2).reshape((True, 2))": (TypeError, "found element of type bool"),
    "T.randn((True, 2))": (TypeError, "found element of type bool"),
    "T.ones(1).expand((True, 1))": (TypeError, "found element of type bool"),
    "T.ones(2).sum(dim=(True,))": (TypeError, ""),
    "T.zeros(2).sum(out=None)": (TypeError, ""),
    "T.zeros(2).sum(0, out=None)": (TypeError, "unexpected keyword argument 'out'"),
    "T.zeros(2).add(1, out=None)": (TypeError, ""),
    "T.zeros(2).add(1, out=T.zeros(2))": (TypeError, ""),
    "T.sum(T.ones(2), 0, out=None)": 2,
    "T.add(T.ones(2), 1, out=T.zeros(2))": [2, 2],
    "T.full((2,), 2**64, dtype='float32')": (TypeError, "argument 'dtype' must be torch.dtype, not str"),
    "T.full((2,), 2**64, dtype=T.float32)": (OverflowError, ""),
    "T.clamp(T.tensor([1.0, 2.0]), 0.1, 1e300)": (RuntimeError, ""),
    "T.ones(2) @ 2**70": (TypeError, ""),
    "2**70 @ T.ones(2)": (TypeError, ""),
    "T.zeros(2**70, dtype='float32')": (TypeError, ""),
    "T.zeros((2, 2**70))": (TypeError, ""),
    "T.ones(2)[1.5]": (IndexError, ""),
    "T.tensor([nan, nan]).mode().indices": 0,
    "T.tensor([1.0, nan, nan]).mode()[0]": 1,
    "T.tensor([2.0, 2.0, nan, nan, nan]).mode()[1]": 1,
}
nan = float("nan")


@in_all
@pytest.mark.parametrize("text", TABLE)
def test_results_and_errors(T, text):
    expected = TABLE[text]
    if isinstance(expected, tuple):
        with pytest.raises(expected[0]) as error:
            eval(text, {"T": T, "nan": nan})
        assert type(error.value) is expected[0]
        assert expected[1] in str(error.value)
    else:
        assert eval(text, {"T": T, "nan": nan}).tolist() == expected


def test_the_most_frequent_is_a_number_where_there_is_one():
    """In torch the order of the elements decides."""
    for numbers, expected, place in (([nan, 1, nan], 1, 1), ([nan, 2, 1], 1, 2), ([nan, 1, nan, 1], 1, 3), ([nan] * 20 + [4.0], 4, 20)):
        found = fg.tensor(numbers).mode()
        assert (found.values.item(), found.indices.item()) == (expected, place)


#: Indices that select nothing, and whether a leaf that requires a gradient lets them be assigned to.
NOTHING = {"False": True, "None, False": False, "0, False": False, "False, 0": False, "T.tensor(False)": False, "[]": False, "0:0": False}


@in_all
@pytest.mark.parametrize("index", NOTHING)
def test_assignment_to_nothing(T, index):
    x = T.ones(2, 2, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(f"x[{index}] = 5.0", {"x": x, "T": T})
        except RuntimeError:
            assert not NOTHING[index]
            return
    assert NOTHING[index]
    assert (x._version, x.grad_fn, x.tolist()) == (0, None, [[1, 1], [1, 1]])


@in_all
def test_assignment_to_false_looks_at_no_value(T):
    w = T.ones(2, requires_grad=True)
    x = w * 2
    x[False] = T.ones(7, 8, 9)
    x[False] += 1
    assert (x._version, x.grad_fn.name()) == (0, "MulBackward0")
    part = w[:1]
    part[False] = 5.0
    assert w.tolist() == [1, 1]


@pytest.mark.parametrize("look", [repr, str, "{}".format, lambda x: x.tolist()], ids=["repr", "str", "format", "tolist"])
def test_brackets_are_not_nested_without_end(look):
    assert look(fg.zeros([1] * 900))
    with pytest.raises(RuntimeError, match="the tensor has 20000 dimensions"):
        look(fg.zeros([1] * 20000))


def test_running_statistics_move_together():
    """Neither does where one may not be written."""
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    mean = fg.zeros(3)
    for call in (fg.nn.functional.batch_norm, fg.nn.functional.instance_norm):
        with pytest.raises((RuntimeError, ValueError)):
            call(fg.rand(4, 3, 5), mean, fg.from_numpy(array), None, None, True)
        assert mean.tolist() == [0, 0, 0]


@in_all
def test_a_device_is_a_block(T):
    with T.device("cpu") as device:
        assert T.ones(2).device == device
    with pytest.raises((RuntimeError, AssertionError)):
        with T.device("cuda"):
            T.ones(2)


@in_all
def test_what_is_nothing_is_still_linked(T):
    source = T.ones(0, requires_grad=True)
    index = T.zeros(0, dtype=T.int64)
    for call in (lambda x: x.scatter_add(0, index, source), lambda x: x.scatter(0, index, source)):
        source.grad = None
        call(T.zeros(3)).sum().backward()
        assert source.grad.tolist() == []


@in_all
def test_counts_of_nothing_are_integers(T):
    assert T.bincount(T.zeros(0, dtype=T.int64), T.zeros(0), 2).dtype == T.int64
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        T.bincount(T.tensor([2**63 - 1]))
    assert "internal error" not in str(caught.value)


@in_all
def test_different_slices_of_one_element(T):
    assert T.unique(T.tensor([[3], [1], [3]]), dim=0).tolist() == [[1], [3]]
    values, inverse, counts = T.unique(T.tensor([[1, 2, 1]]), dim=1, return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([[1, 2]], [0, 1, 0], [2, 1])


@in_all
@pytest.mark.parametrize("name", ["xlogy", "special.xlog1py"])
def test_logarithms_that_are_masked_have_no_gradient(T, name):
    module = T.special if "." in name else T
    op = getattr(module, name.rpartition(".")[2])
    x = T.tensor([1.0, 0.5, 2.0, 0.0], requires_grad=True)
    pole = -1.0 if "." in name else 0.0
    y = T.tensor([pole, pole + 0.5, float("inf"), pole - 1])
    op(x, y).backward(T.tensor([0.0, 1.0, 0.0, 1.0]))
    expected = [0.0, float(T.log(T.tensor(0.5))), 0.0, 0.0]
    assert x.grad.tolist() == pytest.approx(expected)


@in_all
def test_so_many_columns_of_no_rows(T):
    assert T.eye(0, 2**63 - 1).shape == (0, 2**63 - 1)
