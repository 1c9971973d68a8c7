"""Functions of neural networks."""

import math

import numpy as np

import ferrograd as fg
import ferrograd.nn.functional as F

_erf = np.vectorize(math.erf, otypes=[float])


def _below(x, value, bound=0.0):
    """`x` above the bound, else the value, in the dtype of `x`."""
    return np.where(x > bound, x, value).astype(x.dtype)


def _ramp(x):
    return np.clip(x + 3, 0, 6)


NUMPY = {
    "nn.silu": lambda x: x / (1 + np.exp(-x)),
    "nn.mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "nn.gelu": lambda x: (x / 2 * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype),
    "nn.softplus": lambda x, beta, threshold: _below(x, np.log1p(np.exp(x * beta)) / beta, threshold / beta),
    "nn.logsigmoid": lambda x: -np.log1p(np.exp(-x)),
    "nn.elu": lambda x, alpha: _below(x, alpha * np.expm1(x)),
    "nn.celu": lambda x, alpha: _below(x, alpha * np.expm1(x / alpha)),
    "nn.selu": lambda x: _below(x, 1.6732632423543772 * np.expm1(x)) * x.dtype.type(1.0507009873554805),
    "nn.hardtanh": lambda x, low, high: np.clip(x, low, high).astype(x.dtype),
    "nn.leaky_relu": lambda x, slope: _below(x, x * slope),
    "_prelu_kernel": lambda x, slope: np.where(x > 0, x, x * slope),
    "nn.threshold": lambda x, threshold, value: _below(x, value, threshold),
    "hardshrink": lambda x, bound: np.where(np.abs(x) > bound, x, 0).astype(x.dtype),
    "nn.softshrink": lambda x, bound: (np.sign(x) * np.maximum(np.abs(x) - bound, 0)).astype(x.dtype),
    "nn.hardsigmoid": lambda x: _ramp(x) / 6,
    "nn.hardswish": lambda x: x * _ramp(x) / 6,
}
FUNCTIONS = {
    "nn.relu": F.relu,
    "nn.relu6": lambda x: F.relu6(x * 4),
    "nn.softsign": F.softsign,
    "nn.tanhshrink": F.tanhshrink,
    "nn.tanh": F.tanh,
    "nn.sigmoid": F.sigmoid,
    "nn.glu": F.glu,
    "prelu": lambda x: x.prelu(x[0] * 0.1),
    "nn.prelu": lambda x: F.prelu(x, x[0, :1]),
    "nn.hardshrink": F.hardshrink,
    "nn.softmax": lambda x: F.softmax(x, dim=0),
    "nn.softmin": lambda x: F.softmin(x, dim=1),
    "nn.log_softmax": lambda x: F.log_softmax(x, dim=1),
}

#: A target that is none of what the losses are tested with.
_T = fg.tensor(np.random.default_rng(9).uniform(0.05, 0.95, size=(3, 4)))
_W = fg.tensor(np.random.default_rng(10).uniform(0.5, 2.0, size=(3, 4)))
FUNCTIONS |= {
    "nn.mse_loss": lambda x: F.mse_loss(x, x * x * 0.5) + F.mse_loss(x, _T, weight=_W),
    "nn.l1_loss": lambda x: F.l1_loss(x * x, _T * 7, reduction="sum"),
    "nn.smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x * x * 0.7, beta=0.6),
    "nn.huber_loss": lambda x: F.huber_loss(x, x * x * 0.7, delta=0.6),
    "nn.binary_cross_entropy": lambda x: F.binary_cross_entropy(x.sigmoid(), x.cos() ** 2, _W),
    "nn.binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, x.cos(), _W, pos_weight=_T),
    "nn.kl_div": lambda x: F.kl_div(x, _T, reduction="batchmean") + F.kl_div(x, x * 0.5, reduction="sum", log_target=True),
    "nn.soft_margin_loss": lambda x: F.soft_margin_loss(x, x * x),
    "nn.poisson_nll_loss": lambda x: F.poisson_nll_loss(x, _W, full=True) + F.poisson_nll_loss(x.exp(), _W, log_input=False),
    "nn.gaussian_nll_loss": lambda x: F.gaussian_nll_loss(x, _T, x.exp(), full=True),
}
