"""Functions of `nn.functional` that call back to Python or give several results, in terms of the others."""

from collections.abc import Callable

from ... import _ferrograd
from ..._ferrograd import Tensor

_nn = _ferrograd._nn


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, margin + d(a, p) - d(a, n))` for a distance `d` of two tensors, `pairwise_distance` where none is given; and
    the mean or sum of it. With `swap` the distance of the negative is the lesser of those from the anchor and from the
    positive.

    Raises ValueError for another reduction and a margin that is not positive, RuntimeError for tensors of different ranks.

    >>> import ferrograd
    >>> a, p, n = ferrograd.tensor([[0.0]]), ferrograd.tensor([[2.0]]), ferrograd.tensor([[1.5]])
    >>> triplet_margin_with_distance_loss(a, p, n, distance_function=lambda x, y: (x - y).abs().sum(-1))
    tensor(1.5000)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"triplet_margin_with_distance_loss: reduction must be 'none', 'mean' or 'sum', got '{reduction}'")
    if margin <= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin must be greater than 0, got {margin}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "triplet_margin_with_distance_loss: the anchor, positive, and negative tensors are expected to have the same "
            f"number of dimensions, but got {anchor.dim()}D, {positive.dim()}D and {negative.dim()}D"
        )
    distance = distance_function or _nn.pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    losses = (margin + near - far).clamp_min(0)
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: object = None,
) -> Tensor:
    """`cross_entropy` of `linear(input, linear_weight, linear_bias)`, with its other arguments. A weight of more than two
    dimensions, `(C, d1, ..., D)`, gives a loss for each of `d1, ...`, as does a bias `(C, d1, ...)`.

    The input is `(N, D)` or `(D)`. `ignore_index` is -100 where it is not given, and not for targets that are probabilities.

    Raises RuntimeError for sizes that do not fit, NotImplementedError for `options`, by which torch computes in pieces.

    >>> import ferrograd
    >>> x, weight = ferrograd.tensor([[1.0, 0.0]]), ferrograd.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> linear_cross_entropy(x, weight, ferrograd.tensor([1]))
    tensor(0.6931)
    """
    if options is not None:
        raise NotImplementedError("linear_cross_entropy: options are not implemented: all logits are computed at once")
    if input.dim() not in (1, 2):
        raise RuntimeError(f"linear_cross_entropy: expected an input of one or two dimensions, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"linear_cross_entropy: expected a linear_weight of at least two dimensions, got {linear_weight.dim()}")
    if input.shape[-1] != linear_weight.shape[-1]:
        sizes = f"{input.shape[-1]} and {linear_weight.shape[-1]}"
        raise RuntimeError(f"linear_cross_entropy: the last sizes of input and linear_weight must agree, got {sizes}")
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != outputs:
        raise RuntimeError(f"linear_cross_entropy: expected a linear_bias of shape {outputs}, got {tuple(linear_bias.shape)}")
    if len(outputs) > 1 and input.dim() == 1:
        raise RuntimeError(f"linear_cross_entropy: weights of shape {tuple(linear_weight.shape)} need a batched input")
    shape = (*input.shape[:-1], *outputs)
    if ignore_index is not None and tuple(target.shape) == shape:
        raise RuntimeError("linear_cross_entropy: ignore_index cannot be given where the target holds probabilities")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = _nn.linear(input, linear_weight.reshape(-1, input.shape[-1]), bias).reshape(shape)
    return _nn.cross_entropy(
        logits,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads: queries, keys and values are mapped, each head attends with its part of the features, and
    the heads' results, side by side, are mapped once more.

    Queries are `(L, N, E)` or `(L, E)`, keys and values `(S, N, ...)` or `(S, ...)`. The result is of the queries' shape; with
    `need_weights` the weights follow, `(N, L, S)` as the mean over the heads or `(N, num_heads, L, S)`, else None. Masks are
    truth values, True where a key takes no part, or numbers that are added: `key_padding_mask` `(N, S)` or `(S)`,
    `attn_mask` `(L, S)` or `(N * num_heads, L, S)`. `is_causal` says that `attn_mask` is the causal one.

    Raises RuntimeError or AssertionError for sizes that do not fit.

    >>> import ferrograd
    >>> x, weight = ferrograd.tensor([[1.0, 0.0], [0.0, 1.0]]), ferrograd.eye(2).repeat(3, 1)
    >>> y, weights = multi_head_attention_forward(
    ...     x, x, x, 2, 1, weight, None, None, None, False, 0.0, ferrograd.eye(2), None
    ... )
    >>> weights
    tensor([[0.6698, 0.3302],
            [0.3302, 0.6698]])
    """
    is_batched = _check_inputs(query, key, value, key_padding_mask)
    if is_causal and attn_mask is None:
        raise RuntimeError("multi_head_attention_forward: need attn_mask if specifying the is_causal hint")
    if not is_batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, features = query.shape
    _check_sizes(features, embed_dim_to_check, num_heads, key, value, use_separate_proj_weight)
    padding = _added("key_padding_mask", key_padding_mask, query.dtype)
    is_causal = is_causal and key_padding_mask is None and not need_weights
    mask = None if is_causal else _added("attn_mask", attn_mask, query.dtype)
    if mask is not None:
        mask = _mask_of_heads(mask, (length, key.shape[0]), batch * num_heads)

    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight.chunk(3)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = map(_nn.linear, (query, key, value), weights, biases)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("multi_head_attention_forward: bias_k and bias_v must be given together")
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("multi_head_attention_forward: bias cannot be added to static key or value")
        k, v = (_ferrograd.cat([t, bias.repeat(1, batch, 1)]) for t, bias in ((k, bias_k), (v, bias_v)))
        mask, padding = _longer(mask), _longer(padding)

    heads = lambda t: t.reshape(t.shape[0], batch * num_heads, features // num_heads).transpose(0, 1)
    q = heads(q)
    k = heads(k) if static_k is None else _static("static_k", static_k, q)
    v = heads(v) if static_v is None else _static("static_v", static_v, q)
    if add_zero_attn:
        k, v = (_ferrograd.cat([t, t.new_zeros(t.shape[0], 1, t.shape[2])], 1) for t in (k, v))
        mask, padding = _longer(mask), _longer(padding)
    if padding is not None:
        if padding.shape != (batch, k.shape[1]):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, k.shape[1])}, but got {tuple(padding.shape)}"
            )
        padding = padding.view(batch, 1, 1, -1).expand(-1, num_heads, -1, -1).reshape(batch * num_heads, 1, -1)
        mask = padding if mask is None else mask + padding

    dropped = dropout_p if training else 0.0
    found, attention = _attend(q, k, v, mask, dropped, is_causal, need_weights)
    joined = found.transpose(0, 1).reshape(length * batch, features)
    output = _nn.linear(joined, out_proj_weight, out_proj_bias).view(length, batch, -1)
    if attention is not None:
        attention = attention.view(batch, num_heads, length, -1)
        attention = attention.mean(1) if average_attn_weights else attention
    if not is_batched:
        output, attention = output.squeeze(1), None if attention is None else attention.squeeze(0)
    return output, attention


def _attend(q, k, v, mask, dropped: float, is_causal: bool, need_weights: bool):
    """The heads' results, and their weights where they are wanted."""
    if not need_weights:
        mask = None if mask is None else mask.unsqueeze(0)
        parts = (t.unsqueeze(0) for t in (q, k, v))
        return _nn.scaled_dot_product_attention(*parts, mask, dropped, is_causal).squeeze(0), None
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(1, 2)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    if dropped > 0:
        if not hasattr(_nn, "dropout"):
            raise NotImplementedError("multi_head_attention_forward: dropout_p is not implemented")
        weights = _nn.dropout(weights, dropped)
    return weights @ v, weights


def _check_inputs(query, key, value, padding) -> bool:
    """True for a batch, False for one example; AssertionError for anything else."""
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor")
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(f"For a {rank}-D query expected {rank}-D key and value, got {key.dim()}-D and {value.dim()}-D")
    if padding is not None and padding.dim() != rank - 1:
        raise AssertionError(f"For a {rank}-D query expected a {rank - 1}-D key_padding_mask but found {padding.dim()}-D")
    return rank == 3


def _check_sizes(features: int, expected: int, num_heads: int, key, value, is_separate: bool) -> None:
    if features != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {features}")
    if num_heads < 1 or features % num_heads:
        raise AssertionError(f"embed_dim {features} not divisible by num_heads {num_heads}")
    agrees = key.shape[:2] == value.shape[:2] if is_separate else key.shape == value.shape
    if not agrees:
        raise AssertionError(f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")


def _added(name: str, mask: Tensor | None, dtype) -> Tensor | None:
    """A mask as numbers to add: minus infinity where a key takes no part."""
    if mask is None or mask.dtype.is_floating_point:
        return mask
    if mask.dtype != _ferrograd.bool:
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    return _ferrograd.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


def _mask_of_heads(mask: Tensor, sizes: tuple[int, int], heads: int) -> Tensor:
    if mask.dim() not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {mask.dim()} is not supported")
    expected = sizes if mask.dim() == 2 else (heads, *sizes)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {tuple(mask.shape)}, but should be {expected}.")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _longer(mask: Tensor | None) -> Tensor | None:
    """A mask for one more key, which takes part."""
    return None if mask is None else _ferrograd.cat([mask, mask.new_zeros(*mask.shape[:-1], 1)], -1)


def _static(name: str, given: Tensor, q: Tensor) -> Tensor:
    """Keys or values that are given as the heads have them."""
    if given.shape[0] != q.shape[0] or given.shape[2] != q.shape[2]:
        expected = (q.shape[0], given.shape[1], q.shape[2])
        raise AssertionError(f"expecting {name} of shape {expected}, but got {tuple(given.shape)}")
    return given
