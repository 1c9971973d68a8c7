"""Reductions, products, views and copies."""

import ferrograd as fg

#: Functions that are not element-wise, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean(0, keepdim=True),
    "prod": lambda x: x.prod(1),
    "var": lambda x: x.var(1),
    "std": lambda x: x.std(0),
    "logsumexp": lambda x: x.logsumexp((0, 1)),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(0),
    "max": lambda x: x.max(1).values,
    "min": lambda x: x.min(),
    "amax": lambda x: x.amax(0),
    "amin": lambda x: x.amin((0, 1)),
    "matmul": lambda x: x @ x.t(),
    "mm": lambda x: x.t().mm(x),
    "bmm": lambda x: x.reshape(3, 2, 2).bmm(x.reshape(3, 2, 2)),
    "mv": lambda x: x.mv(x[0]),
    "dot": lambda x: x[0].dot(x[1]),
    "cat": lambda x: fg.cat([x, x[:1] * 2]),
    "stack": lambda x: fg.stack([x, x * x], 1),
    "clone": lambda x: x.clone() * x,
    "contiguous": lambda x: x.t().contiguous() * 2,
    "to": lambda x: x.to(fg.float64) * x,
    "reshape": lambda x: x.t().reshape(2, 6) ** 2,
    "view": lambda x: x.view(2, -1) ** 2,
    "flatten": lambda x: x.flatten() ** 2,
    "permute": lambda x: x.permute(1, 0) ** 2,
    "transpose": lambda x: x.transpose(0, 1) ** 2,
    "t": lambda x: x.t() ** 2,
    "expand": lambda x: x[:, :1].expand(3, 5) ** 2,
    "squeeze": lambda x: x[:1].squeeze(0) ** 2,
    "unsqueeze": lambda x: x.unsqueeze(1) ** 2,
    "select": lambda x: x.select(1, 2) ** 2,
    "narrow": lambda x: x.narrow(1, 1, 2) ** 2,
    "unbind": lambda x: x.unbind(1)[1] ** 2,
    "flip": lambda x: x.flip(0, 1) * x,
    "true_divide": lambda x: x.true_divide(x + 9),
    "clamp": lambda x: x.clamp(-1.03, 1.04) ** 2,
}
#: Functions without a derivative: indices, truths, tensors from nothing, and the in-place forms tested below.
WITHOUT_DERIVATIVE = {
    "bitwise_not", "argmax", "argmin", "all", "any", "zeros", "zeros_like", "ones", "ones_like", "empty", "empty_like", "full", "full_like",
    "arange", "linspace", "eye",
}
#: What follows the tensor in the in-place forms.
ARGUMENTS = {"clamp": (0.6, 0.9), "true_divide": (1.25,)}
