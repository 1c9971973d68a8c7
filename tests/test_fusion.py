"""Element-wise operations that wait: nothing but their speed may tell them from operations that do not."""

import doctest
import operator
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrograd as fg
from ferrograd import _ferrograd, config


@pytest.fixture(autouse=True)
def waiting():
    """All but single elements wait."""
    before = config.fusion_elements()
    config.set_fusion(True, 2)
    yield
    config.set_fusion(before is not None, before or 2)


def waits(t):
    return _ferrograd._is_pending(t)


def test_operations_wait_until_somebody_looks():
    x = fg.tensor([0.5, 1.0, 2.0])
    y = (x.sin() * x + 1).tanh()
    assert waits(y)
    assert y.shape == (3,) and y.dtype == fg.float32 and waits(y)
    np.testing.assert_allclose(y.numpy(), np.tanh(np.sin(x.numpy()) * x.numpy() + 1), rtol=1e-6)
    assert not waits(y)


def test_errors_are_raised_at_the_call():
    with pytest.raises(RuntimeError):
        fg.ones(3) + fg.ones(4)
    with pytest.raises(RuntimeError):
        fg.tensor([True, False]) - fg.tensor([1.0, 2.0]).bool()


@pytest.mark.parametrize("write", ["x.add_(1)", "x.zero_()", "x[1] = 9", "x.copy_(x * 2)", "x[1:].mul_(3)", "x.data.fill_(2)"])
def test_writes_leave_the_old_values_to_those_that_wait(write):
    x = fg.tensor([1.0, 2.0, 3.0])
    y = x * 2
    z = y + x
    exec(write)
    assert waits(fg.ones(3) * 2)
    assert z.tolist() == [3.0, 6.0, 9.0]
    assert y.tolist() == [2.0, 4.0, 6.0]


def test_writes_to_what_waits():
    x = fg.tensor([1.0, 2.0, 3.0])
    y = x * 2
    z = y + 1
    y += 10
    assert z.tolist() == [3.0, 5.0, 7.0]
    assert y.tolist() == [12.0, 14.0, 16.0]


def test_updates_in_place_run_with_what_waits():
    p, g = fg.tensor([1.0, 2.0, 3.0]), fg.tensor([10.0, 20.0, 30.0])
    step = g * 0.1
    p -= step
    assert waits(step)
    assert p.tolist() == [0.0, 0.0, 0.0]
    q = fg.tensor([[1.0, 2.0], [3.0, 4.0]])
    q += q.t() * 1.0
    assert q.tolist() == [[2.0, 5.0], [5.0, 8.0]]
    r = fg.tensor([1.0, 2.0])
    r.mul_(r * 2 + 1)
    assert r.tolist() == [3.0, 10.0]


def test_views_of_what_waits_share_its_memory():
    y = fg.tensor([[1.0, 2.0], [3.0, 4.0]]) * 2
    row, turned = y[0], y.t()
    assert waits(y)
    row.fill_(7)
    assert y.tolist() == [[7.0, 7.0], [6.0, 8.0]]
    assert (turned + 1).tolist() == [[8.0, 7.0], [8.0, 9.0]]


def test_memory_that_numpy_can_write_is_read_at_once():
    array = np.ones(3, dtype=np.float32)
    shared = fg.from_numpy(array)
    y = shared * 2
    assert not waits(y)
    array[:] = 5
    assert y.tolist() == [2.0, 2.0, 2.0]
    x = fg.ones(3)
    before = x + 1
    seen = x.numpy()
    assert not waits(before) and not waits(x + 1)
    seen[:] = 8
    assert before.tolist() == [2.0, 2.0, 2.0]
    assert (x + 1).tolist() == [9.0, 9.0, 9.0]


def test_masks_wait_too():
    x = fg.tensor([-1.0, 0.0, 2.0])
    mask = x > 0
    y = fg.where(mask, x * 3, -x)
    assert waits(mask) and waits(y)
    assert y.tolist() == [1.0, 0.0, 6.0] and mask.tolist() == [False, False, True]


def test_a_value_with_many_readers():
    x = fg.tensor([0.25, 0.5])
    y = x.exp()
    readers = [(y * k).tolist() for k in range(1, 6)]
    for k, found in enumerate(readers, 1):
        np.testing.assert_allclose(found, np.exp([0.25, 0.5]) * k, rtol=1e-6)


def test_signed_zeros_are_different_numbers():
    x = fg.tensor([1.0, -1.0])
    y = (x * 0.0) / (x * -0.0 + 1) + fg.tensor([-0.0, -0.0])
    z = fg.where(x > 0, 0.0, -0.0)
    assert np.signbit(z.numpy()).tolist() == [False, True]
    assert y.tolist() == [0.0, 0.0]


def test_backward_of_values_that_wait():
    x = fg.tensor([0.5, -1.5, 2.0], dtype=fg.float64, requires_grad=True)
    function = lambda x: ((x.sin() * (-x * x).exp() + x * x * x).tanh() * fg.tensor([1.0, 2.0, 3.0], dtype=fg.float64)).sum()
    function(x).backward()
    waited = x.grad.tolist()
    config.set_fusion(False)
    x.grad = None
    function(x).backward()
    assert x.grad.tolist() == waited
    config.set_fusion(True, 2)
    assert fg.autograd.gradcheck(function, x) and fg.autograd.gradgradcheck(function, x)


def test_saved_values_are_checked():
    x = fg.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    z = y * 2
    w = z.sum() + y.sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        w.backward()


def test_threads_share_what_waits():
    x = fg.linspace(-1, 1, 100_000)
    y = (x * 2).tanh() + x
    found = [None] * 8

    def look(i):
        found[i] = (y * 1.0).sum().item()

    threads = [threading.Thread(target=look, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(set(found)) == 1


UNARY = ["sin", "cos", "tanh", "exp", "neg", "abs", "sigmoid", "relu", "square"]
BINARY = ["add", "sub", "mul", "maximum", "minimum"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_programs_have_the_same_bits(data):
    """Programs of operations, broadcasts, views and writes, with fusion and without."""
    steps = data.draw(
        st.lists(
            st.tuples(st.sampled_from(UNARY + BINARY + ["view", "write"]), st.integers(0, 9), st.integers(0, 9)),
            min_size=3,
            max_size=30,
        )
    )

    def run():
        leaf = fg.tensor([[0.3, -0.7, 1.1], [0.9, 0.2, -1.3]], requires_grad=True)
        values = [leaf * 1.0, fg.tensor([0.5, -0.25, 0.75]) * 1.0]
        for name, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if name in UNARY:
                values.append(getattr(a, name)() * 0.5)
            elif name in BINARY:
                values.append(getattr(a, name)(b))
            elif name == "view":
                values.append(a.reshape(-1)[:3] if a.dim() == 2 else a.expand(2, 3))
            else:
                target = a.detach().clone()
                values.append(target.mul_(0.5))
        total = sum(((v * v).sum() for v in values), fg.tensor(0.0))
        total.backward()
        return [v.tolist() for v in values], leaf.grad.tolist()

    config.set_fusion(True, 2)
    waited = run()
    config.set_fusion(False)
    np.testing.assert_equal(run(), waited)


def test_the_settings_module():
    config.set_fusion(True)
    assert doctest.testmod(config).failed == 0
    with pytest.raises(ValueError, match="at least 2"):
        config.set_fusion(True, 1)


@pytest.mark.parametrize("dims", [(), (0,), (1,), (2,), (0, 2), (1, 2), (0, 1)])
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_reductions_read_what_waits_without_keeping_it(name, dims):
    shape = (3, 70, 45)
    x = fg.linspace(-1.0, 1.0, 3 * 70 * 45).reshape(shape)
    bias = fg.linspace(0.9, 1.1, 45)
    y = (x * 0.5).cos() * bias + 0.01
    found = getattr(y, name)(dims)
    assert waits(y)
    kept = y.clone()
    assert not waits(kept)
    assert found.tolist() == getattr(kept, name)(dims).tolist()


def test_a_reduction_keeps_what_somebody_else_needs():
    x = fg.linspace(-1.0, 1.0, 5000).requires_grad_()
    y = x.tanh()
    y.sum().backward()
    assert not waits(y)
    np.testing.assert_allclose(x.grad.numpy(), 1 - np.tanh(x.detach().numpy()) ** 2, rtol=1e-5)


def test_reductions_of_views_of_what_waits():
    x = fg.linspace(-1.0, 1.0, 6000).reshape(60, 100)
    for view in (lambda y: y.t(), lambda y: y[1:], lambda y: y[:, ::2], lambda y: y.reshape(100, 60), lambda y: y[None]):
        y = x * 2 + 1
        expected = view(fg.tensor(y.clone().tolist())).clone()
        y = x * 2 + 1
        assert view(y).sum(-1).tolist() == expected.sum(-1).tolist()
        assert view(x * 2 + 1).sum(0).shape == expected.sum(0).shape


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_what_waits_in_another_order_is_joined_in_its_own(order):
    """Halves of one index along the last dimension lie row by row in other orders too."""
    x = fg.arange(8.0, dtype=fg.float64).reshape(2, 2, 2).permute(order).requires_grad_()
    weights = fg.linspace(1, 2, 4, dtype=fg.float64).reshape(2, 2, 1)
    a, b = x.detach().numpy()[..., :1], x.detach().numpy()[..., 1:]
    (fg.nn.functional.glu(x) * weights).sum().backward()
    s = 1 / (1 + np.exp(-b))
    expected = np.concatenate([s, a * s * (1 - s)], -1) * weights.numpy()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)
    np.testing.assert_array_equal(fg.cat([x * 2, x * 3], 1).detach(), np.concatenate([x.detach() * 2, x.detach() * 3], 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_results_beyond_the_caches_have_the_bits_of_small_ones(dtype):
    """Large results go around the caches: to memory of any alignment, but for those that replace what they were made of."""
    n = 8_400_003 if dtype == "float32" else 4_200_003
    x = (fg.arange(n) % 1013 + 1).to(getattr(fg, dtype))
    y = (fg.arange(n) % 517 - 200).to(getattr(fg, dtype))
    for call in (lambda a, b: a * b + a, lambda a, b: a + b, lambda a, b: a.clone().mul_(b), lambda a, b: fg.add(a, b, out=fg.empty(a.numel() + 1, dtype=a.dtype)[1:])):
        whole = call(x, y).numpy()
        parts = [call(x[i : i + 100_000], y[i : i + 100_000]).numpy() for i in range(0, n, 100_000)]
        assert whole.tobytes() == np.concatenate(parts).tobytes()


ARITHMETIC = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b]
JOINED = (
    [lambda a, b, c, d, f=f, g=g: g(f(a, b), c) for f in ARITHMETIC for g in ARITHMETIC]
    + [lambda a, b, c, d, f=f, g=g: g(c, f(a, b)) for f in ARITHMETIC for g in ARITHMETIC]
    + [lambda a, b, c, d, g=g: g(a * b, c * d) for g in ARITHMETIC]
    + [lambda a, b, c, d, f=f: f(a, b).maximum(c).minimum(d) for f in ARITHMETIC]
    + [lambda a, b, c, d: fg.where(a < b, c, d), lambda a, b, c, d: fg.where(a <= b, a, d), lambda a, b, c, d: fg.where(a == c, c, b)]
    + [lambda a, b, c, d: a.sin() * b + a.cos() * c, lambda a, b, c, d: a.cos() - a.sin(), lambda a, b, c, d: (a * 1e7).cos() + (a * 1e7).sin()]
    + [lambda a, b, c, d: (-a) * b + (-c) * (-d) - (-(-a)), lambda a, b, c, d: (-a) + b - (-c), lambda a, b, c, d: a + (-b) * d]
)


@pytest.mark.parametrize("dtype", [fg.float32, fg.float64])
@pytest.mark.parametrize("case", range(len(JOINED)))
def test_steps_in_one_loop_give_the_bits_of_steps_alone(case, dtype):
    """Steps are joined, negations move and sines come with cosines; rows and columns are broadcast, blocks end in between."""
    n = fg.arange(3 * 700).reshape(3, 700)
    a = ((n % 1013 - 500) / 250).to(dtype)
    a[0, :4] = fg.tensor([0.0, -0.0, float("nan"), float("inf")], dtype=dtype)
    operands = [a, a.flip(1)[0], a.flip(0)[:, 5:6], a.flip([0, 1])]

    def run():
        y = JOINED[case](*operands)
        return waits(y), y.numpy(), JOINED[case](*operands).sum(1).numpy()

    config.set_fusion(True, 2)
    waited, *found = run()
    config.set_fusion(False)
    alone, *expected = run()
    assert waited and not alone
    for f, e in zip(found, expected):
        same = (f == e) & (np.signbit(f) == np.signbit(e)) | (f != f) & (e != e)
        assert same.all() and f.dtype == e.dtype


def test_updates_in_place_read_their_target_anywhere():
    """The target may be any argument of joined steps."""
    for update in (lambda p, g: p.add_(g, alpha=-0.1), lambda p, g: p.mul_(0.9).add_(g), lambda p, g: p.copy_(g - p * 0.5), lambda p, g: p.copy_(p * g + g * p)):
        found = []
        for fused in (True, False):
            config.set_fusion(fused, 2 if fused else None)
            p, g = fg.linspace(-1, 1, 3000), fg.linspace(2, -3, 3000)
            update(p, g * 1.5)
            found.append(p.numpy().tobytes())
        assert found[0] == found[1]


@pytest.mark.parametrize("shape", [(3, 40), (50, 33), (7, 5, 64), (2, 3, 4, 70), (400, 130)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_numbers_of_rows(shape, dtype):
    """Operands that are one number along the innermost dimension, on either side, beside arrays, numbers and each other."""
    rng = np.random.default_rng(len(shape))
    made = lambda *sizes: rng.integers(-4, 5, size=sizes).astype(dtype)  # noqa: E731
    x, row, column = made(*shape), made(shape[-1]), made(*shape[:-1], 1)
    outer = made(shape[0], *[1] * (len(shape) - 1))
    formulas = [
        lambda x, row, column, outer, f: x + column,
        lambda x, row, column, outer, f: column - x,
        lambda x, row, column, outer, f: column * row,
        lambda x, row, column, outer, f: (x - column) * outer + row,
        lambda x, row, column, outer, f: column * 2 - x,
        lambda x, row, column, outer, f: (column + outer) * x,
        lambda x, row, column, outer, f: x * column + column,
        lambda x, row, column, outer, f: f.maximum(f.minimum(x, column), outer),
        lambda x, row, column, outer, f: (x <= column) == (row < outer),
        lambda x, row, column, outer, f: x[..., ::2] + column,
        lambda x, row, column, outer, f: (x * column)[..., 3:] * outer,
    ]
    for formula in formulas:
        expected = formula(x, row, column, outer, np)
        found = formula(*(fg.from_numpy(a) for a in (x, row, column, outer)), fg)
        assert found.dtype == fg.from_numpy(expected).dtype and np.array_equal(found.numpy(), expected)
    for name in ("add_", "sub_", "mul_"):
        target = fg.from_numpy(x.copy())
        getattr(target, name)(fg.from_numpy(column))
        expected = {"add_": x + column, "sub_": x - column, "mul_": x * column}[name]
        assert np.array_equal(target.numpy(), expected)


STEPS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@pytest.mark.parametrize("inner", STEPS)
@pytest.mark.parametrize("outer", STEPS)
def test_numbers_of_rows_in_steps_that_are_joined(inner, outer):
    """One operand of two steps is a number for each row, or for all; the result goes to new memory or to that of an operand."""
    inner, outer = STEPS[inner], STEPS[outer]
    generator = np.random.default_rng(4)
    arrays = [generator.standard_normal((301, 203)).astype("float32") for _ in range(3)]
    number = [generator.standard_normal((301, 1)).astype("float32"), np.float32(0.7)]
    for place in range(3):
        for one in number:
            x, y, z = (one if n == place else array for n, array in enumerate(arrays))
            for form in (lambda f, g, x, y, z: g(f(x, y), z), lambda f, g, x, y, z: g(x, f(y, z))):
                expected = form(inner, outer, x, y, z)
                ours = [fg.from_numpy(v.copy()) if isinstance(v, np.ndarray) else float(v) for v in (x, y, z)]
                np.testing.assert_array_equal(form(inner, outer, *ours).numpy(), expected)
                for n, target in enumerate(ours):
                    if isinstance(target, fg.Tensor) and target.shape == (301, 203):
                        copies = [v.clone() if isinstance(v, fg.Tensor) else v for v in ours]
                        copies[n].copy_(form(inner, outer, *copies))
                        np.testing.assert_array_equal(copies[n].numpy(), expected)
