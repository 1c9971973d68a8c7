"""Workloads in torch's API, run on whichever module is named: `python workloads.py MODULE [--only NAME,...]` prints the
best seconds of a call as JSON. NumPy runs those without gradients; `jax` and `jax_jit` run them as JAX programs."""

import argparse
import importlib
import json
import math
import sys
import time


def best_seconds(call, least=0.4, repeats=5):
    """The best mean of several stretches of calls; the time of one where it is ten times what was asked for."""
    call()
    start = time.perf_counter()
    call()
    if (once := time.perf_counter() - start) > 10 * least:
        return once
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - start
        if took > least / repeats:
            break
        count = max(count * 2, int(count * least / repeats / max(took, 1e-9)) + 1)
    best = took / count
    for _ in range(repeats - 1):
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    return best


def forward_only(T):
    """Single operations without gradients, which NumPy has too."""
    ones = T.ones if T.__name__ != "numpy" else lambda *shape: T.ones(shape, dtype=T.float32)
    a, b = ones(1) * 2, ones(1) * 3
    x, m = ones(1_000_000), ones(256, 256)
    # The address of a large result is asked for: until something reads it, it may not have been computed.
    address = (lambda result: result.ctypes) if T.__name__ == "numpy" else (lambda result: result.data_ptr())
    return {
        "mul_no_grad": lambda: a * b,
        "add_1m": lambda: address(x + x),
        "exp_1m": lambda: address(T.exp(x)),
        "matmul_256_forward": lambda: m @ m,
    }


def chain(T, depth):
    """A chain of one number, forward, backward and freed."""
    x = T.tensor([2.0], requires_grad=True)

    def run():
        x.grad = None
        y = x
        for _ in range(depth):
            y = y * 1.00001
        y.backward()

    return run


def element_wise(T, n):
    """A chain of element-wise operations on `n` numbers, and their sum."""
    x = T.linspace(-2, 2, n).requires_grad_(True)

    def run():
        x.grad = None
        (T.sin(x) * T.exp(-x * x) + x * x * x).tanh().sum().backward()

    return run


def product(T, n):
    """A product of two square matrices, and its sum."""
    a, b = (T.linspace(-1, last, n * n).reshape(n, n).requires_grad_(True) for last in (1, 2))

    def run():
        a.grad = b.grad = None
        (a @ b).sum().backward()

    return run


def with_gradients(T):
    """Forward and backward."""
    rows = {}

    def grad(*leaves):
        for leaf in leaves:
            leaf.grad = None

    x, y = T.tensor([2.0], requires_grad=True), T.tensor([3.0])
    rows["mul_with_grad"] = lambda: x * y

    def power():
        grad(x)
        (x**2).backward()

    rows["square_backward"] = power

    rows["chain_100k"] = chain(T, 100_000)

    def training():
        w, b = T.tensor([0.5], requires_grad=True), T.tensor([0.1], requires_grad=True)
        xs, ys = T.tensor([1.0, 2.0, 3.0]), T.tensor([2.0, 4.0, 6.0])
        for _ in range(100):
            ((w * xs + b - ys) ** 2).mean().backward()
            w.data -= 0.01 * w.grad
            b.data -= 0.01 * b.grad
            w.grad.zero_()
            b.grad.zero_()

    rows["training_loop_100"] = training
    leaves = [T.tensor(float(i % 7) / 7 + 0.1, requires_grad=True) for i in range(100)]

    def scalars():
        total = leaves[0]
        for i in range(100):
            for j in range(33):
                total = (total + leaves[(i * j) % 100] * leaves[i]).tanh()
        total.backward()
        grad(*leaves)

    rows["scalar_graph_10k"] = scalars

    rows["element_wise_1k"], rows["element_wise_1m"] = element_wise(T, 1000), element_wise(T, 1_000_000)
    for n in (8, 64, 256, 1024):
        rows[f"matmul_{n}"] = product(T, n)

    def network(batch, inputs, hidden, classes):
        def init(*shape):
            return T.sin(T.linspace(-40, 40, math.prod(shape)).reshape(*shape)).mul(0.1).requires_grad_(True)

        weights = [init(inputs, hidden), T.zeros(hidden, requires_grad=True), init(hidden, classes), T.zeros(classes, requires_grad=True)]
        images, labels, rank = T.sin(T.linspace(-70, 70, batch * inputs).reshape(batch, inputs)), T.arange(batch) % classes, T.arange(batch)

        def run():
            scores = T.relu(images @ weights[0] + weights[1]) @ weights[2] + weights[3]
            loss = -(scores - T.logsumexp(scores, 1, keepdim=True))[rank, labels].mean()
            grad(*weights)
            loss.backward()
            with T.no_grad():
                for w in weights:
                    w -= 0.01 * w.grad

        return run

    rows["network_step_64"], rows["network_step_256"] = network(64, 64, 128, 10), network(256, 784, 512, 10)
    v = T.linspace(-1, 1, 1000, dtype=T.float64).requires_grad_(True)

    def hessian_vector():
        (g,) = T.autograd.grad((v**3 * T.sin(v)).sum(), v, create_graph=True)
        T.autograd.grad((g * 0.5).sum(), v)

    rows["hessian_vector_1k"] = hessian_vector
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=0.4)
    options = parser.parse_args()
    if options.module in ("jax", "jax_jit"):
        rows = importlib.import_module("jax_workloads").workloads(options.module)
    else:
        T = importlib.import_module(options.module)
        rows = forward_only(T) | (with_gradients(T) if options.module != "numpy" else {})
    wanted = [n for n in options.only.split(",") if n]
    found = {}
    for name, call in rows.items():
        if wanted and name not in wanted:
            continue
        try:
            found[name] = best_seconds(call, options.seconds)
        except Exception as error:  # noqa: BLE001 - a workload that fails is reported as such
            found[name] = f"{type(error).__name__}: {error}"
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
