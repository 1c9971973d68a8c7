"""Normalisation, embeddings and attention of `nn.functional` in both libraries."""

import math

import numpy as np
import pytest
from comparison import compare, same

import ferrograd as fg
import ferrograd.nn.functional as fgF

torch = pytest.importorskip("torch")
F = torch.nn.functional


def module(T):
    return T.nn.functional


def numbers(shape, low=-3.0, high=3.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, size=shape)


#: Rounding of a quotient by a small deviation.
SCALE = 100


@pytest.mark.parametrize("shape, sizes", [((3, 4), (4,)), ((2, 3, 4), (3, 4)), ((5,), (5,)), ((4, 130), (130,)), ((0, 4), (4,)), ((3, 1), (1,))])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layer_norm(shape, sizes, eps):
    w, b = numbers(sizes, seed=1), numbers(sizes, seed=2)
    # torch has no second derivative where there is no scale.
    compare(lambda T, x: module(T).layer_norm(x, sizes, eps=eps), numbers(shape), scale=SCALE, second=False)
    compare(lambda T, x: module(T).layer_norm(x, sizes, T.ones(*sizes, dtype=T.float64), eps=eps), numbers(shape), scale=SCALE)
    compare(lambda T, x, w, b: module(T).layer_norm(x, sizes, w, b, eps), numbers(shape), w, b, scale=SCALE)
    compare(lambda T, x, w: module(T).layer_norm(x, list(sizes), w), numbers(shape), w, scale=SCALE)
    compare(lambda T, x, b: module(T).layer_norm(x, sizes, bias=b, eps=eps), numbers(shape), b, second=False, scale=SCALE)
    compare(lambda T, x, w, b: module(T).layer_norm(x, sizes, w, b, eps), *(a.astype("float32") for a in (numbers(shape), w, b)), second=False, scale=10)
    compare(lambda T, x, w: module(T).rms_norm(x, sizes, w, eps), numbers(shape), w, names=False, scale=SCALE)
    compare(lambda T, x: module(T).rms_norm(x, sizes), numbers(shape), names=False, scale=SCALE)


def test_large_means_keep_their_variance():
    x = numbers((4, 50)).astype("float32") + np.float32(10000)
    expected = torch.tensor(x).double()
    same(fgF.layer_norm(fg.tensor(x), (50,)).double(), F.layer_norm(expected, (50,)), 1e9)


@pytest.mark.parametrize("shape", [(3, 4), (2, 6, 3), (2, 4, 3, 2), (1, 4, 5), (2, 6, 9), (3, 4, 3, 5), (0, 4, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_group_norm(shape, groups):
    w, b = numbers(shape[1], seed=1), numbers(shape[1], seed=2)
    compare(lambda T, x: module(T).group_norm(x, groups), numbers(shape), scale=SCALE)
    compare(lambda T, x, w, b: module(T).group_norm(x, groups, w, b, 0.1), numbers(shape), w, b, scale=SCALE)


def statistics(T, count):
    return T.linspace(-1, 1, count, dtype=T.float64), T.linspace(0.5, 2, count, dtype=T.float64)


@pytest.mark.parametrize("shape", [(3, 4), (2, 6, 3), (2, 4, 3, 2), (2, 3, 2, 1, 2), (2, 6, 9), (3, 4, 3, 5)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
def test_batch_norm(shape, training, momentum):
    w, b = numbers(shape[1], seed=1), numbers(shape[1], seed=2)

    def call(T, x, w, b):
        mean, variance = statistics(T, shape[1])
        y = module(T).batch_norm(x, mean, variance, w, b, training, momentum)
        assert not mean.requires_grad
        return y, mean, variance

    compare(call, numbers(shape), w, b, scale=SCALE)
    compare(lambda T, x: module(T).batch_norm(x, *statistics(T, shape[1]), training=training), numbers(shape), scale=SCALE)
    compare(lambda T, x: module(T).batch_norm(x, None, None, training=training), numbers(shape), scale=SCALE)
    compare(lambda T, x: module(T).batch_norm(x, T.ones(0).double(), T.ones(0).double(), training=training), numbers(0))
    compare(lambda T, x, w: module(T).batch_norm(x, None, None, w, training=training), numbers(shape), w, scale=SCALE)


@pytest.mark.parametrize("shape", [(2, 6, 3), (2, 4, 3, 2), (2, 3, 2, 1, 2), (2, 6, 9)])
@pytest.mark.parametrize("own", [False, True])
def test_instance_norm(shape, own):
    w, b = numbers(shape[1], seed=1), numbers(shape[1], seed=2)

    def call(T, x, w, b):
        mean, variance = statistics(T, shape[1])
        return module(T).instance_norm(x, mean, variance, w, b, own, 0.3), mean, variance

    compare(call, numbers(shape), w, b, names=False, scale=SCALE)
    compare(lambda T, x: module(T).instance_norm(x), numbers(shape), names=False, scale=SCALE)


@pytest.mark.parametrize("call", [
    lambda T, x, w, b: module(T).layer_norm(x, (9,), w, b),
    lambda T, x, w, b: module(T).layer_norm(x, (9,), w),
    lambda T, x, w, b: module(T).layer_norm(x, (9,)),
    lambda T, x, w, b: module(T).layer_norm(x.half(), (9,), w.half()),
    lambda T, x, w, b: module(T).group_norm(x, 3, w[:6], b[:6]),
    lambda T, x, w, b: module(T).group_norm(x, 3, None, b[:6], 0.1),
    lambda T, x, w, b: module(T).batch_norm(x, None, None, w[:6], b[:6], True, eps=0.1),
    lambda T, x, w, b: module(T).batch_norm(x, T.zeros(6, dtype=T.float64), T.ones(6, dtype=T.float64), w[:6], None),
])
def test_nodes_of_normalisations(call):
    """One node with an edge for the elements, the factors and the terms; it keeps what torch's does and the derivative needs."""

    def seen(T):
        x, w, b = (T.tensor(a, requires_grad=True) for a in (numbers((2, 6, 9)), numbers(9, seed=1), numbers(9, seed=2)))
        node = call(T, x, w, b).grad_fn
        edges = [edge and edge.name() for edge, _ in node.next_functions]
        kept = {name: getattr(node, name) for name in dir(node) if name.startswith("_saved_") and "running" not in name and "bias" not in name}
        kept = {name: list(value.shape) if isinstance(value, T.Tensor) else value for name, value in kept.items() if value is not None}
        # The statistics lie here in the shape of what they are broadcast over, and those that were given are kept as they are.
        results = {name for name in kept if name.startswith("_saved_result")}
        return node.name(), edges, results, {name: value for name, value in kept.items() if name not in results}

    assert seen(fg) == seen(torch)


@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 4, 3, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_local_response_norm(shape, size):
    compare(lambda T, x: module(T).local_response_norm(x, size), numbers(shape), names=False)
    compare(lambda T, x: module(T).local_response_norm(x, size, 0.7, 0.6, 1.3), numbers(shape), names=False)


def half(T, array, dtype):
    return T.as_tensor(array).to(getattr(T, dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves(dtype):
    x, w, b = numbers((4, 6, 5)), numbers(5, seed=1), numbers(5, seed=2)
    for of_weight in (dtype, "float32"):
        compare(lambda T: module(T).layer_norm(half(T, x, dtype), (5,), half(T, w, of_weight), half(T, b, of_weight)), grad=False)
        compare(lambda T: module(T).group_norm(half(T, x, dtype), 2, half(T, numbers(6), of_weight), half(T, numbers(6), of_weight)), grad=False)
        compare(lambda T: module(T).batch_norm(half(T, x, dtype), None, None, half(T, numbers(6), of_weight), half(T, numbers(6), of_weight), True), grad=False)
    compare(lambda T: module(T).rms_norm(half(T, x, dtype), (5,), half(T, w, dtype)), grad=False)


@pytest.mark.parametrize("options", [
    {}, {"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"padding_idx": 2, "scale_grad_by_freq": True},
])
@pytest.mark.parametrize("index", [[0, 2, 2, 1], [[4, 4], [1, 4]], 3, []])
def test_embedding(options, index):
    compare(lambda T, w: module(T).embedding(T.tensor(index, dtype=T.int64), w, **options), numbers((5, 3)), second=not options.get("scale_grad_by_freq"))
    compare(lambda T, w: module(T).embedding(T.tensor(index, dtype=T.int32), w, **options), numbers((5, 3)), second=False)


def test_embedding_bounds_norms():
    def call(T, w, **options):
        table = w.detach().clone()
        return module(T).embedding(T.tensor([[0, 2], [2, 1]]), table, **options), table

    for options in ({"max_norm": 1.0}, {"max_norm": 2.5, "norm_type": 1.0}, {"max_norm": 100.0}):
        compare(lambda T, w: call(T, w, **options), numbers((5, 3)), grad=False)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}])
def test_embedding_bag(mode, options):
    call = lambda T, w, *index, **more: module(T).embedding_bag(T.tensor(index[0]), w, *map(T.tensor, index[1:]), mode=mode, **options, **more)
    table = numbers((5, 3))
    for index in (([[0, 2, 1], [4, 4, 1]],), ([0, 2, 1, 4, 4], [0, 2, 2]), ([1, 1, 3], [0, 2]), ([0, 2, 1], [0])):
        compare(lambda T, w: call(T, w, *index), table, names=False, second=False)
    compare(lambda T, w: call(T, w, [0, 2, 1, 4], [0, 1, 4], include_last_offset=True), table, names=False, second=False)
    if mode == "sum":
        compare(lambda T, w, s: call(T, w, [[0, 2], [1, 1]], per_sample_weights=s), table, numbers((2, 2), seed=4), names=False, second=False)
        compare(lambda T, w, s: call(T, w, [0, 2, 1], [0, 2], per_sample_weights=s), table, numbers(3, seed=4), names=False, second=False)


def reference(T, q, k, v, mask=None, is_causal=False, scale=None):
    """Attention by its definition, which has derivatives of every order in torch."""
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        mask = T.ones(*scores.shape[-2:], dtype=T.bool).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == T.bool else scores + mask
    return scores.softmax(-1) @ v


SHAPES = [((3, 4), (5, 4), (5, 2)), ((2, 3, 4), (2, 3, 4), (2, 3, 4)), ((2, 2, 3, 4), (2, 2, 6, 4), (2, 2, 6, 4)), ((2, 1, 3, 4), (1, 2, 5, 4), (5, 4))]


def attention(T, *arguments, **options):
    if T is torch:
        return reference(T, *arguments, **options)
    return fgF.scaled_dot_product_attention(*arguments, **options)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.7}])
def test_attention(shapes, options):
    tensors = [numbers(shape, seed=n) for n, shape in enumerate(shapes)]
    compare(lambda T, *x: attention(T, *x, **options), *tensors, names=False, scale=10)
    compare(lambda T, *x: module(T).scaled_dot_product_attention(*x, **options), *tensors, names=False, second=False, scale=10)


@pytest.mark.parametrize("shapes", SHAPES)
def test_attention_with_masks(shapes):
    tensors = [numbers(shape, seed=n) for n, shape in enumerate(shapes)]
    queries, keys = shapes[0][-2], shapes[1][-2]
    for shape in ((queries, keys), (1, keys), (keys,), (queries, 1)):
        mask = numbers(shape, seed=8)
        compare(lambda T, q, k, v, m: attention(T, q, k, v, m), *tensors, mask, names=False, scale=10)
        allowed = mask > -1
        allowed[..., 0] = True
        compare(lambda T, q, k, v: attention(T, q, k, v, T.tensor(allowed)), *tensors, names=False, scale=10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_attention_of_halves_with_dropout_is_rounded_once(dtype):
    for T in (fg, torch):
        q, k, v = (T.tensor(8 * numbers((2, 6, 8), seed=n)).to(getattr(T, dtype)).requires_grad_() for n in range(3))
        found = []
        for wide in (False, True):
            T.manual_seed(1)
            given = [t.float() if wide else t for t in (q, k, v)]
            y = module(T).scaled_dot_product_attention(*given, dropout_p=0.5)
            found.append((y.to(q.dtype), *T.autograd.grad(y.float().sin().sum(), (q, k, v))))
        (y, *gradients), (expected, *singles) = found
        assert T.equal(y, expected)
        for half, single in zip(gradients, singles):
            bound = 0.006 if dtype == "float16" else 0.045
            assert (half.double() - single.double()).abs().max() <= bound * single.double().abs().max()


def test_statistics_beside_a_normalisation_have_no_history():
    x = numbers((4, 3), seed=1)
    for T in (fg, torch):
        leaf, ones = T.tensor(x, requires_grad=True), T.ones(3, dtype=T.float64)
        found = T.native_batch_norm(leaf, ones, ones, ones.clone(), ones.clone(), True, 0.5, 1e-5)
        assert [t.requires_grad for t in found] == [True, False, False]


@pytest.mark.parametrize("mask", [None, np.ones((3, 0)), np.ones((3, 0), bool)])
def test_attention_over_no_keys(mask):
    q, k, v = (numbers(shape, seed=n) for n, shape in enumerate([(2, 3, 4), (2, 0, 4), (2, 0, 5)]))
    given = {} if mask is None else {"attn_mask": mask}
    compare(
        lambda T, *x: module(T).scaled_dot_product_attention(*x, **{name: T.tensor(m) for name, m in given.items()}),
        q,
        k,
        v,
        names=False,
        second=False,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_of_attention_and_bags(dtype):
    q, k, v = (numbers((2, 3, 4), seed=n) for n in range(3))
    for of_mask in (dtype, "float32"):
        compare(lambda T: module(T).scaled_dot_product_attention(*(half(T, t, dtype) for t in (q, k, v)), half(T, q[0, :, :3], of_mask)), grad=False)
    index, weights = [[0, 1, 2, 1], [2, 2, 0, 1]], numbers((2, 4), seed=4)
    for mode in ("sum", "mean", "max"):
        compare(lambda T: module(T).embedding_bag(T.tensor(index), half(T, q[0], dtype), mode=mode), grad=False)
    compare(lambda T: module(T).embedding_bag(T.tensor(index), half(T, q[0], dtype), mode="sum", per_sample_weights=half(T, weights, dtype)), grad=False)


def test_attention_without_keys():
    q, k, v = (numbers((2, 3, 4), seed=n) for n in range(3))
    none = np.array([[True, False, True], [False, False, False], [True, True, True]])
    for T in (fg, torch):
        y = module(T).scaled_dot_product_attention(T.tensor(q), T.tensor(k), T.tensor(v), T.tensor(none))
        assert y[:, 1].tolist() == [[0.0] * 4] * 2
    compare(lambda T, q, k, v: module(T).scaled_dot_product_attention(q, k, v, T.tensor(none)), q, k, v, names=False, second=False, scale=10)
    low = np.where(none, 0.0, -math.inf)
    compare(lambda T, q, k, v: module(T).scaled_dot_product_attention(q, k, v, T.tensor(low)), q, k, v, names=False, second=False, scale=10)


def test_attention_of_many_queries_goes_by_blocks():
    q, k, v = (numbers((2, length, 8), seed=n).astype("float32") for n, length in enumerate((300, 700, 700)))
    mask = numbers((300, 700), seed=5).astype("float32")
    call = lambda T, q, k, v, m: module(T).scaled_dot_product_attention(q, k, v, m)
    compare(call, q, k, v, mask, names=False, second=False, scale=20)
    compare(lambda T, q, k, v: module(T).scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v, names=False, second=False, scale=20)


@pytest.mark.parametrize("lead", [(3, 8), (8, 1), (5,), (9, 10)])
def test_attention_of_many_heads_goes_by_parts(lead):
    """With a mask of their own or the same one for all, and heads of different numbers together."""
    q, k, v = (numbers((*lead, length, 4), seed=n).astype("float32") for n, length in enumerate((200, 520, 520)))
    call = lambda T, q, k, v, m: module(T).scaled_dot_product_attention(q, k, v, m)
    for shape in ((200, 520), (*lead, 1, 520), (*lead[:-1], 1, 1, 520)):
        mask = numbers(shape, seed=5).astype("float32")
        compare(call, q, k, v, mask, names=False, second=False, scale=20)
    compare(lambda T, q, k, v: module(T).scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v, names=False, second=False, scale=20)
    compare(lambda T, v: module(T).scaled_dot_product_attention(T.tensor(q), T.tensor(k), v), v, names=False, second=False, scale=20)


def test_grouped_heads():
    q, k, v = numbers((2, 6, 3, 4)), numbers((2, 2, 5, 4), seed=1), numbers((2, 3, 5, 4), seed=2)
    compare(lambda T, q, k, v: module(T).scaled_dot_product_attention(q, k, v, enable_gqa=True), q, k, v, names=False, second=False, scale=10)
    compare(lambda T, q, k: module(T).scaled_dot_product_attention(q, k, k, enable_gqa=True), q, k, names=False, second=False, scale=10)
    compare(lambda T, q, k: module(T).scaled_dot_product_attention(q[:, :5], k, k, enable_gqa=True), q, k)


@pytest.mark.parametrize("call", [
    lambda T, x: module(T).layer_norm(x, (3,)),
    lambda T, x: module(T).layer_norm(x, ()),
    lambda T, x: module(T).layer_norm(x, (4,), T.ones(3)),
    lambda T, x: module(T).layer_norm(x, (4,), None, T.ones(3)),
    lambda T, x: module(T).rms_norm(x, (3,)),
    lambda T, x: module(T).group_norm(x, 3),
    lambda T, x: module(T).group_norm(x[0, 0], 1),
    lambda T, x: module(T).group_norm(x[:1, :1, 0], 1),
    lambda T, x: module(T).group_norm(x, 2, T.ones(3)),
    lambda T, x: module(T).batch_norm(x, None, None),
    lambda T, x: module(T).batch_norm(x[:1, :, 0], None, None, training=True),
    lambda T, x: module(T).batch_norm(x, T.ones(3), T.ones(3)),
    lambda T, x: module(T).batch_norm(x, T.ones(4), T.ones(4), T.ones(3)),
    lambda T, x: module(T).instance_norm(x[:, :, :1]),
    lambda T, x: module(T).local_response_norm(x[0], 2),
    lambda T, x: module(T).embedding(T.tensor([0, 4]), x[0]),
    lambda T, x: module(T).embedding(T.tensor([0.0]), x[0]),
    lambda T, x: module(T).embedding(T.tensor([0]), x),
    lambda T, x: module(T).embedding_bag(T.tensor([0]), x[0]),
    lambda T, x: module(T).embedding_bag(T.tensor([[0]]), x[0], T.tensor([0])),
    lambda T, x: module(T).embedding_bag(T.tensor([0]), x[0], T.tensor([1])),
    lambda T, x: module(T).embedding_bag(T.tensor([0]), x[0], T.tensor([0, 3])),
    lambda T, x: module(T).embedding_bag(T.tensor([[0]]), x[0], mode="other"),
    lambda T, x: module(T).embedding_bag(T.tensor([[0]]), x[0], per_sample_weights=x[0]),
    lambda T, x: module(T).scaled_dot_product_attention(x, x, x.float()),
    lambda T, x: module(T).scaled_dot_product_attention(x, x[:, :, :2], x),
    lambda T, x: module(T).scaled_dot_product_attention(x, x, x[:, :2]),
    lambda T, x: module(T).scaled_dot_product_attention(x[0, 0], x, x),
    lambda T, x: module(T).scaled_dot_product_attention(x, x, x, T.ones(4, 4, dtype=T.bool), is_causal=True),
    lambda T, x: module(T).scaled_dot_product_attention(x, x, x, T.ones(3, 4, dtype=T.bool)),
])
def test_errors(call):
    compare(call, numbers((2, 4, 3)))


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}, {"masked": True}])
def test_attention_with_dropout(options):
    """With the same seed the weights that torch leaves out."""
    rng = np.random.default_rng(5)
    q, k, v = (rng.normal(size=(2, 3, n, 4)) for n in (5, 6, 6))
    mask = rng.random((5, 6)) < 0.8
    def call(T, q, k, v):
        T.manual_seed(3)
        named = {name: value for name, value in options.items() if name != "masked"}
        given = T.tensor(mask) if "masked" in options else None
        return module(T).scaled_dot_product_attention(q, k, v, given, 0.4, **named)
    compare(call, q, k, v, names=False, second=False, scale=20)


def test_what_is_not_implemented_says_so():
    x = fg.zeros(2, 3)
    for call in (
        lambda: fgF.embedding(fg.tensor([0]), x, sparse=True),
        lambda: fgF.embedding_bag(fg.tensor([[0]]), x, sparse=True),
        lambda: fgF.embedding_bag(fg.tensor([[0]]), x, mode="mean", per_sample_weights=fg.ones(1, 1)),
    ):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize("call", [
    lambda T, x: module(T).layer_norm(x, (4,)),
    lambda T, x: module(T).rms_norm(x, (4,)),
    lambda T, x: module(T).group_norm(x, 2),
    lambda T, x: module(T).batch_norm(x, None, None, training=True),
    lambda T, x: module(T).scaled_dot_product_attention(x, x * x, x, is_causal=True),
    lambda T, x: module(T).embedding(T.tensor([0, 1]), x),
])
def test_forward_mode_and_vmap(call):
    x, v = numbers((3, 3, 4)), numbers((3, 4), seed=1)
    rows = torch.stack([call(torch, row) for row in torch.tensor(x)])
    same(fg.vmap(lambda row: call(fg, row))(fg.tensor(x)), rows, 10)
    ours = fg.func.jvp(lambda x: call(fg, x), (fg.tensor(x[0]),), (fg.tensor(v),))[1]
    one = lambda x: call(torch, x) if call.__code__.co_names[1] != "scaled_dot_product_attention" else reference(torch, x, x * x, x, is_causal=True)
    same(ours, torch.func.jvp(one, (torch.tensor(x[0]),), (torch.tensor(v),))[1], 10)


def heads_of_attention(T, rank, **options):
    """The arguments of an attention of 2 heads on 4 features, and the call."""
    rng = np.random.default_rng(3)
    draw = lambda *shape: T.tensor(rng.uniform(-1, 1, size=shape))
    lead = (2,) if rank == 3 else ()
    q, k, v = draw(3, *lead, 4), draw(5, *lead, 4), draw(5, *lead, 4)
    weights = dict(in_proj_weight=draw(12, 4), in_proj_bias=draw(12), out_proj_weight=draw(4, 4), out_proj_bias=draw(4))
    bias = dict(bias_k=draw(1, 1, 4), bias_v=draw(1, 1, 4)) if options.pop("with_bias", False) else dict(bias_k=None, bias_v=None)
    if options.pop("separate", False):
        weights["in_proj_weight"] = None
        options |= dict(use_separate_proj_weight=True, q_proj_weight=draw(4, 4), k_proj_weight=draw(4, 4), v_proj_weight=draw(4, 4))
    if mask := options.pop("mask", None):
        options["attn_mask"] = {"bool": T.ones(3, 5, dtype=T.bool).triu(2), "float": draw(3, 5), "heads": draw(4, 3, 5)}[mask]
    if options.pop("padded", False):
        options["key_padding_mask"] = T.arange(5).expand(*lead, 5) > 3
    options = dict(add_zero_attn=False, dropout_p=0.0) | options
    leaves = [t.requires_grad_() for t in (q, k, v, *weights.values(), *bias.values()) if t is not None]
    found = module(T).multi_head_attention_forward(q, k, v, 4, 2, **weights, **bias, **options)
    total = sum((t * t * T.linspace(1, 2, t.numel(), dtype=t.dtype).reshape(t.shape)).sum() for t in found if t is not None)
    return found, T.autograd.grad(total, leaves, allow_unused=True)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("options", [
    {}, {"need_weights": False}, {"average_attn_weights": False}, {"with_bias": True}, {"add_zero_attn": True}, {"separate": True},
    {"mask": "bool"}, {"mask": "float"}, {"padded": True}, {"padded": True, "mask": "bool", "with_bias": True, "add_zero_attn": True},
    {"padded": True, "mask": "float", "need_weights": False},
])
def test_attention_of_heads(rank, options):
    ours, theirs = heads_of_attention(fg, rank, **options), heads_of_attention(torch, rank, **options)
    for a, b in zip([*ours[0], *ours[1]], [*theirs[0], *theirs[1]]):
        if b is None:
            assert a is None
        else:
            same(a, b, 100)


def test_attention_of_heads_with_a_mask_each():
    ours, theirs = heads_of_attention(fg, 3, mask="heads"), heads_of_attention(torch, 3, mask="heads")
    same(ours[0][0], theirs[0][0])
    for wrong in ({"is_causal": True}, {"dropout_p": 0.0, "attn_mask": 1}):
        for T in (fg, torch):
            with pytest.raises((RuntimeError, AttributeError)):
                heads_of_attention(T, 3, **wrong)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_triplets_by_any_distance(swap, reduction):
    tensors = [numbers((4, 3), seed=n) for n in range(3)]
    for distance in (None, lambda x, y: (x - y).abs().sum(-1)):
        compare(lambda T, *x: module(T).triplet_margin_with_distance_loss(*x, distance_function=distance, swap=swap, reduction=reduction), *tensors, names=False)
    compare(lambda T, *x: module(T).triplet_margin_with_distance_loss(*x, margin=0.0), *tensors)
    compare(lambda T, *x: module(T).triplet_margin_with_distance_loss(*x, reduction="other"), *tensors)
    compare(lambda T, a, p, n: module(T).triplet_margin_with_distance_loss(a, p, n[0]), *tensors)


def test_statistics_of_groups_have_gradients():
    """Those of layers have none in both."""
    x, w, b = numbers((2, 4, 3)), numbers((4,), seed=1), numbers((4,), seed=2)
    for parameters in ((w, b), ()):
        given = lambda rest: rest or (None, None)
        compare(lambda T, x, *rest: T.native_group_norm(x, *given(rest), 2, 4, 3, 2, 0.1), x, *parameters, names=False, scale=SCALE)

    def tangents(T):
        f = lambda x: T.native_group_norm(x, None, None, 2, 4, 3, 2, 0.1)
        return T.func.jvp(f, (T.tensor(x),), (T.tensor(numbers(x.shape, seed=3)),))

    for ours, theirs in zip(tangents(fg), tangents(torch)):
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("outputs", [(), (2,), (2, 3)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_of_a_linear_map(outputs, reduction):
    x, weight, bias = numbers((4, 3)), numbers((5, *outputs, 3), seed=1), numbers((5, *outputs), seed=2)
    target = np.arange(4 * math.prod(outputs)).reshape(4, *outputs) % 5
    call = lambda T, x, w, b, t, **options: module(T).linear_cross_entropy(x, w, t, linear_bias=b, reduction=reduction, **options)
    compare(lambda *a: call(*a), x, weight, bias, target, names=False)
    compare(lambda *a: call(*a, ignore_index=2, label_smoothing=0.1), x, weight, bias, target, names=False)
    compare(lambda T, x, w, t: module(T).linear_cross_entropy(x, w, t.softmax(1), reduction=reduction), x, weight, numbers((4, 5, *outputs)), names=False)
    for wrong in ((x[:, :2], weight, bias), (x[None], weight, bias), (x, weight[0], bias), (x, weight, bias[0]), (x[0], weight, bias)):
        if wrong[0].ndim > 1 or outputs:
            compare(call, *wrong, target)
    with pytest.raises(NotImplementedError, match="options"):
        fgF.linear_cross_entropy(fg.tensor(x), fg.tensor(weight), fg.tensor(target), options=object())
