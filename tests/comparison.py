"""One call in both libraries: values, dtypes, shapes, gradients to second order, node names, errors."""

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

RTOL = {"torch.float32": 3e-6, "torch.float64": 1e-12, "torch.float16": 2e-3, "torch.bfloat16": 2e-2}


def flat(result):
    """The tensors of a result, whatever it is."""
    if hasattr(result, "dtype") and hasattr(result, "shape"):
        return [result]
    if isinstance(result, (list, tuple)):
        return [t for part in result for t in flat(part)]
    return [result]


def numbers(t):
    t = t.detach()
    if repr(t.dtype) in ("torch.float16", "torch.bfloat16"):
        t = t.to(fg.float32 if isinstance(t, fg.Tensor) else torch.float32)
    return t.numpy() if isinstance(t, fg.Tensor) else t.numpy(force=True)


def same(ours, theirs, scale=1.0, what="value"):
    """Type, dtype, shape and numbers of two results, to rounding where they are floats."""
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs
        return
    assert isinstance(ours, fg.Tensor), f"{what}: {type(ours)}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: shape {tuple(ours.shape)}, torch {tuple(theirs.shape)}"
    assert repr(ours.dtype) == repr(theirs.dtype), f"{what}: {ours.dtype}, torch {theirs.dtype}"
    rtol = RTOL.get(repr(theirs.dtype), 0) * scale
    np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=rtol, atol=rtol, equal_nan=True, err_msg=what)


def pair(value, grad):
    """The same argument in both libraries; arrays become tensors, and floats among them require a gradient."""
    if not isinstance(value, np.ndarray):
        return value, value
    ours, theirs = fg.from_numpy(value.copy()), torch.from_numpy(value.copy())
    if grad and value.dtype.kind == "f":
        ours, theirs = ours.requires_grad_(), theirs.requires_grad_()
    return ours, theirs


def upstream(results):
    rng = np.random.default_rng(11)
    return [rng.uniform(0.5, 2.0, size=tuple(r.shape)) for r in results]


def gradients(module, results, inputs, grads, create_graph):
    chosen = [(r, module.tensor(g, dtype=r.dtype)) for r, g in zip(results, grads) if r.requires_grad]
    return module.autograd.grad(
        [r for r, _ in chosen], inputs, [g for _, g in chosen], create_graph=create_graph, allow_unused=True
    )


def compare(call, *arguments, grad=True, second=True, names=True, scale=1.0):
    """Compares `call(module, *arguments)`. Where torch raises, the same class of error must come."""
    pairs = [pair(a, grad) for a in arguments]
    try:
        theirs = call(torch, *[p[1] for p in pairs])
    except Exception as error:
        kind = next(k for k in (NotImplementedError, IndexError, TypeError, ValueError, RuntimeError) if isinstance(error, k))
        with pytest.raises(kind):
            call(fg, *[p[0] for p in pairs])
        return
    ours = call(fg, *[p[0] for p in pairs])
    assert type(ours).__name__.strip("_") == type(theirs).__name__.strip("_")
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    for o, t in zip(ours, theirs):
        same(o, t, scale)
        if isinstance(t, torch.Tensor):
            assert o.requires_grad == t.requires_grad
            if names and t.grad_fn is not None:
                assert o.grad_fn.name() == t.grad_fn.name()
    inputs = [p for p in pairs if isinstance(p[0], fg.Tensor) and p[0].requires_grad]
    if not grad or not any(isinstance(t, torch.Tensor) and t.requires_grad for t in theirs):
        return
    grads = upstream(theirs)
    try:
        expected = gradients(torch, theirs, [p[1] for p in inputs], grads, second)
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            gradients(fg, ours, [p[0] for p in inputs], grads, second)
        return
    found = gradients(fg, ours, [p[0] for p in inputs], grads, second)
    compare_gradients(found, expected, 4 * scale, "gradient")
    plain = gradients(fg, flat(call(fg, *[p[0] for p in pairs])), [p[0] for p in inputs], grads, False)
    compare_gradients(plain, expected, 4 * scale, "gradient without a graph")
    both = [(f, e) for f, e in zip(found, expected) if e is not None and e.requires_grad]
    if not second or not both:
        return
    grads = upstream([e for _, e in both])
    expected = gradients(torch, [e for _, e in both], [p[1] for p in inputs], grads, False)
    found = gradients(fg, [f for f, _ in both], [p[0] for p in inputs], grads, False)
    compare_gradients(found, expected, 20 * scale, "second gradient")


def compare_gradients(found, expected, scale, what):
    for f, e in zip(found, expected):
        if e is None or f is None:
            # What is zero everywhere may be left out.
            zero = f if e is None else e
            assert zero is None or not np.any(numbers(zero)), what
        else:
            same(f, e, scale, what)


def array(shape, dtype="float64", seed=0, low=-3.0, high=3.0):
    """Numbers that are all different; bool and integers have ties."""
    rng = np.random.default_rng(seed + 7 * len(shape) + sum(shape))
    if dtype == "bool":
        return rng.integers(0, 2, size=shape).astype(bool)
    if dtype.startswith(("int", "uint")):
        return rng.integers(0 if dtype.startswith("u") else -4, 5, size=shape).astype(dtype)
    return np.asarray(rng.uniform(low, high, size=shape)).astype(dtype)


def ties(shape, dtype="float64", seed=0):
    """Numbers of which several are equal."""
    return np.asarray(np.random.default_rng(seed).integers(-2, 3, size=shape)).astype(dtype)


def specials(dtype="float64"):
    """What is not a number, infinities and zeros, in lines of which one is ordinary."""
    nan, inf = np.nan, np.inf
    return np.array([[1, nan, 2, nan], [inf, 1, -inf, 0], [0, -0.0, 0, 0], [-inf, -inf, -inf, -inf], [1, 2, 3, 4], [inf, inf, 1, 2], [nan, nan, nan, nan]], dtype=dtype)


SHAPES = [(), (1,), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 2), (0,), (0, 3), (3, 0)]
DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]
