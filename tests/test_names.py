"""What fails within an operation is an error of the operation that was called, also where it is made of others.

The calls are those that the tests know of every operation (`captured.py`): with each wrong argument in the place of each, and
without memory for what the operation makes.
"""

import math
import re
import warnings

import numpy as np
import pytest
from captured import TABLE, call, captured

import ferrograd as fg

WRONG = [
    "'a'", "['a']", "object()", "1.5", "math.nan", "2**62", "2**63", "2**70", "-2**70", "-7", "True", "[0,0]", "[5]", "[2**62,2**62]", "{}",
    "fg.tensor([])", "fg.tensor(2)", "fg.ones(5,7)", "fg.ones(2,3,dtype=fg.bool)", "fg.ones(1,1,1,1,1,1)", "fg.ones(2,3,requires_grad=True)",
    "[fg.ones(2),1]", "[fg.ones(2),fg.ones(3)]", "[]", "fg.float16", "fg.zeros(0,3)", "np.ones((2,9))",
]  # fmt: skip
#: What Python says of a method of another class.
NAMELESS = re.compile(r"descriptor '")


def is_named(error: Exception, name: str) -> bool:
    return re.match(rf"{name.rpartition('.')[2]}(\(\))?[: ]", str(error)) is not None or NAMELESS.match(str(error)) is not None


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_wrong_argument_is_an_error_of_what_was_called(name):
    positional, named = captured(name)
    nameless = set()
    for place in [*range(len(positional)), *named]:
        for text in WRONG:
            arguments, options = captured(name)
            (arguments if isinstance(place, int) else options)[place] = eval(text, {"fg": fg, "np": np, "math": math})
            try:
                call(name, arguments, options)
            except Exception as error:
                if not is_named(error, name):
                    nameless.add((place, text, repr(error)))
    assert not nameless


#: Calls for whose results there is no memory: `x` has 2**58 elements in one place, `m` is a matrix of them, `b` a mask.
LARGE = """
fg.eye(2**28); fg.zeros(2**58); fg.ones(2**58); fg.full((2**58,), 1.0); fg.empty(2**58); fg.rand(2**58); fg.randn(2**58); fg.randint(3, (2**58,))
fg.linspace(0, 1, 2**58); fg.logspace(0, 1, 2**58); fg.arange(0.0, 2.0**58); fg.randperm(2**58); fg.zeros_like(x); fg.rand_like(x); fg.full_like(x, 3)
fg.stack([x, x]); fg.cat([x, x]); fg.hstack([x, x]); fg.vstack([x, x]); fg.dstack([x, x]); fg.column_stack([x, x])
fg.outer(x[:2**29], x[:2**29]); fg.mm(m, m.t()); fg.matmul(m, m.t()); fg.tensordot(m, m.t(), 1); fg.einsum("ij,kj->ik", m, m)
fg.clone(x); fg.add(x, 1); fg.mul(x, x); fg.exp(x); fg.where(b, x, x); fg.lerp(x, x, 0.5); fg.addcmul(x, x, x); fg.pow(x, 2); fg.eq(x, 1)
fg.cumsum(x, 0); fg.sort(x); fg.flip(x, (0,)); fg.roll(x, 1); fg.repeat_interleave(x, 2); fg.tile(x, (2,)); fg.softmax(x, 0); fg.diag(x[:2**29])
fg.diag_embed(x[:2**29]); fg.tril(m); fg.triu(m); fg.masked_fill(x, b, 1.0); fg.gather(m, 0, fg.zeros(1, dtype=fg.int64).expand(2**29, 2**29)); fg.cdist(m, m)
fg.nn.functional.pad(x, (1, 1)); fg.nn.functional.relu(x); fg.nn.functional.linear(m, m); fg.nn.functional.mse_loss(x, x, reduction="none")
fg.nn.functional.one_hot(fg.zeros(2**20).long(), 2**40); fg.cartesian_prod(x[:2**29], x[:2**29])
fg.block_diag(m, m); fg.dropout(x, 0.5, True); fg.bernoulli(x)
fg.combinations(x[:2**29]); fg.tril_indices(2**30, 2**30); fg.bincount(fg.tensor([2**58])); fg.histc(x[:9], 2**58); fg.corrcoef(m); fg.cov(m)
x.new_zeros(2**58); x.repeat(2); x.new_full((2**58,), 1); fg.kron(x[:2**29], x[:2**29])
fg.Tensor(2**58); fg.tensor(x); x.to(fg.float64)
"""


@pytest.mark.parametrize("expression", re.split(r"; |\n", LARGE.strip()))
def test_missing_memory_is_an_error_of_what_was_called(expression):
    x, m = fg.ones(1).expand(2**58), fg.ones(1, 1).expand(2**29, 2**29)
    name = re.match(r"(?:fg|x)\.(?:nn\.functional\.)?(\w+)", expression)[1]
    before = fg.config.fusion_elements()
    fg.config.set_fusion(False)
    try:
        with pytest.raises((fg.OutOfMemoryError, RuntimeError)) as raised:
            eval(expression, {"fg": fg, "x": x, "m": m, "b": fg.ones(1, dtype=fg.bool)})
    finally:
        fg.config.set_fusion(before is not None, before)
    assert is_named(raised.value, {"Tensor": "new"}.get(name, name)), raised.value


def test_operators_and_indices_name_themselves():
    x = fg.ones(2)
    for name, wrong in {
        "add": lambda: x + fg.ones(3),
        "matmul": lambda: x @ fg.ones(3),
        "lt": lambda: x < 2**64,
        "mul": lambda: 2**64 * x,
        "pow_": lambda: x.__ipow__(-(2**64)),
        "__getitem__": lambda: x[0, 0],
        "__setitem__": lambda: x.__setitem__((0, 0), 1),
        "__contains__": lambda: 2**64 in x,
        "new": lambda: fg.Tensor(2**55),
        "tensor": lambda: fg.tensor([2**64]),
        "item": lambda: x.item(),
        "bool": lambda: bool(x),
        "size": lambda: x.size(2**63),
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(Exception) as raised:
                wrong()
        assert is_named(raised.value, name), raised.value
