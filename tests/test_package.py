"""The package as its users meet it: the chapter, NumPy, printing, wrong input, stubs, documents."""

import doctest
import math
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import ferrograd as fg

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/differences.md", "src/ops/README.md", "docs/tutorial.md", "docs/tutorial.zh.md"])
def test_links_within_the_project_lead_somewhere(name):
    document = ROOT / name
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_contributing_shows_a_block_as_it_stands():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    block = re.search(r"```rust\n(.*?)```", guide, re.S)[1]
    assert block in (ROOT / "src/ops/nn/activation.rs").read_text()


CHAPTER = {
    "requires_grad": ("x = fg.tensor([2.0], requires_grad=True)\nprint(x.requires_grad)\nprint(fg.tensor([3.0]).requires_grad)", "True\nFalse\n"),
    "simple": ("x = fg.tensor([2.0], requires_grad=True)\ny = x ** 2\ny.backward()\nprint(x.grad)", "tensor([4.])\n"),
    "chain rule": ("x = fg.tensor([2.0], requires_grad=True)\ny = x ** 2\nz = 3 * y + 1\nz.backward()\nprint(x.grad)", "tensor([12.])\n"),
    "several": ("x = fg.tensor([2.0, 3.0], requires_grad=True)\ny = x[0]**2 + x[1]**2\ny.backward()\nprint(x.grad)", "tensor([4., 6.])\n"),
    "accumulation": (
        "x = fg.tensor([2.0], requires_grad=True)\nfor i in range(3):\n    y = x ** 2\n    y.backward()\n    print(f'{i + 1}: {x.grad}')",
        "1: tensor([4.])\n2: tensor([8.])\n3: tensor([12.])\n",
    ),
    "zeroing": (
        "x = fg.tensor([2.0], requires_grad=True)\nfor i in range(3):\n    y = x ** 2\n    y.backward()\n    print(x.grad)\n    x.grad.zero_()",
        "tensor([4.])\n" * 3,
    ),
    "no gradients": (
        "x = fg.tensor([2.0], requires_grad=True)\nwith fg.no_grad():\n    y = x ** 2\nprint(y.requires_grad, (x ** 2).detach().requires_grad, x.requires_grad_(False).requires_grad)",
        "False False False\n",
    ),
    "training": (
        "w = fg.tensor([0.5], requires_grad=True)\nb = fg.tensor([0.1], requires_grad=True)\n"
        "x = fg.tensor([1.0, 2.0, 3.0])\ny = fg.tensor([2.0, 4.0, 6.0])\n"
        "for epoch in range(100):\n    loss = ((w * x + b - y) ** 2).mean()\n    loss.backward()\n"
        "    w.data -= 0.01 * w.grad\n    b.data -= 0.01 * b.grad\n    w.grad.zero_()\n    b.grad.zero_()\n"
        "print(f'w={w.item():.2f}, b={b.item():.2f}')",
        "w=1.78, b=0.50\n",
    ),
    "minimisation": (
        "x = fg.tensor([0.0], requires_grad=True)\nfor i in range(100):\n    y = x**2 - 4*x + 3\n    y.backward()\n"
        "    x.data -= 0.1 * x.grad\n    x.grad.zero_()\nprint(f'x = {x.item():.2f}')",
        "x = 2.00\n",
    ),
    "sensitivity": (
        "p = fg.tensor([100.0], requires_grad=True)\nq = fg.tensor([50.0], requires_grad=True)\n(p * q).backward()\nprint(p.grad, q.grad)",
        "tensor([50.]) tensor([100.])\n",
    ),
}


@pytest.mark.parametrize("name", CHAPTER)
def test_the_chapter(name, capsys):
    code, printed = CHAPTER[name]
    exec(code, {"fg": fg})
    assert capsys.readouterr().out == printed


TEXTS = [
    (lambda: fg.tensor([4.0, 6.0]), "tensor([4., 6.])"),
    (lambda: fg.tensor([4.0], requires_grad=True), "tensor([4.], requires_grad=True)"),
    (lambda: fg.tensor([2.0], requires_grad=True) ** 2, "tensor([4.], grad_fn=<PowBackward0>)"),
    (lambda: fg.tensor([0.5, 100.25]), "tensor([  0.5000, 100.2500])"),
    (lambda: fg.tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
    (lambda: fg.tensor([1.0], dtype=fg.float64), "tensor([1.], dtype=torch.float64)"),
    (lambda: fg.tensor([1, 2]), "tensor([1, 2])"),
    (lambda: fg.tensor([1], dtype=fg.int32), "tensor([1], dtype=torch.int32)"),
    (lambda: fg.tensor([True, False]), "tensor([ True, False])"),
    (lambda: fg.tensor(3.5), "tensor(3.5000)"),
    (lambda: fg.tensor([]), "tensor([])"),
    (lambda: fg.zeros(0, 3), "tensor([], size=(0, 3))"),
    (lambda: fg.tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
    (lambda: fg.tensor([math.nan, math.inf, 1.0]), "tensor([nan, inf, 1.])"),
    (lambda: fg.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    (lambda: fg.ones(1, 2, 2), "tensor([[[1., 1.],\n         [1., 1.]]])"),
]


@pytest.mark.parametrize("make, text", TEXTS)
def test_texts(make, text):
    assert repr(make()) == text == str(make())


def test_formats():
    assert f"{fg.tensor(2.345):.2f}" == "2.35" or f"{fg.tensor(2.345):.2f}" == "2.34"
    assert f"{fg.tensor([1.0])}" == "tensor([1.])"
    with pytest.raises(TypeError):
        f"{fg.ones(2):.2f}"


def test_print_options():
    fg.set_printoptions(precision=2)
    try:
        assert repr(fg.tensor([0.12345])) == "tensor([0.12])"
    finally:
        fg.set_printoptions(profile="default")
    assert repr(fg.tensor([0.12345])) == "tensor([0.1235])" or repr(fg.tensor([0.12345])) == "tensor([0.1234])"


def test_memory_is_shared_with_numpy():
    array = np.arange(6.0).reshape(2, 3)
    tensor = fg.from_numpy(array)
    array[0, 0] = 9.0
    assert tensor[0, 0].item() == 9.0
    tensor[1, 1] = -1.0
    assert array[1, 1] == -1.0
    back = tensor.t().numpy()
    assert back.shape == (3, 2) and np.shares_memory(back, array)
    del array, tensor
    assert back[0, 0] == 9.0
    view = np.arange(10.0)[::2]
    assert fg.from_numpy(view).stride() == (2,)
    assert np.asarray(fg.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(fg.ones(2, requires_grad=True))
    assert fg.ones(2, requires_grad=True).numpy(force=True).tolist() == [1.0, 1.0]


def test_arrays_and_numpy_numbers_mix():
    t = fg.tensor([1.0, 2.0])
    for mixed in (t + np.array([1.0, 1.0]), np.array([1.0, 1.0]) + t, np.float64(1.0) + t, t + np.float32(1.0)):
        assert isinstance(mixed, fg.Tensor) and mixed.tolist() == [2.0, 3.0]
    assert (t * np.int64(2)).tolist() == [2.0, 4.0]


BAD_ARRAYS = [
    (np.arange(3.0)[::-1], ValueError, "negative"),
    (np.array(["a"]), TypeError, "can't convert"),
    (np.array([1 + 2j]), TypeError, "can't convert"),
    ([1.0], TypeError, "expected np.ndarray"),
]


@pytest.mark.parametrize("array, error, message", BAD_ARRAYS)
def test_arrays_that_cannot_be_tensors(array, error, message):
    with pytest.raises(error, match=message):
        fg.from_numpy(array)


def test_read_only_memory_is_not_written():
    array = np.ones(3)
    array.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        fg.from_numpy(array).add_(1)


def test_python_protocols():
    t = fg.tensor([[1, 2], [3, 4]])
    assert len(t) == 2 and [r.tolist() for r in t] == [[1, 2], [3, 4]]
    assert float(fg.tensor(1.5)) == 1.5 and int(fg.tensor(2)) == 2 and bool(fg.tensor([1]))
    assert [10, 20, 30][fg.tensor(1)] == 20
    assert 3 in t and 9 not in t
    assert t.shape == (2, 2) and repr(t.shape) == "torch.Size([2, 2])" and t.shape.numel() == 4
    assert isinstance(t.item if False else t[0, 0].item(), int)
    assert hash(t) == hash(t) and t.T.tolist() == [[1, 3], [2, 4]]


ERRORS = {
    "broadcast": (lambda: fg.ones(2) + fg.ones(3), RuntimeError, r"\[2\] and \[3\]"),
    "inner sizes": (lambda: fg.ones(2, 3) @ fg.ones(4, 5), RuntimeError, r"matmul: the inner sizes must agree, got \[2, 3\] and \[4, 5\]"),
    "rank": (lambda: fg.ones(2) @ fg.tensor(1.0), RuntimeError, "at least 1D"),
    "shape": (lambda: fg.stack([fg.ones(1), fg.ones(2)]), RuntimeError, "same size"),
    "dim range": (lambda: fg.ones(2).sum(3), IndexError, r"range of \[-1, 0\], but got 3"),
    "dim repeated": (lambda: fg.ones(2, 2).sum((0, 0)), RuntimeError, "appears multiple times"),
    "index range": (lambda: fg.ones(2)[5], IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
    "tensor index range": (lambda: fg.ones(2)[[0, 7]], IndexError, "index 7"),
    "too many indices": (lambda: fg.ones(2)[0, 0], IndexError, "too many indices for tensor of dimension 1"),
    "float index": (lambda: fg.ones(2)[1.5], IndexError, "valid indices"),
    "float tensor index": (lambda: fg.ones(2)[fg.ones(1)], IndexError, "long, int, byte or bool"),
    "mask shape": (lambda: fg.ones(2)[fg.tensor([True])], (IndexError, RuntimeError), "mask"),
    "negative step": (lambda: fg.ones(2)[::-1], ValueError, "step"),
    "reshape": (lambda: fg.ones(6).reshape(4, 2), RuntimeError, "invalid for input of size 6"),
    "ambiguous reshape": (lambda: fg.ones(0).reshape(0, -1), RuntimeError, "ambiguous"),
    "view": (lambda: fg.ones(2, 3).t().view(6), RuntimeError, r"use .reshape"),
    "expand": (lambda: fg.ones(2).expand(3), RuntimeError, "must match the existing size"),
    "expand rank": (lambda: fg.ones(2, 2).expand(2), RuntimeError, "number of sizes"),
    "permute": (lambda: fg.ones(2, 2).permute(0), RuntimeError, "desired ordering"),
    "overflow": (lambda: fg.zeros(2**40, 2**40), RuntimeError, "product"),
    "negative size": (lambda: fg.zeros(-1), RuntimeError, "non-negative"),
    "dtype": (lambda: -fg.tensor([True]), RuntimeError, "truth values"),
    "unsupported dtype": (lambda: fg.ones(2, dtype=fg.complex64), RuntimeError, "complex64"),
    "dtype mismatch": (lambda: fg.ones(2, 2) @ fg.ones(2, 2, dtype=fg.float64), RuntimeError, "same dtype"),
    "result cast": (lambda: fg.tensor([1]).add_(1.5), RuntimeError, "can't be cast"),
    "in-place shape": (lambda: fg.ones(1).add_(fg.ones(3)), RuntimeError, "doesn't match the broadcast shape"),
    "overlap": (lambda: fg.ones(1).expand(3).add_(1), RuntimeError, "single memory location"),
    "division by zero": (lambda: fg.tensor([1]) // fg.tensor([0]), RuntimeError, "ZeroDivisionError"),
    "negative power": (lambda: fg.tensor([2]) ** -1, RuntimeError, "pow: integers to negative integer powers are not allowed, got the power -1"),
    "empty reduction": (lambda: fg.zeros(0).max(), (IndexError, RuntimeError), "numel"),
    "not scalar": (lambda: fg.ones(2).item(), RuntimeError, "2 elements cannot be converted to Scalar"),
    "ambiguous truth": (lambda: bool(fg.ones(2)), RuntimeError, r"bool: Boolean value of Tensor with more than one value is ambiguous, got shape \[2\]"),
    "range": (lambda: fg.arange(-3), RuntimeError, "arange: upper bound and lower bound inconsistent with step sign: from 0 to -3 by 1"),
    "data": (lambda: fg.tensor([1, 300], dtype=fg.uint8), RuntimeError, "tensor: value cannot be converted to type uint8 without overflow, got 300"),
    "NaN": (lambda: fg.ones(2).long().__setitem__(0, float("nan")), RuntimeError, "__setitem__: value .* int64 without overflow, got nan"),
    "memory format": (lambda: fg.ones(2).double(memory_format=5), TypeError, "double.*'memory_format' must be"),
    "argument": (lambda: fg.arange(0, 1, 0), RuntimeError, "nonzero"),
    "argument type": (lambda: fg.ones(2).sum("x"), TypeError, "sum"),
    "unknown keyword": (lambda: fg.ones(2).tanh(foo=1), TypeError, "foo"),
    "no tensor": (lambda: fg.tanh(3.0), TypeError, "must be Tensor, not float"),
    "signature": (lambda: fg.ones(2).clamp(), RuntimeError, "At least one of 'min' or 'max' must not be None"),
    "ragged": (lambda: fg.tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1"),
    "not a number": (lambda: fg.tensor("abc"), TypeError, "sequence of numbers|str"),
    "empty list": (lambda: fg.cat([]), (RuntimeError, ValueError), "non-empty"),
    "no gradient": (lambda: fg.ones(1).backward(), RuntimeError, "does not require grad and does not have a grad_fn"),
    "gradient count": (lambda: fg.autograd.backward([fg.ones(1, requires_grad=True)], [None, None]), RuntimeError, "1 tensors and 2 gradients"),
    "device": (lambda: fg.tensor([1.0], device="cuda"), AssertionError, "tensor.*: ferrograd computes on the CPU only"),
    "device of to": (lambda: fg.ones(2).to("foo"), RuntimeError, "to.*: Expected one of cpu"),
    "seed": (lambda: fg.manual_seed(2**70), ValueError, "64 bits"),
    "threads": (lambda: fg.set_num_threads(0), RuntimeError, "positive"),
    "memory": (lambda: fg.empty(2**58), fg.OutOfMemoryError, "cannot allocate"),
    "0-d length": (lambda: len(fg.tensor(1.0)), TypeError, "0-d"),
    "0-d iteration": (lambda: iter(fg.tensor(1.0)), TypeError, "0-d"),
    "float as index": (lambda: [1, 2][fg.tensor(1.0)], TypeError, "index"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_input(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        call()


def test_a_list_that_holds_itself():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested deeper"):
        fg.tensor(endless)


def test_functions_of_networks_are_loaded_when_named():
    program = "import ferrograd, sys; assert 'ferrograd.nn' not in sys.modules; print(ferrograd.nn.functional.relu(ferrograd.tensor([-1.0])).item())"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "0.0\n"
    program = "import ferrograd.nn.functional as F; print(F.relu.__name__, 'elu' in dir(F))"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "relu True\n"


def test_refused_writes_change_nothing():
    x = fg.ones(2)
    for write in (lambda: x.add_(fg.ones(3)), lambda: x.__setitem__(5, 1.0), lambda: x.__setitem__(slice(None), fg.ones(3))):
        with pytest.raises((RuntimeError, IndexError)):
            write()
    assert x.tolist() == [1.0, 1.0] and x._version == 0


DOCUMENTS = [p for p in [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))] if p.exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_documents_examples_run(path):
    text = path.read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    session = "\n".join(b for b in blocks if ">>>" in b)
    test = doctest.DocTestParser().get_doctest(session, {}, path.name, str(path), 0)
    runner = doctest.DocTestRunner(verbose=False)
    messages = []
    runner.run(test, out=messages.append)
    assert runner.failures == 0, "".join(messages)


def test_commands_of_the_documents_are_targets():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for path in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = path.read_text()
        named = set(re.findall(r"`make ([a-z-]+)`", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.M))
        assert named <= targets, path.name
    assert {"demo", "test", "help"} <= targets


def test_the_demonstrations_packages_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = re.search(r"^DEMO := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
    assert re.findall(r'"([^"]+)"', wanted) == project["optional-dependencies"]["demo"]


def test_the_package_docstring_runs():
    test = doctest.DocTestParser().get_doctest(fg.__doc__, {}, "ferrograd", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_numpy_is_not_imported_with_the_package():
    code = "import sys, ferrograd; ferrograd.ones(2) + 1; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}).returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_backward_in_a_forked_child():
    x = fg.ones(300, 300, requires_grad=True)
    (x @ x).sum().backward()
    child = os.fork()
    if child == 0:
        x.grad = None
        (x @ x).tanh().sum().backward()
        os._exit(0 if x.grad is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


BAD_OPTIONS = [
    ({"precision": -1}, ValueError, "precision must lie between 0"),
    ({"precision": 10**6}, ValueError, "precision must lie between 0"),
    ({"linewidth": "wide"}, TypeError, "linewidth must be int, not str"),
    ({"threshold": 1.5}, TypeError, "threshold must be int, not float"),
    ({"profile": "brief"}, ValueError, "profile must be 'default', 'short' or 'full', got 'brief'"),
]


@pytest.mark.parametrize("options, error, message", BAD_OPTIONS)
def test_print_options_that_are_none_change_nothing(options, error, message):
    with pytest.raises(error, match=message):
        fg.set_printoptions(edgeitems=7, **options)
    assert fg._tensor_str.get_printoptions()["edgeitems"] == 3
