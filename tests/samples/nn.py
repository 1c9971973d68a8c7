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
    "nn.mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "nn.gelu": lambda x: (x / 2 * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype),
    "nn.softplus": lambda x, beta, threshold: _below(x, np.log1p(np.exp(x * beta)) / beta, threshold / beta),
    "nn.logsigmoid": lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    "nn.elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x).astype(x.dtype),
    "nn.celu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(x / alpha), x).astype(x.dtype),
    "nn.selu": lambda x: _below(x, 1.6732632423543772 * np.expm1(x)) * x.dtype.type(1.0507009873554805),
    "nn.hardtanh": lambda x, low, high: np.clip(x, low, high).astype(x.dtype),
    "nn.leaky_relu": lambda x, slope: _below(x, x * slope),
    "_prelu_kernel": lambda x, slope: np.where(x > 0, x, x * slope),
    "nn.threshold": lambda x, threshold, value: np.where(x <= threshold, value, x).astype(x.dtype),
    "hardshrink": lambda x, bound: np.where(np.abs(x) <= bound, 0, x).astype(x.dtype),
    "nn.softshrink": lambda x, bound: np.where(np.abs(x) <= bound, x * 0, x - np.copysign(bound, x)).astype(x.dtype),
    "nn.hardsigmoid": lambda x: _ramp(x) / 6,
    "nn.hardswish": lambda x: x * _ramp(x) / 6,
}
FUNCTIONS = {
    "nn.relu": F.relu,
    "nn.rrelu": F.rrelu,
    "nn.relu6": lambda x: F.relu6(x * 4),
    "nn.softsign": F.softsign,
    "nn.tanhshrink": F.tanhshrink,
    "nn.glu": F.glu,
    "prelu": lambda x: x.prelu(x[0] * 0.1),
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
_Y = fg.tensor([1, 3, 0])
_SIGNS = fg.tensor([1, -1, 1])
FUNCTIONS |= {
    "nn.nll_loss": lambda x: F.nll_loss(x, _Y, _T[0], ignore_index=3) + F.nll_loss(x, _Y, reduction="sum") * 0.3,
    "nn.cross_entropy": lambda x: F.cross_entropy(x, _Y, _T[0], label_smoothing=0.2) + F.cross_entropy(x, _T),
    "nn.multi_margin_loss": lambda x: F.multi_margin_loss(x, _Y, p=2, weight=_T[0]),
    "nn.multilabel_margin_loss": lambda x: F.multilabel_margin_loss(x * x, fg.tensor([[1, 3, -1, 0], [2, -1, 0, 0], [0, 1, 2, 3]])),
    "nn.multilabel_soft_margin_loss": lambda x: F.multilabel_soft_margin_loss(x, _T, _W),
    "nn.normalize": lambda x: F.normalize(x, dim=0),
    "nn.cosine_similarity": lambda x: F.cosine_similarity(x, x.cos(), 1),
    "nn.pairwise_distance": lambda x: F.pairwise_distance(x, _T),
    "nn.cosine_embedding_loss": lambda x: F.cosine_embedding_loss(x, x.cos(), _SIGNS, reduction="none"),
    "nn.hinge_embedding_loss": lambda x: F.hinge_embedding_loss(x * x, _SIGNS[:, None], reduction="none"),
    "nn.margin_ranking_loss": lambda x: F.margin_ranking_loss(x * x, x, _SIGNS[:, None], 0.3),
    "nn.triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x * x, x.cos(), swap=True),
    "nn.linear": lambda x: F.linear(x, x, x[0, :3]),
    "nn.layer_norm": lambda x: F.layer_norm(x, (4,), x[0], x[1]),
    "nn.rms_norm": lambda x: F.rms_norm(x, (4,), x[0]),
    "nn.group_norm": lambda x: F.group_norm(x, 2, x[0], x[1]),
    "nn.batch_norm": lambda x: F.batch_norm(x, None, None, x[0], x[1], True) + F.batch_norm(x, _T[0], _W[0]),
    "nn.instance_norm": lambda x: F.instance_norm(x[None], weight=x[:, 0], bias=x[:, 1]),
    "nn.local_response_norm": lambda x: F.local_response_norm(x[None], 2, alpha=0.5),
    "nn.embedding": lambda x: F.embedding(fg.tensor([[0, 2], [2, 0]]), x, padding_idx=1),
    "nn.embedding_bag": lambda x: F.embedding_bag(fg.tensor([0, 2, 1, 2]), x, fg.tensor([0, 1])) + F.embedding_bag(_Y.reshape(1, 3) % 3, x, mode="max"),
    "nn.ctc_loss": lambda x: F.ctc_loss(x.log_softmax(1), fg.tensor([1, 1]), (3,), (2,)),
    "nn.scaled_dot_product_attention": lambda x: F.scaled_dot_product_attention(x, x.cos(), x * x, is_causal=True),
}
WITHOUT_DERIVATIVE = {"nn.one_hot"}
#: What becomes of the drawn tensors of a call whose derivative holds only then.
PREPARED = {"nn.ctc_loss": lambda log_probs, *others: (log_probs.log_softmax(-1), *others)}
