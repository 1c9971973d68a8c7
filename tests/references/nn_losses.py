"""Losses."""

import itertools

import numpy as np
from references.contraction import vector_norm
from references.reductions import log_softmax


def reduced(loss, reduction="mean", size_average=None, reduce=None, **_):
    """The loss, its mean or its sum. `size_average` and `reduce` are the old names."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    return {"none": lambda: loss, "mean": loss.mean, "sum": loss.sum}[reduction]()


def each(function):
    """A loss of an element and its target. The mean of a weighted one is over the weights."""

    def call(input, target, weight=None, **named):
        own = {key: value for key, value in named.items() if key not in ("reduction", "size_average", "reduce")}
        loss = function(input, target, **own)
        if weight is None:
            return reduced(loss, **named)
        loss = loss * weight
        if named.get("reduction", "mean") == "mean":
            return loss.sum() / np.broadcast_to(weight, loss.shape).sum()
        return reduced(loss, **named)

    return call


def huber(x, t, delta=1.0):
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    return reduced(huber(input, target, delta) * (1 if weight is None else weight), reduction)


def smooth_l1(x, t, beta=1.0):
    d = np.abs(x - t)
    return np.where(d < beta, d * d / (2 * beta or 1), d - beta / 2)


def binary(input, target, weight=None, **named):
    low = np.maximum(np.log(input), -100), np.maximum(np.log(1 - input), -100)
    loss = -target * low[0] - (1 - target) * low[1]
    return reduced(loss if weight is None else loss * weight, **named)


def log_sigmoid(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def binary_with_logits(input, target, weight=None, pos_weight=None, **named):
    loss = -(1 if pos_weight is None else pos_weight) * target * log_sigmoid(input) - (1 - target) * log_sigmoid(-input)
    return reduced(loss if weight is None else loss * weight, **named)


def kl_div(input, target, reduction="mean", log_target=False, **named):
    """The mean of the examples is over the first size of the input."""
    if log_target:
        loss = np.exp(target) * (target - input)
    else:
        loss = np.where(target == 0, 0, target * np.log(np.where(target == 0, 1, target))) - target * input
    if reduction == "batchmean":
        return loss.sum() / (len(input) if input.ndim else 1)
    return reduced(loss, reduction, **named)


def poisson(x, t, log_input=True, full=False, eps=1e-8):
    loss = np.exp(np.longdouble(x)) - t * x if log_input else x - t * np.log(x + np.longdouble(eps))
    if full:
        s = np.where(t > 1, t, np.longdouble(2))
        loss = loss + np.where(t > 1, s * np.log(s) - s + np.log(2 * np.longdouble(np.pi) * s) / 2, 0)
    return loss


def gaussian(input, target, var, full=False, eps=1e-6, reduction="mean"):
    var = np.asarray(var)
    if var.ndim == input.ndim - 1 and var.shape == input.shape[:-1]:
        var = var[..., None]
    v = np.maximum(var, np.longdouble(eps))
    return reduced((np.log(v) + (input - target) ** 2 / v) / 2 + (np.log(2 * np.longdouble(np.pi)) / 2 if full else 0), reduction)


def hinge_embedding(input, target, margin=1.0, **named):
    return reduced(np.where(target != -1, input, 0) + np.where(target != 1, np.maximum(0, margin - input), 0), **named)


def margin_ranking(input1, input2, target, margin=0, **named):
    return reduced(np.maximum(0, -target * (input1 - input2) + np.longdouble(margin)), **named)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    x1, x2 = np.broadcast_arrays(x1, x2)
    return (x1 * x2).sum(dim) / (np.maximum(vector_norm(x1, 2, dim), eps) * np.maximum(vector_norm(x2, 2, dim), eps))


def cosine_embedding(input1, input2, target, margin=0, **named):
    """The squares of the lengths are not quite zero."""
    least = np.longdouble(1e-12)
    a, b = input1, input2
    cosine = (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + least) * ((b * b).sum(-1) + least))
    return reduced(np.where(target == 1, 1 - cosine, np.where(target == -1, np.maximum(0, cosine - margin), 0)), **named)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    return vector_norm(x1 - x2 + np.longdouble(eps), p, -1, keepdim)


def triplet(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, **named):
    far = pairwise_distance(anchor, negative, p, eps)
    far = np.minimum(far, pairwise_distance(positive, negative, p, eps)) if swap else far
    return reduced(np.maximum(0, margin + pairwise_distance(anchor, positive, p, eps) - far), **named)


def classes_last(input):
    """Scores `(..., C)` of `(C,)` or `(N, C, ...)`."""
    return np.moveaxis(input, 1, -1) if input.ndim > 1 else input


def nll(input, target, weight=None, ignore_index=-100, smoothing=0.0, **named):
    x = classes_last(input)
    w = np.ones(x.shape[-1], np.longdouble) if weight is None else weight
    counts = target != ignore_index
    t = np.where(counts, target, 0)
    of_class = np.where(counts, w[t], 0)
    loss = np.where(counts, -np.take_along_axis(x, t[..., None], -1)[..., 0], 0) * of_class
    if smoothing:
        even = np.where(counts, -(x * w).sum(-1), 0) / x.shape[-1]
        loss = (1 - smoothing) * loss + smoothing * even
    if reduced(np.zeros(2), **named).ndim == 0 and reduced(np.ones(2), **named) == 1:
        return loss.sum() / of_class.sum()
    return reduced(loss, **named)


def cross_entropy(input, target, weight=None, label_smoothing=0.0, ignore_index=-100, **named):
    logs = log_softmax(input, 1 if input.ndim > 1 else 0)
    if target.dtype.kind in "iu":
        return nll(logs, target, weight, ignore_index, label_smoothing, **named)
    x, t = classes_last(logs), classes_last(target)
    loss = -(x * (t * (1 - label_smoothing) + label_smoothing / np.longdouble(x.shape[-1])) * (1 if weight is None else weight)).sum(-1)
    return reduced(loss, **named)


def multi_margin(input, target, p=1, margin=1.0, weight=None, **named):
    x, t = np.atleast_2d(input), np.atleast_1d(target)
    right = np.take_along_axis(x, t[:, None], 1)
    terms = np.maximum(0, margin - right + x) ** p * (1 if weight is None else weight[t][:, None])
    loss = np.where(np.arange(x.shape[1]) == t[:, None], 0, terms).sum(1) / x.shape[1]
    return reduced(loss if target.ndim else loss[0], **named)


def multilabel_margin(input, target, **named):
    x, targets = np.atleast_2d(input), np.atleast_2d(target)
    loss = np.zeros(len(x), x.dtype)
    for n in range(len(x)):
        right = list(itertools.takewhile(lambda t: t >= 0, targets[n]))
        for t, i in itertools.product(right, set(range(x.shape[1])) - set(right)):
            loss[n] += np.maximum(0, 1 - (x[n, t] - x[n, i])) / x.shape[1]
    return reduced(loss if input.ndim > 1 else loss[0], **named)


def multilabel_soft_margin(input, target, weight=None, **named):
    loss = -target * log_sigmoid(input) - (1 - target) * log_sigmoid(-input)
    return reduced((loss if weight is None else loss * weight).mean(-1), **named)


def spelled(logs, labels, blank):
    """The logarithm of the probability of labels: of every way through them, with blanks between that may be left out."""
    signs = [blank, *(sign for label in labels for sign in (label, blank))]
    ways = {-1: np.longdouble(0)}
    for step in logs:
        further = {}
        for last, way in ways.items():
            for at in range(max(last, 0), min(last + 3, len(signs))):
                # Over a blank, and not from a label to its like.
                if at < last + 2 or at % 2 and (last < 0 or signs[at] != signs[last]):
                    further[at] = np.logaddexp(further.get(at, -np.inf), way + step[signs[at]])
        ways = further
    return np.logaddexp.reduce([way for at, way in ways.items() if at >= len(signs) - 2] or [-np.inf])


def ctc(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    logs = log_probs if log_probs.ndim == 3 else log_probs[:, None]
    steps, lengths = np.atleast_1d(input_lengths), np.atleast_1d(target_lengths)
    ends = np.cumsum(lengths)
    rows = targets.reshape(len(lengths), -1) if targets.ndim == 2 or log_probs.ndim == 2 else [targets[e - n : e] for e, n in zip(ends, lengths)]
    loss = np.array([-spelled(logs[:t, n], tuple(rows[n][:k].tolist()), blank) for n, (t, k) in enumerate(zip(steps, lengths))], np.longdouble)
    loss = np.where(np.isinf(loss) & zero_infinity, 0, loss)
    if reduction == "mean":
        return (loss / np.maximum(lengths, 1)).mean()
    return reduced(loss if log_probs.ndim == 3 else loss[0], reduction)


REFERENCE = {
    "nn.binary_cross_entropy": binary,
    "nn.binary_cross_entropy_with_logits": binary_with_logits,
    "nn.cosine_embedding_loss": cosine_embedding,
    "nn.cosine_similarity": cosine_similarity,
    "nn.cross_entropy": cross_entropy,
    "nn.ctc_loss": ctc,
    "nn.gaussian_nll_loss": gaussian,
    "nn.hinge_embedding_loss": hinge_embedding,
    "nn.huber_loss": huber_loss,
    "nn.kl_div": kl_div,
    "nn.l1_loss": each(lambda x, t: np.abs(x - t)),
    "nn.margin_ranking_loss": margin_ranking,
    "nn.mse_loss": each(lambda x, t: (x - t) ** 2),
    "nn.multi_margin_loss": multi_margin,
    "nn.multilabel_margin_loss": multilabel_margin,
    "nn.multilabel_soft_margin_loss": multilabel_soft_margin,
    "nn.nll_loss": nll,
    "nn.pairwise_distance": pairwise_distance,
    "nn.poisson_nll_loss": each(poisson),
    "nn.smooth_l1_loss": each(smooth_l1),
    "nn.soft_margin_loss": each(lambda x, t: np.log1p(np.exp(-t * x))),
    "nn.triplet_margin_loss": triplet,
}
