"""The derivatives of element-wise operations on all of their branches: wherever there is a value, saturated and negative, far out
and near zero, against differences."""

import numpy as np
import pytest
from test_operations import DIFFERENTIABLE, POINTWISE, function, operands, takes_number

import ferrograd as fg

#: Elements of each operand.
POINTS = 600
STEP = 1e-5


def points(name):
    """Operands with POINTS elements: a half from where the operation is said to be drawn, the others from everywhere."""
    row, rng = POINTWISE[name], np.random.default_rng(17)
    everywhere = [rng.normal(size=POINTS // 4) * 3, rng.choice([-1, 1], POINTS // 4) * 10 ** rng.uniform(-3, 1.6, POINTS // 4)]
    made = []
    for n, bounds in enumerate(row["domain"]):
        if takes_number(row, n):
            made.append(float(rng.uniform(*bounds)))
            continue
        x = np.concatenate([rng.uniform(*bounds, POINTS // 2), *everywhere])
        # Each operand is at home beside others that are not, and the other way round.
        made.append(x if n == 0 else x[rng.permutation(POINTS)])
    return operands(name, made)


def difference(of, x):
    """The slope at each point, and where it is one: finite, and the same with half the step, as it is beside no kink and no jump."""
    step = STEP * np.maximum(np.abs(x), 1e-2)

    def slope(step):
        after, before = x + step, x - step
        return (of(after) - of(before)) / (after - before)

    with np.errstate(all="ignore"):
        whole, half = slope(step), slope(step / 2)
        # What rounding makes of the values is as large in the slope as they are against the step.
        noise = 1e-13 * np.abs(of(x)) / step
        is_slope = np.isfinite(whole) & np.isfinite(half) & (np.abs(whole - half) <= 1e-6 * np.abs(whole) + noise + 1e-9)
    return half, is_slope, noise


def check(gradient, of, x, enough):
    """Holds a gradient against the differences of a function."""
    slope, is_slope, noise = difference(of, x)
    assert is_slope.sum() >= enough, f"only {is_slope.sum()} of {len(x)} points have a slope"
    wrong = is_slope & ~(np.abs(gradient - slope) <= 1e-5 * np.abs(slope) + 10 * noise + 1e-8)
    assert not wrong.any(), (x[wrong][:5], gradient[wrong][:5], slope[wrong][:5])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_on_all_branches(name, order):
    given = points(name)
    moving = [n for n, a in enumerate(given) if isinstance(a, np.ndarray) and a.ndim and a.dtype == np.float64]
    weights = np.random.default_rng(5).uniform(0.5, 1.5, POINTS)

    def value(n, x):
        """The operation, or its first derivative by operand `n`, where that operand is `x`."""
        tensors = [fg.tensor(a) if isinstance(a, np.ndarray) else a for a in given[:n] + [x] + given[n + 1 :]]
        leaf = tensors[n].requires_grad_()
        y = function(name)(*tensors)
        if order == 2:
            (y,) = fg.autograd.grad(y, leaf, fg.tensor(weights), create_graph=True, materialize_grads=True)
        return leaf, y

    for n in moving:
        leaf, y = value(n, given[n])
        (gradient,) = fg.autograd.grad(y, leaf, fg.ones_like(y), allow_unused=True) if y.requires_grad else (None,)
        found = np.zeros(POINTS) if gradient is None else gradient.numpy()
        check(found, lambda x: value(n, x)[1].detach().numpy(), given[n], enough=POINTS // 4)
