"""Pooling: something of each window, found window by window."""

import itertools

import numpy as np
from references.convolution import each
from references.reductions import at


def count(size, kernel, stride, padding, dilation, ceil_mode):
    """How many windows there are; the last one begins within the image or the padding before it."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    n = (-(-room // stride) if ceil_mode else room // stride) + 1
    return n - 1 if ceil_mode and (n - 1) * stride >= size + padding else n


def spans(sizes, kernel_size, stride, padding=0, dilation=1, ceil_mode=False):
    """The places of each window in each dimension, also those outside."""
    n = len(sizes)
    stride = kernel_size if stride is None or np.ndim(stride) and not len(stride) else stride
    found = []
    for s, k, step, p, d in zip(sizes, *(each(v, n) for v in (kernel_size, stride, padding, dilation))):
        found.append([np.arange(k) * d + i * step - p for i in range(count(s, k, step, p, d, ceil_mode))])
    return found


def windows(x, found, function):
    """A function of each window: of the elements, as a last dimension, and of their numbers in the image."""
    n = len(found)
    sizes = x.shape[x.ndim - n :]
    numbers = np.arange(np.prod(sizes, dtype=int)).reshape(sizes)
    made = []
    for window in itertools.product(*found):
        inside = [w[(w >= 0) & (w < s)] for w, s in zip(window, sizes)]
        here = numbers[np.ix_(*inside)].ravel()
        made.append(function(x.reshape(*x.shape[: x.ndim - n], numbers.size)[..., here], here, window))
    shape = (*x.shape[: x.ndim - n], *(len(f) for f in found))
    if isinstance(made[0], tuple) if made else False:
        return tuple(np.stack(m, -1).reshape(shape) for m in zip(*made))
    return np.stack(made, -1).reshape(shape)


def greatest(part, numbers, window):
    """The first of the greatest elements, NaN before all, and its number."""
    values, places = at(lambda row: np.argmax(row), part, -1, False)
    return values, numbers[places]


def max_pool(n, indices):
    def call(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        found = windows(input, spans(input.shape[-n:], kernel_size, stride, padding, dilation, ceil_mode), greatest)
        return found if indices or return_indices else found[0]

    return call


def avg_pool(n):
    def call(self=None, kernel_size=None, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, input=None):
        x = self if input is None else input
        sizes = x.shape[-n:]

        def mean(part, numbers, window):
            # What is beyond the padding counts nothing.
            padded = [int((w < s + p).sum()) for w, s, p in zip(window, sizes, each(padding, n))]
            by = divisor_override or (np.prod(padded) if count_include_pad else part.shape[-1])
            total = part.sum(-1)
            return np.trunc(total / by).astype(x.dtype) if x.dtype.kind in "iu" else total / by

        return windows(x, spans(sizes, kernel_size, stride, padding, 1, ceil_mode), mean)

    return call


def lp_pool(n):
    """Means times the size of the window, also at the ends."""

    def call(input, norm_type, kernel_size, stride=None, ceil_mode=False):
        p, size = np.longdouble(norm_type), np.prod(each(kernel_size, n))
        means = avg_pool(n)(input**norm_type, kernel_size, stride, 0, ceil_mode)
        return (means * size) ** (1 / p)

    return call


def adaptive(sizes, output_size):
    """Windows that share the image, none of which is empty."""
    wanted = [s if o is None else o for s, o in zip(sizes, each(output_size, len(sizes)))]
    return [[np.arange(i * s // o, -(-(i + 1) * s // o)) for i in range(o)] for s, o in zip(sizes, wanted)]


def adaptive_avg(n):
    def call(output_size, self=None, input=None):
        x = self if input is None else input
        return windows(x, adaptive(x.shape[-n:], output_size), lambda part, *_: part.mean(-1))

    return call


def adaptive_max(n, indices):
    def call(output_size, return_indices=False, self=None, input=None):
        x = self if input is None else input
        found = windows(x, adaptive(x.shape[-n:], output_size), greatest)
        return found if indices or return_indices else found[0]

    return call


def fractional(n, indices):
    """Windows begin at `floor((i + u) a) - floor(u a)`, with `a` the quotient of the free lengths; the last at the end."""

    def call(input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        x = input if input.ndim == n + 2 else input[None]
        sizes, kernel = x.shape[-n:], each(kernel_size, n)
        wanted = each(output_size, n) if output_size is not None else [int(s * r) for s, r in zip(sizes, each(output_ratio, n))]
        made = np.zeros((*x.shape[:2], *wanted), x.dtype), np.zeros((*x.shape[:2], *wanted), int)
        for b, c in np.ndindex(x.shape[:2]):
            found = []
            for d, (s, k, o) in enumerate(zip(sizes, kernel, wanted)):
                # The samples of an image are for its width first, those of a volume for its depth.
                u = float(_random_samples[b, c, 1 - d if n == 2 else d])
                a = (s - k) / (o - 1) if o > 1 else 0
                starts = [int((i + u) * a) - int(u * a) for i in range(o - 1)] + [s - k]
                found.append([np.arange(start, start + k) for start in starts])
            made[0][b, c], made[1][b, c] = windows(x[b, c], found, greatest)
        made = made if input.ndim == n + 2 else (made[0][0], made[1][0])
        return made if indices or return_indices else made[0]

    return call


def max_unpool(n):
    def call(input, indices, kernel_size, stride=None, padding=0, output_size=None):
        stride = kernel_size if stride is None or np.ndim(stride) and not len(stride) else stride
        shape = [(s - 1) * step - 2 * p + k for s, step, p, k in zip(input.shape[-n:], each(stride, n), each(padding, n), each(kernel_size, n))]
        shape = shape if output_size is None else each(output_size, n)[-n:]
        made = np.zeros((*input.shape[:-n], np.prod(shape, dtype=int)), input.dtype)
        for i in np.ndindex(input.shape):
            made[(*i[:-n], indices[i])] = input[i]
        return made.reshape(*input.shape[:-n], *shape)

    return call


REFERENCE = {"adaptive_max_pool1d": adaptive_max(1, True)}
for _n in (1, 2, 3):
    REFERENCE |= {
        f"nn.adaptive_avg_pool{_n}d": adaptive_avg(_n),
        f"nn.adaptive_max_pool{_n}d": adaptive_max(_n, False),
        f"nn.adaptive_max_pool{_n}d_with_indices": adaptive_max(_n, True),
        f"nn.avg_pool{_n}d": avg_pool(_n),
        f"nn.lp_pool{_n}d": lp_pool(_n),
        f"nn.max_pool{_n}d": max_pool(_n, False),
        f"nn.max_pool{_n}d_with_indices": max_pool(_n, True),
        f"nn.max_unpool{_n}d": max_unpool(_n),
    }
for _n in (2, 3):
    REFERENCE |= {f"nn.fractional_max_pool{_n}d": fractional(_n, False), f"nn.fractional_max_pool{_n}d_with_indices": fractional(_n, True)}
