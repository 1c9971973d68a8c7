"""Views, copies in another arrangement, selections by indices and masks, and tensors from sizes."""

import numpy as np

import ferrograd as fg

ROWS = fg.tensor([2, 0, 2])
COLUMNS = fg.tensor([[0, 3, 3, 1], [2, 2, 0, 1]])
#: The index of `COLUMNS` for the second dimension, and rows for the first.
DOWN = fg.tensor([[0, 2, 2, 1], [2, 2, 0, 1]])
MASK = fg.tensor([[True, False, True, False], [False, False, True, True], [True, True, False, False]])

#: NumPy's formula for the element-wise one.
NUMPY = {"masked_fill": lambda x, mask, value: np.where(mask != 0, value, x)}

#: Functions that are not element-wise, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "view_as": lambda x: x.view_as(fg.zeros(2, 6)) ** 2,
    "reshape_as": lambda x: x.t().reshape_as(fg.zeros(2, 6)) ** 2,
    "unflatten": lambda x: x.unflatten(1, (2, -1)) ** 2,
    "ravel": lambda x: x.t().ravel() ** 2,
    "expand_as": lambda x: x[:, :1].expand_as(fg.zeros(3, 5)) ** 2,
    "broadcast_to": lambda x: fg.broadcast_to(x[:1], (2, 3, 4)) ** 2,
    "broadcast_tensors": lambda x: fg.broadcast_tensors(x[0], x[:, :1])[1] ** 2,
    "swapaxes": lambda x: x.swapaxes(0, 1) ** 2,
    "swapdims": lambda x: x.swapdims(0, 1) ** 2,
    "adjoint": lambda x: x.adjoint() ** 2,
    "movedim": lambda x: x.movedim((0, 1), (1, 0)) ** 2,
    "moveaxis": lambda x: x.moveaxis(0, 1) ** 2,
    "narrow_copy": lambda x: x.narrow_copy(1, 1, 2) ** 2,
    "diagonal": lambda x: x.diagonal(1) ** 2,
    "unfold": lambda x: x.unfold(1, 2, 1) ** 2,
    "as_strided": lambda x: (x * x).as_strided((2, 3), (2, 1), 1) ** 2,
    "split": lambda x: x.split(2)[1] * x.split([1, 3], 1)[0][0],
    "split_with_sizes": lambda x: x.split_with_sizes([1, 2])[1] ** 2,
    "unsafe_split": lambda x: x.unsafe_split(2)[0] ** 2,
    "unsafe_split_with_sizes": lambda x: fg.unsafe_split_with_sizes(x, [1, 2])[1] ** 2,
    "unsafe_chunk": lambda x: x.unsafe_chunk(2, 1)[1] ** 2,
    "chunk": lambda x: x.chunk(2, 1)[1] * x.chunk(2, 1)[0],
    "tensor_split": lambda x: x.tensor_split(3, 1)[0] ** 2,
    "hsplit": lambda x: x.hsplit(2)[1] ** 2,
    "vsplit": lambda x: x.vsplit((1,))[1] ** 2,
    "dsplit": lambda x: x.unsqueeze(0).dsplit(2)[1] ** 2,
    "fliplr": lambda x: x.fliplr() * x,
    "flipud": lambda x: x.flipud() * x,
    "roll": lambda x: x.roll((1, -1), (0, 1)) * x + x.roll(2) * x,
    "rot90": lambda x: x.rot90() * x.rot90(3) + x.rot90(2).t(),
    "repeat": lambda x: x.repeat(2, 1, 2) ** 2,
    "tile": lambda x: x.tile(2) ** 2,
    "repeat_interleave": lambda x: x.repeat_interleave(2, 0) * x.repeat_interleave(ROWS, 0).sum(),
    "concat": lambda x: fg.concat([x, x[:1] * 2]),
    "concatenate": lambda x: fg.concatenate([x, x[:1] * x[1:2]]),
    "hstack": lambda x: fg.hstack([x, x[:, :1] ** 2]),
    "vstack": lambda x: fg.vstack([x[0], x[1] ** 2]),
    "row_stack": lambda x: fg.row_stack([x[0], x[1] ** 2]),
    "dstack": lambda x: fg.dstack([x, x * x]),
    "column_stack": lambda x: fg.column_stack([x[:, 0], x**2]),
    "atleast_1d": lambda x: fg.atleast_1d(x[0, 0]) ** 2,
    "atleast_2d": lambda x: fg.atleast_2d(x[0]) ** 2,
    "atleast_3d": lambda x: fg.atleast_3d(x) ** 2,
    "meshgrid": lambda x: fg.meshgrid(x[0], x[1], indexing="xy")[1] ** 2,
    "cartesian_prod": lambda x: fg.cartesian_prod(x[0], x[1]) ** 2,
    "combinations": lambda x: fg.combinations(x[0], 3) ** 2,
    "block_diag": lambda x: fg.block_diag(x, x[0] ** 2, x[1, 1]),
    "diag": lambda x: x.diag(1).diag(-1) ** 2,
    "diag_embed": lambda x: x.diag_embed(1, 0, 2) ** 2,
    "diagflat": lambda x: x[:2].diagflat() ** 2,
    "trace": lambda x: (x @ x.t()).trace(),
    "tril": lambda x: x.tril() * x,
    "triu": lambda x: x.triu(1) * x,
    "select_scatter": lambda x: x.select_scatter(x[0] ** 2, 0, 1) * x,
    "slice_scatter": lambda x: x.slice_scatter(x[:, :2] ** 2, 1, 0, None, 2) * x,
    "diagonal_scatter": lambda x: x.diagonal_scatter(x[0, :3] ** 2) * x,
    "as_strided_scatter": lambda x: (x * 1).as_strided_scatter(x[:2, :2] ** 2, (2, 2), (4, 2)) * x,
    "index_select": lambda x: x.index_select(0, ROWS) ** 2,
    "index_add": lambda x: x.index_add(0, ROWS, x * x, alpha=3) ** 2,
    "index_copy": lambda x: x.index_copy(1, ROWS[:2], x[:, :2] ** 2) ** 2,
    "index_fill": lambda x: x.index_fill(1, ROWS[:2], x[0, 0]) ** 2,
    "index_reduce": lambda x: x.index_reduce(0, ROWS, x.flip(1) * 2, "prod") + x.index_reduce(0, ROWS, x * x, "mean"),
    "gather": lambda x: x.gather(1, COLUMNS) ** 2,
    "take_along_dim": lambda x: x.take_along_dim(COLUMNS[:, :1].t(), 1) ** 2,
    "scatter": lambda x: x.scatter(0, DOWN[:, ::2], x * x) ** 2,
    "scatter_add": lambda x: x.scatter_add(0, DOWN, x[:2] ** 2) ** 2,
    "scatter_reduce": lambda x: x.scatter_reduce(0, DOWN, x[:2] * x[1:], "amax") * x.scatter_reduce(
        0, DOWN, x[1:] + 1.5, "prod", include_self=False
    ),
    "take": lambda x: x.t().take(fg.tensor([0, -1, 5, 5])) ** 2,
    "put": lambda x: x.t().put(fg.tensor([0, -1]), x[0, :2] ** 2) ** 2,
    "index_put": lambda x: x.index_put((ROWS, ROWS), x[:, 0] ** 2, accumulate=True) ** 2,
    "masked_select": lambda x: x.masked_select(MASK) ** 2,
    "masked_scatter": lambda x: x.masked_scatter(MASK, x**2) * x,
    "fill": lambda x: x.fill(x[0, 0]) * x,
    "sum_to_size": lambda x: x.sum_to_size(3, 1) * x.sum_to_size(4),
    "vander": lambda x: fg.vander(x[0], 3),
    "linalg.vander": lambda x: fg.linalg.vander(x, N=3),
    "linalg.diagonal": lambda x: fg.linalg.diagonal(x, offset=1) ** 2,
    "as_strided_copy": lambda x: fg.as_strided_copy(x * x, (2, 3), (2, 1), 1) ** 2,
    "diagonal_copy": lambda x: fg.diagonal_copy(x, 1) ** 2,
    "expand_copy": lambda x: fg.expand_copy(x[:, :1], (2, 3, 5)) ** 2,
    "select_copy": lambda x: fg.select_copy(x, 1, -1) ** 2,
    "split_copy": lambda x: fg.split_copy(x, 2)[1] ** 2,
    "split_with_sizes_copy": lambda x: fg.split_with_sizes_copy(x, [1, 2])[1] ** 2,
    "t_copy": lambda x: fg.t_copy(x) ** 2,
    "unbind_copy": lambda x: fg.unbind_copy(x, 1)[2] ** 2,
    "unfold_copy": lambda x: fg.unfold_copy(x, 1, 2, 1) ** 2,
}
#: Functions without a derivative: indices, truths, tensors from nothing, and the in-place forms.
WITHOUT_DERIVATIVE = {
    "nonzero", "argwhere", "tril_indices", "triu_indices", "new_zeros", "new_ones", "new_empty", "new_full",
    "new_empty_strided", "empty_strided", "empty_permuted", "range", "logspace", "hann_window", "hamming_window",
    "blackman_window", "bartlett_window", "kaiser_window",
    "nonzero_static", "scalar_tensor",
}

FEW = fg.tensor([1, 1])
SOURCE = fg.tensor([[2.0, 3.0], [5.0, 7.0]], dtype=fg.float64)
PLACES = fg.tensor([[1, 0], [1, 1]])
#: What the in-place forms take beside the tensor.
ARGUMENTS = {
    "unsqueeze": (0,),
    "transpose": (0, 1),
    "swapaxes": (0, 1),
    "swapdims": (0, 1),
    "as_strided": ((2,), (2,)),
    "fill": (0.5,),
    "tril": (-1,),
    "index_add": (0, FEW, SOURCE),
    "index_copy": (0, FEW, SOURCE),
    "index_fill": (0, FEW, 0.5),
    "index_reduce": (0, FEW, SOURCE, "amax"),
    "index_put": ((FEW,), SOURCE[0]),
    "scatter": (0, PLACES, SOURCE),
    "scatter_add": (0, PLACES, SOURCE),
    "scatter_reduce": (0, PLACES, SOURCE, "prod"),
    "put": (FEW, SOURCE[0]),
    "masked_fill": (PLACES == 1, 0.5),
    "masked_scatter": (PLACES == 1, SOURCE),
}
