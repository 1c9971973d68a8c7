"""What stands beside a tensor in an operator: objects of others are asked, and those that are no numbers are none."""

import fractions
import operator

import numpy as np
import pytest
from known import in_all, known, raised

import ferrograd as fg

OPERATORS = {
    "add": operator.iadd, "sub": operator.isub, "mul": operator.imul, "truediv": operator.itruediv, "floordiv": operator.ifloordiv,
    "mod": operator.imod, "pow": operator.ipow, "and": operator.iand, "or": operator.ior, "xor": operator.ixor,
    "lshift": operator.ilshift, "rshift": operator.irshift,
}


class Quantity:
    """Something that knows what it is beside a tensor."""


for name in OPERATORS:
    setattr(Quantity, f"__r{name}__", lambda self, other, name=name: (name, other))


@in_all
@pytest.mark.parametrize("name", OPERATORS)
def test_an_augmented_assignment_asks_the_other_operand(T, name):
    x = T.ones(2, dtype=T.int64)
    found = OPERATORS[name](x, Quantity())
    assert found[0] == name and found[1] is x


@in_all
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("other", ["1", None, object(), {}], ids=["text", "None", "object", "dict"])
def test_what_cannot_be_is_an_error_of_python(T, name, other):
    x = T.ones(2, dtype=T.int64)
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for .*="):
        OPERATORS[name](x, other)
    assert x.tolist() == [1, 1] and x._version == 0


@known([2.0, 3.0])
def test_a_fraction_may_be_an_exponent(T):
    x = T.tensor([4.0, 9.0])
    x **= fractions.Fraction(1, 2)
    return x.tolist()


def test_an_augmented_assignment_writes_into_the_tensor():
    x = y = fg.ones(2)
    y += np.array([1.0, 2.0], dtype=np.float32)
    y -= np.float64(1)
    y *= fg.tensor(3.0)
    assert x is y and x.tolist() == [3.0, 6.0]
    with pytest.raises(OverflowError, match="add_"):
        y += 2**70


FOREIGN = {
    "text": np.str_("a"), "bytes": np.bytes_(b"a"), "date": np.datetime64("2020-01-01"), "span": np.timedelta64(3, "s"),
    "nothing": np.timedelta64("NaT"), "texts": np.array(["a", "b"]), "record": np.zeros(2, dtype=[("a", "i4")]),
}


@in_all
@pytest.mark.parametrize("other", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.filterwarnings("ignore")
def test_comparisons_with_what_is_no_number_are_answered(T, other):
    x = T.zeros(2)
    assert not np.any(x == other) and np.all(x != other)
    with pytest.raises(TypeError):
        x < other
    with pytest.raises(TypeError):
        x + other


@known(("TypeError",) * 5)
def test_a_span_of_time_is_no_integer(T):
    span, x = np.timedelta64(1), T.zeros(3)
    return (
        raised(lambda: T.tensor(span)), raised(lambda: x[span]), raised(lambda: x.fill_(span)),
        raised(lambda: x.__setitem__(0, span)), raised(lambda: T.full((2,), span)),
    )


class Interrupting:
    def __index__(self):
        raise KeyboardInterrupt


@known(("KeyboardInterrupt", "KeyboardInterrupt", "TypeError"))
def test_a_slice_lets_through_what_an_index_raises(T):
    def given(bound):
        try:
            T.zeros(3)[bound]
        except BaseException as error:
            return type(error).__name__

    return given(slice(Interrupting(), None)), given(slice(None, None, Interrupting())), given(slice(1.5, None))
