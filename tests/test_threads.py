"""The numbers of an operation and of its gradients are the same bits at any number of threads."""

import importlib.util
import re
from pathlib import Path

import pytest

import ferrograd as fg
from ferrograd import _ferrograd

# The calls that the benchmarks make of every operation.
PATH = Path(__file__).parents[1] / "benches" / "compare" / "calls.py"
spec = importlib.util.spec_from_file_location("calls", PATH)
calls = importlib.util.module_from_spec(spec)
spec.loader.exec_module(calls)

#: What threads share: many lines, and few long ones.
MANY = 120_000
LONG = 120_002
BESIDE = {"image": (2, 3, 100, 200), "volume": (1, 2, 40, 40, 40), "batch": (30, 60, 60)}
calls.SIZES |= {MANY: {"matrix": (300, 400), **BESIDE}, LONG: {"matrix": (2, 60_001), **BESIDE}}

OPERATIONS = [o for o in _ferrograd._operations() if not o["name"].endswith("_") and not o["name"].startswith("_")]
#: Of these the elements are anything.
UNDEFINED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"}


def parts(result):
    return [part for part in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(part, fg.Tensor)]


def bits(t):
    t = t.detach().contiguous()
    return (t.float() if t.dtype == fg.bfloat16 else t).numpy().tobytes()


def found(operation, n, dtype, threads):
    fg.set_num_threads(threads)
    fg.manual_seed(0)
    expression = calls.expression(operation)
    values = calls.Values(fg, n, False, True, operation.get("domain"), dtype)
    results = parts(eval(expression, {}, values))
    linked = [y for y in results if y.requires_grad]
    gradients = []
    if linked and values.leaves:
        upstream = [fg.sin(fg.arange(y.numel(), dtype=fg.float64)).to(y.dtype).reshape(y.shape) for y in linked]
        try:
            gradients = fg.autograd.grad(linked, values.leaves, upstream, allow_unused=True)
        except NotImplementedError:
            pass
    return [bits(t) for t in results], [None if g is None else bits(g) for g in gradients]


@pytest.fixture(autouse=True)
def threads_as_before():
    before = fg.get_num_threads()
    yield
    fg.set_num_threads(before)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o["name"])
def test_threads_do_not_change_bits(operation):
    expression = calls.expression(operation)
    if operation["name"].split(".")[-1] in UNDEFINED:
        return
    # What is as wide as the lines are long in two directions is not for everyday machines, and some calls name a dtype.
    sizes = [MANY] if re.search(r"\b(w|index|row|c|n|square|edges|float32)\b", expression) else [MANY, LONG]
    # Sums of float32 are exact where they are added up in float64.
    for n, dtype in zip(sizes, ("float32", "float64")):
        one = found(operation, n, dtype, 1)
        assert found(operation, n, dtype, 3) == one, f"{expression} of {n} elements"
