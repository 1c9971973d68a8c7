"""The workloads as a JAX program has them: functions of the leaves, differentiated by `jax.value_and_grad`.

Each runs as it stands (`jax`) and compiled (`jax_jit`). Compiled, the two whose size is their number of Python operations
are left out: to compile 100,000 operations takes minutes.
"""

import math

import jax
import jax.numpy as jnp

NOT_COMPILED = {"chain_100k", "scalar_graph_10k"}


def forward_only(compiled):
    """Single operations without gradients."""
    a, b = jnp.full(1, 2.0), jnp.full(1, 3.0)
    x, m = jnp.ones(1_000_000), jnp.ones((256, 256))
    calls = {
        "mul_no_grad": (jnp.multiply, a, b),
        "add_1m": (jnp.add, x, x),
        "exp_1m": (jnp.exp, x),
        "matmul_256_forward": (jnp.matmul, m, m),
    }
    return {name: finished(compiled(f), *inputs) for name, (f, *inputs) in calls.items()}


def finished(f, *inputs):
    """A call that returns when its results are there: JAX computes in the background."""
    return lambda: jax.block_until_ready(f(*inputs))


def scalars(leaves):
    total = leaves[0]
    for i in range(100):
        for j in range(33):
            total = jnp.tanh(total + leaves[(i * j) % 100] * leaves[i])
    return total


def chain(z):
    for _ in range(100_000):
        z = z * 1.00001
    return z[0]


def element_wise(z):
    return jnp.tanh(jnp.sin(z) * jnp.exp(-z * z) + z * z * z).sum()


def training(compiled):
    """100 steps, each of them compiled where compilation is asked for, as JAX programs have it."""
    xs, ys = jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 4.0, 6.0])

    @compiled
    def step(w, b):
        dw, db = jax.grad(lambda w, b: ((w * xs + b - ys) ** 2).mean(), argnums=(0, 1))(w, b)
        return w - 0.01 * dw, b - 0.01 * db

    def run():
        w, b = jnp.array([0.5]), jnp.array([0.1])
        for _ in range(100):
            w, b = step(w, b)
        return w, b

    return finished(run)


def network(compiled, batch, inputs, hidden, classes):
    def init(*shape):
        return jnp.sin(jnp.linspace(-40, 40, math.prod(shape)).reshape(shape)) * 0.1

    images = jnp.sin(jnp.linspace(-70, 70, batch * inputs).reshape(batch, inputs))
    rank = jnp.arange(batch)
    labels = rank % classes

    def loss(weights):
        first, first_bias, second, second_bias = weights
        scores = jax.nn.relu(images @ first + first_bias) @ second + second_bias
        return -(scores - jax.nn.logsumexp(scores, 1, keepdims=True))[rank, labels].mean()

    @compiled
    def step(weights):
        return [w - 0.01 * g for w, g in zip(weights, jax.grad(loss)(weights))]

    weights = [init(inputs, hidden), jnp.zeros(hidden), init(hidden, classes), jnp.zeros(classes)]

    def run():
        weights[:] = step(weights)
        return weights

    return finished(run)


def with_gradients(compiled):
    """Forward and backward."""

    def both(f, *inputs):
        return finished(compiled(jax.value_and_grad(f, argnums=tuple(range(len(inputs))))), *inputs)

    x, y = jnp.array([2.0]), jnp.array([3.0])
    rows = {
        "mul_with_grad": finished(compiled(lambda x: jax.vjp(jnp.multiply, x, y)), x),
        "square_backward": both(lambda x: (x**2)[0], x),
        "chain_100k": both(chain, x),
        "training_loop_100": training(compiled),
        "scalar_graph_10k": both(scalars, [jnp.array(float(i % 7) / 7 + 0.1) for i in range(100)]),
        "element_wise_1k": both(element_wise, jnp.linspace(-2, 2, 1000)),
        "element_wise_1m": both(element_wise, jnp.linspace(-2, 2, 1_000_000)),
    }
    for n in (8, 64, 256, 1024):
        p, q = (jnp.linspace(-1, s, n * n).reshape(n, n) for s in (1, 2))
        rows[f"matmul_{n}"] = both(lambda p, q: (p @ q).sum(), p, q)
    rows["network_step_64"] = network(compiled, 64, 64, 128, 10)
    rows["network_step_256"] = network(compiled, 256, 784, 512, 10)
    with jax.enable_x64(True):
        v = jnp.linspace(-1, 1, 1000, dtype=jnp.float64)

    def hessian_vector(v):
        return jax.vjp(jax.grad(lambda v: (v**3 * jnp.sin(v)).sum()), v)[1](jnp.full_like(v, 0.5))

    compiled_hessian_vector = compiled(hessian_vector)

    def in_double():
        with jax.enable_x64(True):
            return compiled_hessian_vector(v)

    rows["hessian_vector_1k"] = finished(in_double)
    return rows


def workloads(module):
    """All of them by name, for `jax` or `jax_jit`."""
    compiled = jax.jit if module == "jax_jit" else lambda f: f
    rows = forward_only(compiled) | with_gradients(compiled)
    return {name: call for name, call in rows.items() if module == "jax" or name not in NOT_COMPILED}
