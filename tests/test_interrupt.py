"""Ctrl-C ends what takes long within a second, whatever it is."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background process does not begin with
import ferrograd as fg
{setup}
print("ready", flush=True)
try:
    for _ in range({passes}):
        {work}
    print("too short", flush=True)
except KeyboardInterrupt:
    print("ended", flush=True)
{after}
x = fg.ones(3, requires_grad=True)
(x * x).sum().backward()
print(x.grad.tolist(), signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


def interrupted(setup, work, passes=1000, delay=0.3, after="", handled="True"):
    """Runs a program, sends the signal, and gives the time until it said that it ended."""
    text = PROGRAM.format(setup=textwrap.dedent(setup), work=work, passes=passes, after=textwrap.dedent(after))
    child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        answer = child.stdout.readline()
        late = time.monotonic() - began
        assert child.stdout.readline() == f"[2.0, 2.0, 2.0] {handled}\n"
        assert child.wait(timeout=60) == 0
        return answer, late
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


WORKS = {
    "product": ("x = fg.rand(8000, 8000)", "x @ x"),
    "backward": (
        "w = fg.rand(6000, 6000, requires_grad=True)\ny = (w.detach() @ w)\ng = fg.ones_like(y)",
        "y.backward(g, retain_graph=True)",
    ),
    "sort": ("x = fg.rand(5_000_000)", "x.sort()"),
    "distances": ("x = fg.rand(3000, 500)", "fg.cdist(x, x, p=3.0)"),
    "functions": ("x = fg.rand(10_000_000)", "x.lgamma().digamma().sum()"),
}


@pytest.mark.parametrize("name", WORKS)
def test_large_operations(name):
    setup, work = WORKS[name]
    answer, late = interrupted(setup, work)
    assert answer == "ended\n" and late < 1


def test_passes_within_passes():
    setup = """
        sys.setrecursionlimit(1_000_000)

        class Deep(fg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, grad):
                x = fg.ones(1, requires_grad=True)
                with fg.enable_grad():
                    y = Deep.apply(x)
                time.sleep(0.002)
                y.backward()
                return grad
    """
    answer, late = interrupted(setup, "Deep.apply(fg.ones(1, requires_grad=True)).backward()", 1, delay=1.0)
    assert answer == "ended\n" and late < 1


def test_a_handler_that_does_not_raise_ends_nothing():
    setup = """
        calls = []
        signal.signal(signal.SIGINT, lambda *_: calls.append(1))
        w = fg.full((1500, 1500), 1.0, requires_grad=True)
        y = (w @ w).sum()
    """
    after = """
        assert len(calls) == 1 and bool((w.grad == 20 * 3000).all())
    """
    answer, _ = interrupted(setup, "y.backward(retain_graph=True)", 20, after=after, handled="False")
    assert answer == "too short\n"


def test_a_handler_that_raises_something_else_is_called_after_the_operation():
    setup = """
        class Stop(KeyboardInterrupt):
            pass

        def stop(*_):
            raise Stop

        signal.signal(signal.SIGINT, stop)
        x = fg.rand(1500, 1500)
    """
    answer, _ = interrupted(setup, "x @ x", handled="False")
    assert answer == "ended\n"


def test_a_handler_may_use_what_an_operation_was_writing():
    setup = """
        seen = []
        x = fg.rand(5_000_000)
        signal.signal(signal.SIGINT, lambda *_: seen.append(x.sum().item()))
    """
    answer, _ = interrupted(setup, "x.lgamma_()", 20, after="assert len(seen) == 1", handled="False")
    assert answer == "too short\n"


def test_one_interrupt_ends_one_operation():
    setup = """
        x = fg.rand(10_000_000)
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            pass
        y = x.lgamma().sum().item()
    """
    answer, late = interrupted(setup, "x.lgamma().sum().item()", after="y = x.lgamma().sum().item()")
    assert answer == "ended\n" and late < 1


def test_a_change_in_place_that_was_ended_counts():
    setup = """
        x = fg.rand(20_000_000)
        before = x._version
    """
    answer, late = interrupted(setup, "x.lgamma_()", after="assert x._version > before")
    assert answer == "ended\n" and late < 1
