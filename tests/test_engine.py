"""The engine under load: shared graphs, threads, forks, passes within passes, interrupts, and the same bits always."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrograd as fg

MANY = 1_000_000


def leaf(*values):
    return fg.tensor(list(values), dtype=fg.float64, requires_grad=True)


def in_threads(count, work):
    """Runs `work(i)` in threads; raises what the first of them raised."""
    failures = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def run(program, **env):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_ladder_of_diamonds():
    x = leaf(1.0)
    y = x
    for _ in range(MANY // 2):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y
    gc.collect()


def test_nodes_shared_by_many():
    x = leaf(0.5)
    shared = x.exp()
    outs = [shared * float(i) for i in range(2000)]
    total = outs[0]
    for out in outs[1:]:
        total = total + out
    total.backward()
    expected = np.exp(0.5) * sum(range(2000))
    np.testing.assert_allclose(x.grad.numpy(), [expected], rtol=1e-13)


def test_a_chain_is_freed_in_pieces_and_from_any_end():
    x = leaf(1.0)
    nodes = [x]
    for _ in range(100_000):
        nodes.append(nodes[-1] * 1.0)
    middle = nodes[50_000]
    del nodes[25_000:]
    gc.collect()
    middle.backward()
    assert x.grad.tolist() == [1.0]


def test_eight_threads_share_nodes_and_leaves():
    x = leaf(*np.linspace(-1, 1, 64))
    trunk = (x * x).tanh()
    branches = [(trunk * float(i + 1)).sin().sum() for i in range(8)]
    alone = [fg.autograd.grad(b, x, retain_graph=True)[0].numpy().tobytes() for b in branches]

    def work(i):
        for _ in range(100):
            (found,) = fg.autograd.grad(branches[i], x, retain_graph=True)
            assert found.numpy().tobytes() == alone[i]
            branches[i].backward(retain_graph=True)

    in_threads(8, work)
    expected = sum(np.frombuffer(a) for a in alone) * 100
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-11)


def test_long_passes_of_eight_threads_on_one_chain():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    in_threads(8, lambda i: [y.backward(retain_graph=True) for _ in range(5)])
    assert x.grad.tolist() == [40.0]


def test_threads_that_free_what_others_walk_get_an_error_or_a_result():
    for _ in range(20):
        x = leaf(*np.linspace(0.1, 1, 600))
        y = x
        for _ in range(300):
            y = y.sin()
        done, refused = [], []

        def work(i):
            try:
                done.append(fg.autograd.grad(y.sum(), x)[0].numpy().tobytes())
            except RuntimeError as error:
                assert "second time" in str(error)
                refused.append(i)

        in_threads(4, work)
        assert len(done) <= 1 and len(done) + len(refused) == 4


def test_hooks_start_passes_a_thousand_deep():
    x = leaf(1.0)
    reached = []

    def descend(depth):
        y = x * 2

        def hook(_):
            reached.append(depth)
            if depth < 1000:
                with fg.enable_grad():
                    descend(depth + 1)

        y.register_hook(hook)
        y.backward()

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        descend(1)
    finally:
        sys.setrecursionlimit(limit)
    assert reached == list(range(1, 1001)) and x.grad.tolist() == [2000.0]


def test_functions_start_passes_a_thousand_deep_in_four_threads():
    class Down(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x, depth):
            ctx.depth = depth
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            if ctx.depth:
                with fg.enable_grad():
                    x = leaf(1.0)
                    Down.apply(x, ctx.depth - 1).backward()
                    return x.grad * grad, None
            return grad * 3, None

    def work(i):
        x = leaf(1.0)
        Down.apply(x, 1000).backward()
        assert x.grad.tolist() == [3.0]

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        in_threads(4, work)
    finally:
        sys.setrecursionlimit(limit)


def test_an_exception_among_large_branches_leaves_everything_usable():
    before = fg.get_num_threads()
    fg.set_num_threads(4)
    try:
        fg.manual_seed(0)
        x = fg.randn(200, 200, requires_grad=True)
        ws = [fg.randn(200, 200, requires_grad=True) for _ in range(8)]
        outs = [(x @ w).tanh() for w in ws]
        exps = [o.exp() for o in outs]
        total = sum((e @ x).sum() for e in exps)
        saved = exps[5].detach().clone()
        exps[5].data.mul_(1)
        with fg.no_grad():
            exps[5].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            total.backward()
        for t in [x, *ws, *outs, *exps]:
            assert np.isfinite((t.detach() + 1).numpy()).all()
            t.detach().mul_(1)
        np.testing.assert_array_equal(exps[5].detach().numpy(), (saved * 2).numpy())
        for t in [x, *ws]:
            t.grad = None
        sum((x @ w).tanh().sum() for w in ws).backward()
        assert all(t.grad is not None for t in [x, *ws])
    finally:
        fg.set_num_threads(before)


def test_an_exception_in_a_hook_ends_the_pass_and_the_next_one_runs():
    x = leaf(1.0)
    y = x * 2
    handle = y.register_hook(lambda g: 1 / 0)
    z = (y * 3).sum()
    with pytest.raises(ZeroDivisionError):
        z.backward(retain_graph=True)
    assert x.grad is None
    handle.remove()
    y.register_hook(lambda g: g * 10)
    (x * y.detach()).sum().backward()
    assert x.grad.tolist() == [2.0]


def test_second_derivatives_of_wide_graphs_have_the_same_bits_at_any_number_of_threads():
    """Recorded passes run side by side too: the order of what they record must not depend on it."""

    def gradients(threads, alone):
        fg.set_num_threads(threads)
        fg.manual_seed(1)
        x = fg.randn(160, 160, requires_grad=True)
        v = fg.randn(160, 160, requires_grad=True)
        with fg.autograd.set_multithreading_enabled(not alone):
            parts = [(x @ (x * (i + 0.3)).sin()) * (x + i).tanh() for i in range(6)]
            (g,) = fg.autograd.grad(sum(parts), x, v, create_graph=True)
            h, k = fg.autograd.grad((g * g).sum() * 1e-6 + g.sum(), (x, v), create_graph=True)
            (third,) = fg.autograd.grad((h * k).sum(), x)
        return [t.detach().numpy().tobytes() for t in (g, h, k, third)]

    before = fg.get_num_threads()
    try:
        expected = gradients(1, False)
        for threads in (1, 2, 3, 4, 8):
            for alone in (False, True):
                assert gradients(threads, alone) == expected
    finally:
        fg.set_num_threads(before)


def test_leaves_that_a_recorded_pass_meets_first_are_reached():
    v = [fg.ones(200, 200, requires_grad=True) for _ in range(4)]
    x = fg.ones(200, 200, requires_grad=True)
    outputs = [x * (n + 2.0) + x.sin() * x.cos() for n in range(4)]
    (g,) = fg.autograd.grad(outputs, x, v, create_graph=True)
    found = fg.autograd.grad(g.sum(), [x, *v])
    for n, t in enumerate(found[1:]):
        assert np.allclose(t.numpy(), n + 2.0 + np.cos(2.0))
    assert np.allclose(found[0].numpy(), 4 * -2 * np.sin(2.0), atol=1e-5)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


@needs_fork
def test_a_child_forked_amid_other_threads_differentiates_with_threads_of_its_own():
    out = run(
        """
        import os, threading, warnings
        warnings.simplefilter("ignore")
        import ferrograd as fg
        fg.set_num_threads(4)

        def step():
            x = fg.ones(200, 200, requires_grad=True)
            sum(((x @ x) * i).tanh().sum() for i in range(4)).backward()
            y = z = fg.ones(1, requires_grad=True)
            for _ in range(3000):
                z = (z * 1.0).sin()
            z.backward()
            return x.grad is not None and y.grad is not None

        step()
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                step()

        others = [threading.Thread(target=busy) for _ in range(3)]
        [t.start() for t in others]
        failed = 0
        for _ in range(20):
            child = os.fork()
            if child == 0:
                fine = [step()]
                mine = [threading.Thread(target=lambda: fine.append(step())) for _ in range(2)]
                [t.start() for t in mine]
                [t.join() for t in mine]
                os._exit(0 if fine == [True] * 3 else 1)
            failed += os.waitpid(child, 0)[1] != 0
        stop.set()
        [t.join() for t in others]
        print(failed)
        """
    )
    assert out.split() == ["0"]


@needs_fork
def test_a_child_does_not_wait_for_memory_that_a_thread_of_the_parent_had_locked():
    """Threads of the parent write and read the same large tensors, and accumulate into the same leaf, all the time."""
    out = run(
        """
        import os, signal, threading, warnings
        warnings.simplefilter("ignore")
        import ferrograd as fg
        fg.set_num_threads(2)
        w = fg.ones(300, 300, requires_grad=True)
        shared = fg.ones(1_000_000)

        def step():
            shared.mul_(1.0)
            total = shared.sum()
            (w @ w).tanh().sum().backward()
            return total.item() == 1_000_000 and w.grad is not None

        step()
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                step()

        others = [threading.Thread(target=busy) for _ in range(3)]
        [t.start() for t in others]
        failed = 0
        for _ in range(40):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                fine = all(step() for _ in range(2))
                os._exit(0 if fine else 1)
            failed += os.waitpid(child, 0)[1] != 0
        stop.set()
        [t.join() for t in others]
        print(failed)
        """
    )
    assert out.split() == ["0"]


@needs_fork
def test_a_child_forked_in_a_hook_goes_on_with_the_pass():
    out = run(
        """
        import os, warnings
        warnings.simplefilter("ignore")
        import ferrograd as fg
        x = fg.ones(100, 100, requires_grad=True)
        y = x * 2
        children = []

        def forks(grad):
            child = os.fork()
            if child:
                children.append(os.waitpid(child, 0)[1])
            else:
                with fg.enable_grad():
                    (x * x).sum().backward()
                children.append(None)

        y.register_hook(forks)
        (y @ y).sum().backward()
        fine = (x.grad[0, 0].item() == (802 if children == [None] else 800))
        if children == [None]:
            os._exit(0 if fine else 1)
        print(children, fine)
        """
    )
    assert out.split() == ["[0]", "True"]



LONG = {
    # One after another, each long enough to be asked in its midst.
    "chain": """
        y = x = fg.ones(1, requires_grad=True)
        for _ in range(500_000):
            y = y * 1.0
        passes = 1000
    """,
    # A single pass of some seconds, of large nodes in a row and side by side.
    "products": """
        y = x = fg.ones(512, 512, requires_grad=True)
        for _ in range(400):
            y = (y @ x) * 1e-3
        passes = 1
    """,
    "wide": """
        x = fg.ones(400, 400, requires_grad=True)
        y = sum((x @ (x * (1e-3 * i))).tanh() for i in range(400))
        passes = 1
    """,
}


@pytest.mark.skipif(os.name == "nt", reason="the system has no signals for processes")
@pytest.mark.parametrize("kind", LONG)
def test_an_interrupt_ends_a_long_pass_within_a_second(kind):
    program = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # which a background process does not begin with\n"
        "import ferrograd as fg\n"
        + textwrap.dedent(LONG[kind])
        + textwrap.dedent("""
            loss = y.sum()
            print("ready", flush=True)
            try:
                for _ in range(passes):
                    loss.backward(retain_graph=True)
                print("too short", flush=True)
            except KeyboardInterrupt:
                print("ended", flush=True)
            x.grad = None
            (x * 2).sum().backward()
            print(x.grad.sum().item() / x.numel(), flush=True)
        """)
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.2)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "ended\n"
        assert time.monotonic() - began < 1.0
        assert child.stdout.readline() == "2.0\n"
        assert child.wait(timeout=60) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


UNARY = [fg.sin, fg.tanh, fg.exp, fg.sigmoid, lambda a: a * a, lambda a: -a, lambda a: a[..., :1], lambda a: a.t()]
BINARY = [fg.add, fg.sub, fg.mul, lambda a, b: fg.maximum(a, b), lambda a, b: fg.where(a > 0, a, b)]

shapes = st.sampled_from([(7, 7), (1, 7), (7, 1), (130, 130), (130, 1)])
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(range(len(UNARY))), st.integers(0, 1000)),
        st.tuples(st.sampled_from(range(len(BINARY))), st.integers(0, 1000), st.integers(0, 1000)),
        st.tuples(st.just("matmul"), st.integers(0, 1000), st.integers(0, 1000)),
    ),
    min_size=3,
    max_size=25,
)


def build(leaves, program):
    """A graph whose operands are drawn from everything that is there so far."""
    values = list(leaves)
    for operation, first, *second in program:
        a = values[first % len(values)]
        if not second:
            values.append(UNARY[operation](a) * 0.5)
            continue
        b = values[second[0] % len(values)]
        if operation == "matmul":
            if a.shape[1] == b.shape[0]:
                values.append((a @ b) * 0.01)
        elif all(m == n or 1 in (m, n) for m, n in zip(a.shape, b.shape)):
            values.append(BINARY[operation](a, b) * 0.5)
    return sum((v * v).mean() for v in values[len(leaves) :])


def bits(program, drawn, threads, twice):
    before = fg.get_num_threads()
    fg.set_num_threads(threads)
    try:
        fg.manual_seed(3)
        leaves = [fg.randn(*shape, requires_grad=True) for shape in drawn]
        loss = build(leaves, program)
        if not isinstance(loss, fg.Tensor) or not loss.requires_grad:
            return None
        first = fg.autograd.grad(loss, leaves, create_graph=twice, allow_unused=True)
        if twice:
            again = sum((g * g).sum() for g in first if g is not None and g.requires_grad)
            if isinstance(again, fg.Tensor):
                first += fg.autograd.grad(again, leaves, allow_unused=True)
        return [None if g is None else g.detach().numpy().tobytes() for g in first]
    finally:
        fg.set_num_threads(before)


@settings(max_examples=60, deadline=None)
@given(program=steps, drawn=st.lists(shapes, min_size=2, max_size=4), twice=st.booleans())
def test_any_graph_has_the_same_bits_at_any_number_of_threads_and_every_time(program, drawn, twice):
    expected = bits(program, drawn, 1, twice)
    for threads in [1, 2, 3, 4, 8]:
        assert bits(program, drawn, threads, twice) == expected


def test_the_same_bits_from_process_to_process():
    program = """
        import hashlib
        import ferrograd as fg
        fg.manual_seed(5)
        ws = [fg.randn(150, 150, requires_grad=True) for _ in range(6)]
        x = fg.randn(150, 150)
        outs = [((x @ w).tanh() @ w).logsumexp(1) for w in ws]
        sum((o * outs[0]).sum() for o in outs).backward()
        print(hashlib.sha256(b"".join(w.grad.numpy().tobytes() for w in ws)).hexdigest())
    """
    found = {run(program, FERROGRAD_NUM_THREADS=str(n)) for n in (1, 2, 3, 4, 8, 8)}
    assert len(found) == 1


@needs_fork
def test_forked_processes_share_what_was_put_into_shared_memory():
    own, x = fg.zeros(3), fg.arange(6.0).reshape(2, 3).t()[1:]
    layout = x.stride(), x.storage_offset(), x.tolist()
    assert not x.is_shared() and x.share_memory_() is x and x.is_shared() and not own.is_shared()
    assert (x.stride(), x.storage_offset(), x.tolist()) == layout and x[0].is_shared()
    assert x.share_memory_().data_ptr() == x.data_ptr() and fg.zeros(0).share_memory_().is_shared()
    child = os.fork()
    if not child:
        own.fill_(7)
        x.fill_(7)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert x.tolist() == [[7.0, 7.0]] * 2 and own.tolist() == [0.0] * 3
    weight = fg.ones(2, requires_grad=True)
    assert weight.share_memory_().requires_grad and weight.is_leaf and (weight * 3).sum().backward() is None and weight.grad.tolist() == [3.0] * 2
