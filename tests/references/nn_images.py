"""Images in other sizes and seen from elsewhere."""

import math
from functools import partial

import numpy as np
from references.convolution import each
from references.nn_pool import adaptive, windows


def cubic(x, a=-0.75):
    """The cubic convolution kernel."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def tent(x):
    return max(0.0, 1 - abs(x))


def matrix(size, wanted, factor, mode, align_corners, antialias):
    """How much of each element of a dimension is in each of the result."""
    step = 1 / factor if factor else size / wanted
    m = np.zeros((wanted, size), np.longdouble)
    for i in range(wanted):
        if mode in ("nearest", "nearest-exact"):
            m[i, min(size - 1, int((i + (0.5 if mode != "nearest" else 0)) * step))] = 1
            continue
        kernel, reach = (cubic, 2) if mode == "bicubic" else (tent, 1)
        if align_corners:
            step = (size - 1) / (wanted - 1) if wanted > 1 else 0.0
            at = i * step
        else:
            at = (i + 0.5) * step - 0.5
        if antialias:
            # The kernel is as wide as a step, and what is outside counts nothing. Elements are always areas.
            at = (i + 0.5) * step - 0.5
            wide = max(step, 1.0)
            kernel = partial(cubic, a=-0.5) if mode == "bicubic" else tent
            for j in range(max(0, int(at + 0.5 - reach * wide + 0.5)), min(size, int(at + 0.5 + reach * wide + 0.5))):
                m[i, j] = kernel((j - at) / wide)
            m[i] /= m[i].sum()
            continue
        if mode != "bicubic":
            at = max(at, 0.0)
        for j in range(math.floor(at) - reach + 1, math.floor(at) + reach + 1):
            m[i, min(max(j, 0), size - 1)] += kernel(at - j)
    return m


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False):
    sizes = input.shape[2:]
    n = len(sizes)
    factors = [None] * n
    if size is None:
        factors = each(scale_factor, n)
        size = [int(s * f) for s, f in zip(sizes, factors)]
        factors = [None] * n if recompute_scale_factor else factors
    size = each(size, n)
    if mode == "area":
        return windows(input, adaptive(sizes, size), lambda part, *_: part.mean(-1))
    found = input
    for d in reversed(range(n)):
        m = matrix(sizes[d], size[d], factors[d], mode, align_corners, antialias)
        found = np.moveaxis(np.tensordot(m, found, (1, 2 + d)), 0, 2 + d)
        if input.dtype.kind in "iu":
            # Images of bytes are rounded after each dimension.
            found = np.clip(np.floor(found + 0.5), 0, 255)
    return found.astype(input.dtype) if input.dtype.kind in "iu" else found


def place_of(at, size, align_corners):
    """From a coordinate between -1 and 1 to the number of an element."""
    return (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2


def back(at, size, padding, align_corners):
    """What is outside brought back as the padding says."""
    if padding == "border":
        return min(max(at, 0), size - 1)
    if padding == "reflection":
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        if high == low:
            return 0
        at = abs(at - low)
        times, rest = divmod(at, high - low)
        at = low + rest if times % 2 == 0 else high - rest
        return min(max(at, 0), size - 1)
    return at


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    n = input.ndim - 2
    sizes = input.shape[2:]
    made = np.zeros((input.shape[0], input.shape[1], *grid.shape[1:-1]), input.dtype)
    for i in np.ndindex(grid.shape[:-1]):
        # The last coordinate is that of the first dimension.
        at = [place_of(grid[i][n - 1 - d], sizes[d], align_corners) for d in range(n)]
        if mode != "bicubic":
            at = [back(a, s, padding_mode, align_corners) for a, s in zip(at, sizes)]
        if mode == "nearest":
            near = [[(int(np.rint(a)), 1)] for a in at]
        else:
            kernel, reach = (cubic, 2) if mode == "bicubic" else (tent, 1)
            near = [[(j, kernel(a - j)) for j in range(math.floor(a) - reach + 1, math.floor(a) + reach + 1)] for a in at]
        for picks in np.ndindex(*map(len, near)):
            place, weight = zip(*(near[d][p] for d, p in enumerate(picks)))
            if mode == "bicubic":
                place = [int(back(p, s, padding_mode, align_corners)) for p, s in zip(place, sizes)]
            if all(0 <= p < s for p, s in zip(place, sizes)):
                made[(i[0], slice(None), *i[1:])] += np.prod(weight) * input[(i[0], slice(None), *place)]
    return made


def grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners):
    return grid_sample(
        input, grid, ["bilinear", "nearest", "bicubic"][interpolation_mode], ["zeros", "border", "reflection"][padding_mode], align_corners
    )


def affine_grid(theta, size, align_corners=None):
    axes = [np.linspace(np.longdouble(-1), 1, s) if align_corners and s > 1 else (2 * np.arange(s, dtype=np.longdouble) + 1) / s - 1 for s in size[2:]]
    axes = [np.zeros(1, np.longdouble) if align_corners and s == 1 else a for s, a in zip(size[2:], axes)]
    points = np.stack([*np.meshgrid(*axes, indexing="ij")][::-1] + [np.ones(size[2:], np.longdouble)], -1)
    return np.einsum("nij,...j->n...i", theta, points)


REFERENCE = {
    "nn.affine_grid": affine_grid,
    "nn.grid_sample": grid_sample,
    "grid_sampler": grid_sampler,
    "nn.interpolate": interpolate,
    "nn.upsample": interpolate,
    "nn.upsample_bilinear": lambda input, **named: interpolate(input, mode="bilinear", align_corners=True, **named),
    "nn.upsample_nearest": interpolate,
}
