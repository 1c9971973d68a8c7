"""Losses of `nn.functional` in both libraries: values, reductions, weights, gradients to second order, old arguments, errors."""

import math
import warnings

import numpy as np
import pytest
from comparison import compare, same

import ferrograd as fg
import ferrograd.nn.functional as fgF

torch = pytest.importorskip("torch")
F = torch.nn.functional
REDUCTIONS = ["none", "mean", "sum"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def module(T):
    return T.nn.functional


def numbers(shape, low=-3.0, high=3.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, size=shape)


def signs(shape, seed=3):
    return np.where(np.random.default_rng(seed).uniform(size=shape) < 0.5, -1.0, 1.0)


#: Losses of a prediction and a target: from where these are drawn, and other arguments.
PAIRS = {
    "mse_loss": ((-3, 3), (-3, 3), [{}]),
    "l1_loss": ((-3, 3), (-3, 3), [{}]),
    "smooth_l1_loss": ((-3, 3), (-3, 3), [{}, {"beta": 0.4}, {"beta": 0.0}]),
    "huber_loss": ((-3, 3), (-3, 3), [{}, {"delta": 0.4}]),
    "binary_cross_entropy": ((0.02, 0.98), (0, 1), [{}]),
    "binary_cross_entropy_with_logits": ((-6, 6), (0, 1), [{}]),
    "kl_div": ((-3, 0), (0.1, 1), [{}, {"log_target": True}]),
    "soft_margin_loss": ((-3, 3), (-1, 1), [{}]),
    "poisson_nll_loss": ((0.2, 3), (0.5, 4), [{}, {"full": True}, {"log_input": False}, {"log_input": False, "full": True, "eps": 0.1}]),
    "hinge_embedding_loss": ((-2, 3), None, [{}, {"margin": 0.5}]),
    "multilabel_soft_margin_loss": ((-3, 3), (0, 1), [{}]),
}
CASES = [(name, options) for name, (_, _, all_of_it) in PAIRS.items() for options in all_of_it]
#: torch has no second derivatives of these, or not with respect to the target.
ONCE = ("binary_cross_entropy", "huber_loss", "smooth_l1_loss", "soft_margin_loss", "multilabel_margin_loss", "multi_margin_loss")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 2), (0, 2), (40, 50)])
@pytest.mark.parametrize("name, options", CASES)
def test_pairs(name, options, shape, reduction):
    of_x, of_target, _ = PAIRS[name]
    x = numbers(shape, *of_x)
    target = signs(shape) if of_target is None else numbers(shape, *of_target, seed=1)
    call = lambda T, x, target: getattr(module(T), name)(x, target, reduction=reduction, **options)
    if name in ("binary_cross_entropy", "soft_margin_loss"):
        # torch has no gradient of the second target, and a second one of the first that is not that of the clamped loss.
        compare(lambda T, x: call(T, x, T.tensor(target)), x, scale=1000)
        return
    # The node of a sum or mean is that of the loss here where torch's is.
    compare(call, x, target, names=name.endswith(("mse_loss", "huber_loss")), second=name not in ONCE)
    compare(lambda T, x: call(T, x, T.tensor(target)), x, names=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(name, reduction):
    x, t, w = numbers((3, 4)), numbers((3, 4), seed=1), numbers((3, 4), 0.1, 2, seed=2)
    compare(lambda T, x, t: getattr(module(T), name)(x, t, reduction=reduction, weight=T.tensor(w)), x, t, names=False)
    compare(lambda T, x, t: getattr(module(T), name)(x, t, reduction=reduction, weight=T.tensor(w[0])), x, t, names=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropies_with_weights(reduction):
    x, t, w, p = numbers((3, 4), 0.02, 0.98), numbers((3, 4), 0, 1, 1), numbers((3, 4), 0.1, 2, 2), numbers(4, 0.3, 3, 4)
    for weight in (w, w[:1], w[0]):
        compare(lambda T, x: module(T).binary_cross_entropy(x, T.tensor(t), T.tensor(weight), reduction=reduction), x, scale=1000)
        compare(lambda T, x, t: module(T).binary_cross_entropy_with_logits(x, t, T.tensor(weight), reduction=reduction), x, t, names=False)
        compare(lambda T, x, t: module(T).binary_cross_entropy_with_logits(x, t, T.tensor(weight), pos_weight=T.tensor(p), reduction=reduction), x, t, names=False)
    compare(lambda T, x, t: module(T).binary_cross_entropy_with_logits(x, t, pos_weight=T.tensor(p), reduction=reduction), x, t, names=False)
    compare(lambda T, x, t: T.nn.functional.binary_cross_entropy(x, t, reduction=reduction), x, t, second=False)


def test_binary_cross_entropy_at_the_ends():
    x = np.array([0.0, 1.0, 0.0, 1.0, 1e-30, 0.5])
    t = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.3])
    for dtype in ("float64", "float32"):
        compare(lambda T, x: module(T).binary_cross_entropy(x, T.tensor(t.astype(dtype)), reduction="none"), x.astype(dtype), second=False, scale=1e4 if dtype == "float64" else 1)
    logits = np.array([0.0, 1000.0, -1000.0, 40.0, -40.0, math.inf])
    compare(lambda T, x: module(T).binary_cross_entropy_with_logits(x, T.tensor(t), reduction="none"), logits, second=False)


@pytest.mark.parametrize("options", [{}, {"size_average": False}, {"size_average": True}, {"reduce": False}, {"reduce": True}, {"size_average": False, "reduce": True}])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "kl_div", "poisson_nll_loss", "soft_margin_loss"])
def test_old_arguments(name, options):
    x, t = numbers((3, 4)), numbers((3, 4), 0.1, 1, 1)
    compare(lambda T, x: getattr(module(T), name)(x, T.tensor(t), **options), x, names=False)
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        getattr(fgF, name)(fg.tensor(x), fg.tensor(t), **options)
    assert any("size_average and reduce args will be deprecated" in str(w.message) for w in ours) == bool(options)


def test_warnings():
    x, t = fg.zeros(3, 4), fg.zeros(4)
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        with pytest.warns(UserWarning, match="different to the input size"):
            getattr(fgF, name)(x, t)
    with pytest.warns(UserWarning, match="batchmean"):
        fgF.kl_div(x, x)
    compare(lambda T, x: module(T).mse_loss(x, T.zeros(4, dtype=T.float64)), numbers((3, 4)), names=False)


TARGETS = {(5,): (), (4, 5): (4,), (2, 5, 3): (2, 3), (2, 5, 3, 2): (2, 3, 2), (2, 5, 2, 1, 2): (2, 2, 1, 2)}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", TARGETS)
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes(name, shape, reduction, ignored, weighted):
    target = np.random.default_rng(5).integers(0, 5, size=TARGETS[shape])
    weight = numbers(5, 0.2, 2, 6)

    def call(T, x, **options):
        w = T.tensor(weight) if weighted else None
        return getattr(module(T), name)(x, T.tensor(target), w, ignore_index=ignored, reduction=reduction, **options)

    compare(call, numbers(shape), names=len(shape) in (2, 4))
    compare(call, numbers(shape).astype("float32"), names=False)
    if name == "cross_entropy":
        compare(lambda T, x: call(T, x, label_smoothing=0.15), numbers(shape), names=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", TARGETS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_probabilities_of_classes(shape, reduction, smoothing):
    weight = numbers(5, 0.2, 2, 6)
    for weighted in (False, True):
        compare(
            lambda T, x, t: module(T).cross_entropy(x, t, T.tensor(weight) if weighted else None, reduction=reduction, label_smoothing=smoothing),
            numbers(shape), numbers(shape, 0, 1, 1), names=False,
        )


def test_all_ignored_and_infinite():
    x = np.array([[0.0, -math.inf, 1.0], [2.0, -math.inf, math.inf]])
    for name in ("nll_loss", "cross_entropy"):
        for target in ([1, 1], [0, 2]):
            for reduction in REDUCTIONS:
                compare(lambda T, x: getattr(module(T), name)(x, T.tensor(target), ignore_index=1, reduction=reduction), x, second=False)
    for name in ("nll_loss", "cross_entropy"):
        compare(lambda T, x: getattr(module(T), name)(x, T.zeros(0, dtype=T.int64)), numbers((0, 3)), second=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("p, margin, weighted", [(1, 1.0, False), (2, 0.7, True), (1, 0.5, True)])
def test_multi_margin(reduction, p, margin, weighted):
    weight = numbers(4, 0.2, 2, 6)
    for shape, target in (((3, 4), [0, 3, 1]), ((4,), 2), ((4,), [2])):
        compare(
            lambda T, x: module(T).multi_margin_loss(x, T.tensor(target), p, margin, T.tensor(weight) if weighted else None, reduction=reduction),
            numbers(shape), names=False, second=False,
        )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_multilabel_margin(reduction):
    target = np.array([[3, 0, -1, 1], [-1, 2, 1, 0], [0, 1, 2, 3], [1, 1, -1, 2]])
    compare(lambda T, x: module(T).multilabel_margin_loss(x, T.tensor(target), reduction=reduction), numbers((4, 4)), names=False, second=False)
    compare(lambda T, x: module(T).multilabel_margin_loss(x, T.tensor(target[0]), reduction=reduction), numbers(4), names=False, second=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_pairs_of_vectors(reduction):
    x, y, z = numbers((4, 5)), numbers((4, 5), seed=1), numbers((4, 5), seed=2)
    target = np.array([1.0, -1.0, 1.0, -1.0])
    for margin in (0.0, 0.4, -0.5):
        compare(lambda T, x, y: module(T).cosine_embedding_loss(x, y, T.tensor(target), margin, reduction=reduction), x, y, names=False)
        compare(lambda T, x, y: module(T).margin_ranking_loss(x, y, T.tensor(target)[:, None], margin, reduction=reduction), x, y, names=False)
    compare(lambda T, x, y: T.cosine_embedding_loss(x[0], y[0], T.tensor(1.0)), x, y, names=False)
    for options in ({}, {"margin": 0.3, "p": 1.5}, {"swap": True}):
        compare(lambda T, x, y, z: module(T).triplet_margin_loss(x, y, z, reduction=reduction, **options), x, y, z, names=False)
        compare(lambda T, x, y, z: module(T).triplet_margin_loss(x[0], y[0], z[0], reduction=reduction, **options), x, y, z, names=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
def test_gaussian(reduction, full):
    x, t = numbers((3, 4)), numbers((3, 4), seed=1)
    for shape in ((3, 4), (3,), (3, 1)):
        compare(lambda T, x, v: module(T).gaussian_nll_loss(x, T.tensor(t), v, full, 0.3, reduction), x, numbers(shape, 0.1, 2, 2), names=False)
    compare(lambda T, x: module(T).gaussian_nll_loss(x, T.tensor(t), 0.7, full=full, reduction=reduction), x, names=False)
    compare(lambda T, x: module(T).gaussian_nll_loss(x, T.tensor(t), T.tensor([1.0, 2.0]), full=full, reduction=reduction), x, names=False)


@pytest.mark.parametrize("call", [
    lambda T, x: module(T).mse_loss(x, x, reduction="median"),
    lambda T, x: module(T).mse_loss(x, x[:, :2]),
    lambda T, x: module(T).smooth_l1_loss(x, x, beta=-1.0),
    lambda T, x: module(T).huber_loss(x, x, delta=0.0),
    lambda T, x: module(T).huber_loss(x, x, reduction="other"),
    lambda T, x: module(T).binary_cross_entropy(x, x),
    lambda T, x: module(T).binary_cross_entropy(x.sigmoid(), x[0]),
    lambda T, x: module(T).binary_cross_entropy(x.sigmoid(), x.sigmoid().float()),
    lambda T, x: module(T).binary_cross_entropy_with_logits(x, x[0]),
    lambda T, x: module(T).gaussian_nll_loss(x, x, -x * x),
    lambda T, x: module(T).gaussian_nll_loss(x, x, -1.0),
    lambda T, x: module(T).gaussian_nll_loss(x, x, x * x, reduction="other"),
    lambda T, x: module(T).nll_loss(x, T.tensor([0, 1])),
    lambda T, x: module(T).nll_loss(x, T.tensor([0, 1, 4])),
    lambda T, x: module(T).nll_loss(x, T.tensor([0, 1, -1])),
    lambda T, x: module(T).nll_loss(x, T.tensor([0.0, 1.0, 2.0])),
    lambda T, x: module(T).nll_loss(x, T.tensor([0, 1, 2]), weight=T.ones(3, dtype=T.float64)),
    lambda T, x: module(T).nll_loss(x, T.tensor([0, 1, 2]), weight=T.ones(4)),
    lambda T, x: module(T).nll_loss(x, T.tensor([[0], [1], [2]])),
    lambda T, x: module(T).nll_loss(x[0, 0], T.tensor(0)),
    lambda T, x: module(T).cross_entropy(x, T.tensor([0, 1])),
    lambda T, x: module(T).cross_entropy(x, T.tensor([0, 1, 2]), label_smoothing=1.5),
    lambda T, x: module(T).cross_entropy(x, x, ignore_index=1),
    lambda T, x: module(T).cross_entropy(x, x.long()),
    lambda T, x: module(T).cross_entropy(x, x, weight=T.ones(3, dtype=T.float64)),
    lambda T, x: module(T).cross_entropy(x, T.tensor([0, 1, 9])),
    lambda T, x: module(T).multi_margin_loss(x, T.tensor([0, 1, 2]), p=3),
    lambda T, x: module(T).multi_margin_loss(x, T.tensor([0, 1])),
    lambda T, x: module(T).multi_margin_loss(x, T.tensor([0, 1, 2]), weight=T.ones(3, dtype=T.float64)),
    lambda T, x: module(T).multilabel_margin_loss(x, T.tensor([0, 1])),
    lambda T, x: module(T).cosine_embedding_loss(x, x, T.ones(3, 4)),
    lambda T, x: module(T).cosine_embedding_loss(x[0], x, T.ones(3)),
    lambda T, x: module(T).margin_ranking_loss(x, x, T.ones(3)),
    lambda T, x: module(T).triplet_margin_loss(x, x, x[0]),
    lambda T, x: module(T).triplet_margin_loss(x, x, x, margin=-1.0),
    lambda T, x: module(T).one_hot(x),
    lambda T, x: module(T).one_hot(T.tensor([0, -1])),
    lambda T, x: module(T).one_hot(T.tensor([0, 5]), 3),
    lambda T, x: module(T).one_hot(T.tensor([0, 5]), 0),
    lambda T, x: module(T).one_hot(T.zeros(0, dtype=T.int64)),
    lambda T, x: module(T).linear(x, T.ones(3, 3, dtype=T.float64)),
    lambda T, x: module(T).linear(x, x, T.ones(2, dtype=T.float64)),
    lambda T, x: module(T).linear(x, x.float()),
    lambda T, x: module(T).normalize(x, dim=4),
    lambda T, x: module(T).cosine_similarity(x, x[:, :2]),
    lambda T, x: module(T).cosine_similarity(x.long(), x.long()),
])
def test_errors(call):
    compare(call, numbers((3, 4)))


def test_one_hot():
    for classes in ([0, 2, 1], [[1, 0], [3, 3]], 2):
        compare(lambda T: module(T).one_hot(T.tensor(classes)))
        compare(lambda T: module(T).one_hot(T.tensor(classes), 5))
    compare(lambda T: module(T).one_hot(T.zeros(0, 2, dtype=T.int64), 3))
    compare(lambda T: T.vmap(lambda c: module(T).one_hot(c, 4))(T.tensor([[0, 3], [1, 2]])))


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, math.inf, 0.5])
def test_distances(p):
    x, y = numbers((2, 3, 4)), numbers((2, 3, 4), seed=1)
    for dim in (0, 1, -1, (0, 2)):
        compare(lambda T, x: module(T).normalize(x, p, dim), x)
    compare(lambda T, x, y: module(T).pairwise_distance(x, y, p), x, y, names=False)
    compare(lambda T, x, y: T.pairwise_distance(x, y[0], p, 0.1, True), x, y, names=False)
    compare(lambda T, x: module(T).pdist(x[0], p), x, second=False)


def test_cosines():
    x, y = numbers((2, 3, 4)), numbers((2, 3, 4), seed=1)
    for dim in (0, 1, -1):
        compare(lambda T, x, y: module(T).cosine_similarity(x, y, dim), x, y)
        compare(lambda T, x, y: T.cosine_similarity(x, y[0], dim, 0.5), x, y)
    compare(lambda T, x, y: T.cosine_similarity(x * 1e-12, y, 1), x, y, second=False)
    compare(lambda T, x: module(T).normalize(x * 0), x, second=False)


def test_linear():
    w, b = numbers((5, 4), seed=1), numbers(5, seed=2)
    for shape in ((3, 4), (4,), (2, 3, 4), (0, 4), (2, 1, 3, 4)):
        compare(lambda T, x, w: module(T).linear(x, w), numbers(shape), w, names=len(shape) == 2)
        compare(lambda T, x, w, b: module(T).linear(x, w, b), numbers(shape), w, b, names=len(shape) == 2)
        compare(lambda T, x, w: module(T).linear(x, w[0]), numbers(shape), w, names=False)
        compare(lambda T, x, w, b: module(T).linear(x, w[0], b[0]), numbers(shape), w, b, names=False)
    compare(lambda T, x, y, w, b: module(T).bilinear(x, y, w, b), numbers((3, 4)), numbers((3, 2)), numbers((5, 4, 2)), b, names=False)


@pytest.mark.parametrize("name", ["mse_loss", "cross_entropy", "huber_loss", "binary_cross_entropy_with_logits"])
def test_forward_mode_and_vmap(name):
    x, t = numbers((4, 3, 5)), numbers((4, 3, 5), 0, 1, 1)
    loss = lambda T: lambda x, t: getattr(module(T), name)(x, t)
    same(fg.vmap(loss(fg))(fg.tensor(x), fg.tensor(t)), torch.vmap(loss(torch))(torch.tensor(x), torch.tensor(t)))
    gradients = fg.vmap(fg.func.grad(loss(fg)))(fg.tensor(x), fg.tensor(t))
    same(gradients, torch.vmap(torch.func.grad(loss(torch)))(torch.tensor(x), torch.tensor(t)))
    v = numbers((4, 3, 5), seed=9)
    ours = fg.func.jvp(lambda x: loss(fg)(x, fg.tensor(t)), (fg.tensor(x),), (fg.tensor(v),))[1]
    same(ours, torch.func.jvp(lambda x: loss(torch)(x, torch.tensor(t)), (torch.tensor(x),), (torch.tensor(v),))[1])


def test_classes_under_vmap():
    x, t = numbers((4, 3, 5)), np.random.default_rng(1).integers(0, 5, size=(4, 3))
    for reduction in REDUCTIONS:
        loss = lambda T: lambda x, t: module(T).cross_entropy(x, t, ignore_index=1, reduction=reduction)
        same(fg.vmap(loss(fg))(fg.tensor(x), fg.tensor(t)), torch.stack([loss(torch)(a, b) for a, b in zip(torch.tensor(x), torch.tensor(t))]))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("steps, labels, targets", [
    ((6, 5, 6), (2, 3, 1), [[1, 2, 0], [3, 3, 1], [2, 0, 0]]),
    ((6, 4, 1), (2, 1, 0), [2, 2, 1]),
    ((2, 6, 6), (3, 1, 2), [[1, 1, 2], [3, 0, 0], [1, 1, 0]]),
])
def test_sequences(reduction, steps, labels, targets):
    for options in ({}, {"zero_infinity": True}):
        if max(labels) > min(steps) and not options:
            # torch's gradients have no values then.
            same(*(module(T).ctc_loss(T.tensor(numbers((6, 3, 5))).log_softmax(2), T.tensor(targets), steps, labels, reduction=reduction) for T in (fg, torch)))
            continue
        compare(
            lambda T, x: module(T).ctc_loss(x.log_softmax(2), T.tensor(targets), T.tensor(steps), T.tensor(labels), reduction=reduction, **options),
            numbers((6, 3, 5)), names=False, second=False, scale=100,
        )
    compare(lambda T, x: module(T).ctc_loss(x.log_softmax(2), T.tensor(targets), steps, labels, 4, reduction, True), numbers((6, 3, 5)).astype("float32"), names=False, second=False, scale=10)


def test_one_sequence():
    compare(lambda T, x: module(T).ctc_loss(x - 3, T.tensor([[1, 2, 2], [1, 0, 0]]), (6, 4), (3, 1), reduction="none"), numbers((6, 2, 5)), names=False, second=False, scale=100)
    compare(lambda T, x: module(T).ctc_loss(x.log_softmax(1), T.tensor([1, 2, 2]), (6,), (3,), reduction="none"), numbers((6, 5)), names=False, second=False, scale=100)
    compare(lambda T, x: module(T).ctc_loss(x.log_softmax(1), T.tensor([1, 2, 2]), T.tensor(6), T.tensor(3)), numbers((6, 5)), names=False, second=False, scale=100)
    assert fg.autograd.gradgradcheck(lambda x: fgF.ctc_loss(x.log_softmax(1), fg.tensor([1, 2]), (3,), (2,)), fg.tensor(numbers((3, 4)), requires_grad=True))


@pytest.mark.parametrize("call", [
    lambda T, x: module(T).ctc_loss(x, T.tensor([1, 2]), (7,), (2,)),
    lambda T, x: module(T).ctc_loss(x, T.tensor([1, 2]), (6,), (1,)),
    lambda T, x: module(T).ctc_loss(x, T.tensor([1, 2]), (6, 6), (2,)),
    lambda T, x: module(T).ctc_loss(x, T.tensor([1, 2]), (6,), (2,), 9),
    lambda T, x: module(T).ctc_loss(x, T.tensor([[1, 2]]), (6,), (3,)),
    lambda T, x: module(T).ctc_loss(x.half(), T.tensor([[1, 2]]), (6,), (2,)),
    lambda T, x: module(T).ctc_loss(x, T.tensor([[1, 2]]), (6,), (2,), reduction="other"),
])
def test_errors_of_sequences(call):
    compare(call, numbers((6, 5)))
