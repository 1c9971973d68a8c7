"""Convolutions: sums over the places of a filter, written out."""

import numpy as np


def each(value, n):
    """One number for each of `n` dimensions."""
    value = np.atleast_1d(value).tolist()
    return value * n if len(value) == 1 else value


def padded(x, before, after):
    """Zeros around the last dimensions."""
    n = len(before)
    return np.pad(x, [(0, 0)] * (x.ndim - n) + list(zip(before, after)))


def conv(n):
    def call(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        x = input if input.ndim == n + 2 else input[None]
        stride, dilation = each(stride, n), each(dilation, n)
        kernel = weight.shape[2:]
        if isinstance(padding, str):
            total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel)]
        else:
            total = [2 * p for p in each(padding, n)]
        x = padded(x, [t // 2 for t in total], [t - t // 2 for t in total])
        sizes = [(s - d * (k - 1) - 1) // step + 1 for s, d, k, step in zip(x.shape[2:], dilation, kernel, stride)]
        filters = weight.reshape(groups, weight.shape[0] // max(groups, 1), *weight.shape[1:])
        x = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        made = np.zeros((x.shape[0], *filters.shape[:2], *sizes), np.result_type(x, weight))
        for k in np.ndindex(kernel):
            part = tuple(slice(a * d, a * d + (size - 1) * s + 1, s) if size else slice(0, 0) for a, d, size, s in zip(k, dilation, sizes, stride))
            made += np.einsum("bgi...,goi->bgo...", x[(..., *part)], filters[(..., *k)])
        return with_bias(made.reshape(x.shape[0], weight.shape[0], *sizes), bias, input, n)

    return call


def with_bias(made, bias, input, n):
    if bias is not None:
        made = made + bias.reshape(-1, *[1] * n)
    return made if input.ndim == n + 2 else made[0]


def conv_transpose(n):
    """Each element spreads over the places of the filter."""

    def call(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        x = input if input.ndim == n + 2 else input[None]
        stride, padding, dilation, more = (each(v, n) for v in (stride, padding, dilation, output_padding))
        kernel = weight.shape[2:]
        sizes = [(s - 1) * step + d * (k - 1) + 1 + m for s, step, d, k, m in zip(x.shape[2:], stride, dilation, kernel, more)]
        filters = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        y = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        made = np.zeros((x.shape[0], groups, weight.shape[1], *sizes), np.result_type(x, weight))
        for k in np.ndindex(kernel):
            part = tuple(slice(a * d, a * d + (s - 1) * step + 1, step) for a, d, s, step in zip(k, dilation, x.shape[2:], stride))
            made[(..., *part)] += np.einsum("bgi...,gio->bgo...", y, filters[(..., *k)])
        inside = tuple(slice(p, size - p) for p, size in zip(padding, sizes))
        made = made.reshape(x.shape[0], groups * weight.shape[1], *sizes)[(..., *inside)]
        return with_bias(made, bias, input, n)

    return call


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    n = weight.ndim - 2
    if transposed:
        return conv_transpose(n)(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(n)(input, weight, bias, stride, padding, dilation, groups)


def conv_tbc(self, weight, bias, pad=0):
    return conv(1)(self.transpose(1, 2, 0), weight.transpose(2, 1, 0), bias, padding=pad).transpose(2, 0, 1)


def columns(sizes, kernel_size, dilation, padding, stride):
    """For each place of the kernel and each window the row and the column of an image with its padding."""
    kernel, dilation, padding, stride = (each(v, 2) for v in (kernel_size, dilation, padding, stride))
    counts = [(s + 2 * p - d * (k - 1) - 1) // step + 1 for s, p, d, k, step in zip(sizes, padding, dilation, kernel, stride)]
    axis = [np.arange(k)[:, None] * d + np.arange(c) * s for k, d, c, s in zip(kernel, dilation, counts, stride)]
    rows = np.broadcast_to(axis[0][:, None, :, None], (kernel[0], kernel[1], *counts)).reshape(kernel[0] * kernel[1], -1)
    cols = np.broadcast_to(axis[1][None, :, None, :], (kernel[0], kernel[1], *counts)).reshape(kernel[0] * kernel[1], -1)
    return rows, cols, padding


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    rows, cols, pad = columns(input.shape[-2:], kernel_size, dilation, padding, stride)
    found = padded(input, pad, pad)[..., rows, cols]
    return found.reshape(*input.shape[:-3], input.shape[-3] * len(rows), rows.shape[1])


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    size = each(output_size, 2)
    rows, cols, pad = columns(size, kernel_size, dilation, padding, stride)
    y = input.reshape(*input.shape[:-2], input.shape[-2] // len(rows), *rows.shape)
    made = np.zeros((*y.shape[:-2], size[0] + 2 * pad[0], size[1] + 2 * pad[1]), input.dtype)
    for i in np.ndindex(rows.shape):
        made[..., rows[i], cols[i]] += y[(..., *i)]
    return made[..., pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]]


REFERENCE = {
    **{f"nn.conv{n}d": conv(n) for n in (1, 2, 3)},
    **{f"nn.conv_transpose{n}d": conv_transpose(n) for n in (1, 2, 3)},
    "convolution": convolution,
    "nn.conv_tbc": conv_tbc,
    "nn.fold": fold,
    "nn.unfold": unfold,
}
