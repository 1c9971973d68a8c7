"""Normalisations."""

import numpy as np


def normalised(x, dims, eps):
    m = x.mean(dims, keepdims=True)
    v = ((x - m) ** 2).mean(dims, keepdims=True)
    return (x - m) / np.sqrt(v + np.longdouble(eps))


def scaled(x, weight, bias, dim=1):
    """Times the weight and plus the bias of each channel."""
    shape = [s if n == dim or x.ndim == 1 else 1 for n, s in enumerate(x.shape)]
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def by_running(x, mean, var, eps):
    return (x - scaled(x * 0, None, mean)) / np.sqrt(scaled(x * 0, None, var) + np.longdouble(eps))


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        y = normalised(input, tuple(d for d in range(input.ndim) if d != 1), eps)
    else:
        y = by_running(input, running_mean, running_var, eps)
    return scaled(y, weight, bias)


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5):
    if use_input_stats:
        y = normalised(input, tuple(range(2, input.ndim)), eps)
    else:
        y = by_running(input, running_mean, running_var, eps)
    return scaled(y, weight, bias)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    y = input.reshape(input.shape[0], num_groups, -1 if input.size else 0)
    return scaled(normalised(y, (2,), eps).reshape(input.shape), weight, bias)


def last(input, normalized_shape):
    return tuple(range(input.ndim - np.size(normalized_shape), input.ndim))


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    y = normalised(input, last(input, normalized_shape), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(input, normalized_shape, float_dtype, weight=None, eps=None):
    eps = np.finfo(float_dtype).eps if eps is None else eps
    y = input / np.sqrt((input**2).mean(last(input, normalized_shape), keepdims=True) + np.longdouble(eps))
    return y if weight is None else y * weight


def local_response_norm(input, size, alpha=0.0001, beta=0.75, k=1.0):
    """The mean over neighbouring channels, half of them before."""
    total = np.zeros(input.shape, input.dtype)
    for c in range(input.shape[1]):
        first = c - size // 2
        total[:, c] = (input[:, max(0, first) : max(0, first + size)] ** 2).sum(1)
    mean = total / size if input.dtype.kind == "f" else total // size
    return input / (k + np.longdouble(alpha) * mean) ** np.longdouble(beta)


def statistics(x, dims, eps, keepdims=False):
    """The mean and the inverse deviation."""
    return x.mean(dims, keepdims=keepdims), 1 / np.sqrt(x.var(dims, keepdims=keepdims) + np.longdouble(eps))


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    return layer_norm(input, normalized_shape, weight, bias, eps), *statistics(input, last(input, normalized_shape), eps, True)


def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    grouped = input.reshape(N, group, -1 if input.size else 0)
    return group_norm(input, group, weight, bias, eps), *statistics(grouped, 2, eps)


def native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    y = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    beside = tuple(d for d in range(input.ndim) if d != 1)
    return y, *(statistics(input, beside, eps) if training else (input[:0, 0].reshape(-1)[:0],) * 2)


REFERENCE = {
    "native_batch_norm": native_batch_norm,
    "native_group_norm": native_group_norm,
    "native_layer_norm": native_layer_norm,
    "nn.batch_norm": batch_norm,
    "nn.group_norm": group_norm,
    "nn.instance_norm": instance_norm,
    "nn.layer_norm": layer_norm,
    "nn.local_response_norm": local_response_norm,
    "nn.rms_norm": rms_norm,
}
