"""Every operation that is not element-wise: values, shapes and dtypes against a reference in plain NumPy, in every dtype.

The calls are of every operation of the table, the references those of `references`: by definition, or NumPy's own. A new
operation that NumPy has under its name is tested without a line; another one without a line there fails a test.
"""

import inspect
import os

import numpy as np
import pytest
from captured import TABLE, call, captured, mapped, tensors
from drawn import LEFT_OUT, OTHER_GRADIENTS, drawn
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from references import REFERENCE, bound, reference
from samples.random import DRAWN
from test_every_dtype import accepted
from test_terms import in_dtype

import ferrograd as fg

#: What is random has tests of its own (test_random.py).
NAMES = sorted(name for name, row in TABLE.items() if "arity" not in row and not name.endswith("_") and name not in DRAWN)
#: Memory that nothing was written to: only its shape and dtype are told.
UNWRITTEN = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
# The same calls in every run, and so many others where asked for.
EXAMPLES = int(os.environ.get("FERROGRAD_DRAWN", 12))
DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]
pytestmark = pytest.mark.filterwarnings("ignore")


def test_every_operation_has_a_reference():
    assert [name for name in NAMES if reference(name) is None] == []
    assert sorted(set(REFERENCE) - set(NAMES)) == []


def as_numpy(value):
    """Arguments as references take them: floats exact enough to be what is compared with."""
    if isinstance(value, fg.Tensor):
        array = value.detach().numpy()
        return array.astype(np.longdouble) if array.dtype.kind == "f" else array
    if isinstance(value, fg.dtype):
        return np.dtype(str(value).removeprefix("torch."))
    return [as_numpy(part) for part in value] if isinstance(value, (list, tuple)) else value


def float_dtype(name, given):
    """The dtype of floats that an operation gives of these tensors."""
    if TABLE[name]["gives"] in ("Kept", "Like", "First", "Indexed", "AskedLike", "Sum"):
        given = given[:1]
    floats = [as_numpy(t.dtype) for t in given if t.is_floating_point()]
    return np.result_type(*floats) if floats else np.dtype("float32")


def result_dtype(name, theirs, values):
    """The dtype of a result: the reference's, but of floats that which the operation is asked for or given."""
    given, gives = list(tensors(values)), TABLE[name]["gives"]
    # What operands share is no matter of asking.
    asked = [value for value in values if isinstance(value, fg.dtype) and gives != "Shared"]
    if asked:
        return as_numpy(asked[0])
    if not given and theirs.dtype == np.longdouble:
        return as_numpy(fg.get_default_dtype())
    if not given or gives == "Noted" and theirs.dtype != np.longdouble:
        return theirs.dtype
    if theirs.dtype.kind == "f":
        return float_dtype(name, given)
    # NumPy's sums are wider, and those of uint8 are of uint64.
    return as_numpy(given[0].dtype) if gives == "Shared" and name != "einsum" else np.dtype("int64") if theirs.dtype == "uint64" else theirs.dtype


def compare(name, ours, theirs, dtype):
    got = ours.detach().numpy()
    assert (got.shape, got.dtype) == (theirs.shape, dtype)
    if name in UNWRITTEN:
        return
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, theirs.astype(dtype))
        return
    unit = float(np.finfo(dtype).eps) * 16
    np.testing.assert_allclose(got, theirs.astype(np.longdouble), rtol=unit, atol=4 * unit)


def check(name, arguments, named, ours):
    """Compares what a call gave with what the reference gives."""
    given = bound(name, as_numpy(arguments), {key: as_numpy(value) for key, value in named.items()})
    values = [*arguments, *named.values()]
    theirs = reference(name)
    if "float_dtype" in inspect.signature(theirs).parameters:
        given["float_dtype"] = float_dtype(name, list(tensors(values)))
    theirs = theirs(**given)
    if isinstance(ours, fg.Tensor):
        ours, theirs = [ours], [theirs]
    assert len(ours) == len(theirs)
    for our, their in zip(ours, map(np.asarray, theirs)):
        compare(name, our, their, result_dtype(name, their, values))


def in_another(arguments, named, dtype, zeros=False):
    """A call in another dtype. Where there are floats, integers are places and classes, and stay."""
    given = list(tensors([*arguments, *named.values()]))
    if not given:
        return arguments, named
    which = next((t for t in given if t.is_floating_point()), given[0]).dtype
    if dtype != "bool":
        return in_dtype(arguments, named, which, dtype, zeros)

    def truth(t):
        return t > 0 if t.dtype == which else t

    return mapped(arguments, truth), {key: mapped(value, truth) for key, value in named.items()}


@pytest.mark.parametrize("name", NAMES)
def test_captured_values(name):
    for dtype in [dtype for dtype in DTYPES if dtype in accepted(name)]:
        arguments, named = in_another(*captured(name), dtype)
        check(name, arguments, named, call(name, arguments, named))


def within(name, arguments, named):
    """What is drawn, as far as the operation says what comes of it."""
    if name in ("bucketize", "searchsorted"):
        place = name == "bucketize"
        arguments[place] = arguments[place].sort(-1).values
        named.pop("sorter", None)
    if name == "cov" and arguments[0].shape[-1:] and arguments[0].shape[-1] < 3:
        # Without freedom the quotient is of roundings by zero.
        named["correction"] = 0
    if "weight" in named and name in ("nn.l1_loss", "nn.mse_loss"):
        # The mean is over the sum of the weights, which is near zero where they have two signs.
        named["weight"] = named["weight"].abs()
    if name.startswith("as_strided"):
        # References know of no memory but the elements in their order.
        arguments[0] = arguments[0].contiguous()
    if "fractional_max_pool" in name:
        n = int(name.partition("pool")[2][0])
        shape = (*arguments[0].shape[:-n], n)
        samples = np.random.default_rng(0).uniform(size=shape if len(shape) > 2 else (1, *shape))
        named["_random_samples"] = fg.tensor(samples, dtype=arguments[0].dtype)
    return arguments, named


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=EXAMPLES, derandomize="FERROGRAD_DRAWN" not in os.environ, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_drawn_values(name, data):
    dtype = data.draw(st.sampled_from([dtype for dtype in DTYPES if dtype in accepted(name)]))
    is_float = dtype.startswith("float")
    arguments, named = within(name, *drawn(data, name, dtype if is_float else "float64", LEFT_OUT - OTHER_GRADIENTS))
    arguments, named = (arguments, named) if is_float else in_another(arguments, named, dtype, zeros=True)
    try:
        ours = call(name, arguments, named)
    except (RuntimeError, TypeError, ValueError) as error:
        assert "please report it" not in str(error), error
        assume(False)  # Numbers that are none of the dtype.
    check(name, arguments, named, ours)
