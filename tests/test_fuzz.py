"""No call of any operation of the table, however wrong, panics, says that it is a defect, or changes its inputs."""

import os

import fuzz
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operations import TABLE, function

import ferrograd as fg

NUMBERS, FILLS = fuzz.NUMBERS + fuzz.LARGE, fuzz.FILLS + fuzz.EXTREMES
KINDS = fuzz.kinds(NUMBERS, fuzz.SIZES + fuzz.LARGE, fuzz.WHOLE + fuzz.LARGE, FILLS)
JUNK = st.one_of(fuzz.junk(NUMBERS, FILLS), st.sampled_from([1j, b"bytes"]).map(fuzz.constant))
#: Functions that move running statistics, or scale rows of a table.
MOVING = ("nn.batch_norm", "nn.instance_norm", "nn.embedding", "nn.embedding_bag")
# The same calls in every run, and so many others where asked for.
EXAMPLES = int(os.environ.get("FERROGRAD_FUZZ", 40))
EXPECTED = (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError, MemoryError, OverflowError)


def snapshot(value):
    """What a failed call must not change: the bytes of a tensor, its version, its shape."""
    tensors = value if isinstance(value, list) else [value]
    return [
        (np.array(t.detach().numpy()).tobytes(), t._version, tuple(t.shape), t.requires_grad)
        for t in tensors
        if isinstance(t, fg.Tensor)
    ]


def run(name, row, arguments, named):
    if row["function"]:
        return function(name)(*arguments, **named)
    receiver, *rest = arguments or [fg.ones(2)]
    return function(name)(receiver if isinstance(receiver, fg.Tensor) else fg.ones(2), *rest, **named)


@pytest.mark.parametrize("name", sorted(TABLE))
@settings(max_examples=EXAMPLES, derandomize="FERROGRAD_FUZZ" not in os.environ, deadline=None)
@given(data=st.data())
def test_a_call_returns_or_raises(name, data):
    row = TABLE[name]
    positional, named = data.draw(fuzz.call(row["signatures"], KINDS, JUNK))
    arguments = [make(fg) for make in positional]
    options = {key: make(fg) for key, make in named.items()}
    before = [snapshot(a) for a in (*arguments, *options.values())]
    try:
        run(name, row, arguments, options)
    except EXPECTED as error:
        assert "please report it" not in str(error), error
        assert str(error).strip()
    else:
        asked = "inplace" in row["signatures"][0] and any(value is True for value in (*arguments, *options.values()))
        if name.endswith("_") or asked or name in MOVING:
            return
    assert before == [snapshot(a) for a in (*arguments, *options.values())]
