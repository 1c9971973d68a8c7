"""What a type checker makes of programs that use the package, where one is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("mypy")

PROGRAM = '''
import ferrograd as torch
from ferrograd import Tensor
from ferrograd.autograd import Function
from ferrograd.autograd.function import FunctionCtx


@torch.no_grad()
def a(x: Tensor, n: int) -> Tensor:
    return x * n


@torch.no_grad
def b(x: Tensor, n: int) -> Tensor:
    return x * n


@torch.enable_grad()
def c(x: Tensor) -> list[float]:
    return [float(x)]


@torch.set_grad_enabled(False)
def d(x: Tensor) -> Tensor:
    return x


@torch.inference_mode()
def e(x: Tensor) -> Tensor:
    return x


@torch.inference_mode
def f(x: Tensor) -> Tensor:
    return x


@torch.autograd.profiler.record_function("g")
def g(x: Tensor) -> Tensor:
    return x


class Square(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad


x = torch.ones(2, requires_grad=True)
reveal_type(a)
reveal_type(b)
reveal_type(c)
reveal_type(d)
reveal_type(e)
reveal_type(f)
reveal_type(g)
reveal_type(a(x, 1))
reveal_type(torch.autograd.grad(x.sum(), [x]))
reveal_type(torch.autograd.grad(x.sum(), {"x": x}))
Square.apply(x).sum().backward()
with torch.no_grad(), torch.enable_grad(), torch.set_grad_enabled(True), torch.inference_mode(False):
    reveal_type(x * 2)
'''

REVEALED = [
    "def (x: ferrograd.Tensor, n: int) -> ferrograd.Tensor",
    "def (x: ferrograd.Tensor, n: int) -> ferrograd.Tensor",
    "def (x: ferrograd.Tensor) -> list[float]",
    *["def (x: ferrograd.Tensor) -> ferrograd.Tensor"] * 4,
    "ferrograd.Tensor",
    "tuple[ferrograd.Tensor, ...]",
    "dict[str, ferrograd.Tensor]",
    "ferrograd.Tensor",
]


def test_strict_programs_have_types(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}", "--no-error-summary"]
    environment = {"MYPYPATH": str(ROOT / "python"), "PATH": ""}
    run = subprocess.run([sys.executable, "-m", "mypy", *options, program], capture_output=True, text=True, env=environment)
    found = [line.split(": ", 2)[2] for line in run.stdout.splitlines()]
    assert found == [f'Revealed type is "{told}"' for told in REVEALED]
