"""Reductions, order statistics and scans."""

import ferrograd as fg

#: Functions that are not element-wise, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "nansum": lambda x: x.nansum(1) ** 2,
    "nanmean": lambda x: x.nanmean(0) ** 2,
    "var_mean": lambda x: fg.var_mean(x, 1)[0] * fg.var_mean(x, 1)[1],
    "std_mean": lambda x: fg.std_mean(x, 1)[0] * fg.std_mean(x, 1)[1],
    "aminmax": lambda x: x.aminmax(dim=1).max * x.aminmax(dim=1).min,
    "sort": lambda x: x.sort(1).values ** 2,
    "msort": lambda x: x.msort() ** 2,
    "topk": lambda x: x.topk(2, 0).values ** 2,
    "kthvalue": lambda x: x.kthvalue(2, 1).values ** 2,
    "median": lambda x: x.median(1).values ** 2,
    "nanmedian": lambda x: x.nanmedian() ** 2,
    "mode": lambda x: x.mode(1).values ** 2,
    "cumsum": lambda x: x.cumsum(0) ** 2,
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cummax": lambda x: x.cummax(1).values ** 2,
    "cummin": lambda x: x.cummin(0).values ** 2,
    "linalg.vector_norm": lambda x: fg.linalg.vector_norm(x, 3, 1),
    "linalg.matrix_norm": lambda x: fg.linalg.matrix_norm(x, 1),
    "linalg.norm": lambda x: fg.linalg.norm(x, dim=0),
    "norm": lambda x: x.norm(1.5, 1),
    "dist": lambda x: x.dist(x * x[0], 3),
    "renorm": lambda x: x.renorm(2, 0, 1.0),
    "cdist": lambda x: fg.cdist(x, x[:2] * 2 + 1, 3.0),
    "pdist": lambda x: fg.pdist(x, 2),
    "quantile": lambda x: x.quantile(0.3, 1) ** 2,
    "nanquantile": lambda x: x.nanquantile(fg.tensor([0.1, 0.7], dtype=fg.float64), 0) ** 2,
    "cov": lambda x: x.cov(),
    "corrcoef": lambda x: x.corrcoef(),
    "trapezoid": lambda x: fg.trapezoid(x, x * x, dim=0),
    "cumulative_trapezoid": lambda x: fg.cumulative_trapezoid(x * x, dx=0.5),
    "diff": lambda x: x.diff(2, 1, x[:, :1], x) ** 2,
}
#: Functions without a derivative.
WITHOUT_DERIVATIVE = {
    "count_nonzero", "argsort", "unique", "unique_consecutive", "histc", "histogram", "bincount", "searchsorted", "bucketize",
}
#: What follows the tensor in calls of those that have in-place forms.
ARGUMENTS = {"cumsum": (1,), "cumprod": (0,), "renorm": (2, 0, 0.5)}
