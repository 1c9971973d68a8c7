"""How every operation of the table is called on tensors of about n elements: an expression of torch's API for each.

Element-wise operations are called by what the table says of them: their operands, and the numbers that they are defined for.
The expressions read the values of `Values`; those that are differentiable lead to the gradient.
"""

import math

#: Rows and columns, and the sides of images and of batches of matrices, by the number of elements.
SIZES = {
    1: {"matrix": (1, 1), "image": (1, 1, 1, 1), "volume": (1, 1, 1, 1, 1), "batch": (1, 1, 1)},
    1_000: {"matrix": (20, 50), "image": (1, 10, 10, 10), "volume": (1, 1, 10, 10, 10), "batch": (10, 10, 10)},
    1_000_000: {"matrix": (1000, 1000), "image": (10, 10, 100, 100), "volume": (10, 10, 20, 20, 25), "batch": (100, 100, 100)},
}


class Values(dict):
    """The values that expressions name, made when they are first asked for."""

    def __init__(self, T, n: int, transposed: bool, requires_grad: bool, domain: list | None = None, dtype: str = "float32"):
        super().__init__(T=T, F=T.nn.functional)
        self.dtype = getattr(T, dtype)
        self.T, self.sizes, self.transposed, self.requires_grad = T, SIZES[n], transposed, requires_grad
        self.domain = domain
        self.rows, self.columns = self.sizes["matrix"]
        self.leaves = []
        self.update(r=self.rows, c=self.columns, n=n)

    def __missing__(self, name: str):
        self[name] = getattr(self, "make_" + name)()
        return self[name]

    def numbers(self, shape, low=-1.0, high=1.0, seed=1.0):
        """Numbers between bounds in no order, in memory as the layout wants it, which require a gradient where one is wanted."""
        T, count = self.T, math.prod(shape)
        turned = self.transposed and len(shape) > 1
        shape = (*shape[:-2], shape[-1], shape[-2]) if turned else shape
        steps = T.arange(count, dtype=T.float64) * (0.754877666 * seed) + 0.31
        made = ((steps - steps.floor()) * (high - low) + low).to(self.dtype).reshape(shape)
        made = made.transpose(-1, -2) if turned else made
        if self.requires_grad:
            self.leaves.append(made.requires_grad_(True))
        return made

    def whole(self, shape, end: int):
        """Integers below a bound in no order."""
        T, count = self.T, math.prod(shape)
        return (T.arange(count) * 7919 % max(end, 1)).reshape(shape)

    def operand(self, n: int):
        """An operand of an element-wise operation, from the numbers that it is defined for."""
        return self.numbers(self.sizes["matrix"], *self.domain[n], 1.0 + n)

    def make_first(self):
        return self.operand(0)

    def make_second(self):
        return self.operand(1)

    def make_third(self):
        return self.operand(2)

    def make_x(self):
        return self.numbers(self.sizes["matrix"])

    def make_y(self):
        return self.numbers(self.sizes["matrix"], seed=2.0)

    def make_z(self):
        return self.numbers(self.sizes["matrix"], seed=3.0)

    def make_p(self):
        return self.numbers(self.sizes["matrix"], 0.05, 0.95)

    def make_q(self):
        return self.numbers(self.sizes["matrix"], 0.05, 0.95, 2.0)

    def make_row(self):
        return self.numbers((self.columns,))

    def make_column(self):
        return self.numbers((self.rows,))

    def make_w(self):
        return self.numbers((self.columns, self.columns), seed=2.0)

    def make_square(self):
        side = max(1, math.isqrt(self["n"]))
        return self.numbers((side, side))

    def make_v(self):
        return self.numbers((self["n"],))

    def make_u(self):
        return self.numbers((self["n"],), seed=2.0)

    def make_image(self):
        return self.numbers(self.sizes["image"])

    def make_volume(self):
        return self.numbers(self.sizes["volume"])

    def make_series(self):
        return self.numbers(self.sizes["batch"])

    def make_batch(self):
        return self.numbers(self.sizes["batch"])

    def make_other_batch(self):
        return self.numbers(self.sizes["batch"], seed=2.0)

    def make_channels(self):
        return self.sizes["image"][1]

    def make_kernel1(self):
        return self.numbers((self.sizes["batch"][1], self.sizes["batch"][1], 1))

    def make_kernel2(self):
        return self.numbers((self["channels"], self["channels"], 3, 3))

    def make_kernel3(self):
        channels = self.sizes["volume"][1]
        return self.numbers((channels, channels, 3, 3, 3))

    def make_grid(self):
        n, _, h, w = self.sizes["image"]
        return self.numbers((n, h, w, 2))

    def make_mask(self):
        return self.whole(self.sizes["matrix"], 3) == 0

    def make_integers(self):
        return self.whole(self.sizes["matrix"], 1000)

    def make_few(self):
        return self.whole(self.sizes["matrix"], 8) + 1

    def make_index(self):
        return self.whole(self.sizes["matrix"], self.columns)

    def make_places(self):
        return self.whole((self["n"],), self["n"])

    def make_row_numbers(self):
        return self.whole((self.rows,), self.rows)

    def make_classes(self):
        return self.whole((self.rows,), self.columns)

    def make_signs(self):
        return self.whole((self.rows,), 2) * 2 - 1

    def make_edges(self):
        return self.T.linspace(-1, 1, 100)


_POOLED = {"1d": "series", "2d": "image", "3d": "volume"}
#: In three dimensions the input must be larger than the windows.
_CUT = {"2d": "image", "3d": "(volume.expand(1, 1, 2, 2, 2) if n == 1 else volume)"}

#: By the name of the operation, without `nn.` and its kin.
CALLS = {
    # Reductions.
    **{name: f"T.{name}(x, 1)" for name in ("all", "any", "amax", "amin", "argmax", "argmin", "count_nonzero", "logsumexp")},
    **{name: f"T.{name}(x, 1)" for name in ("max", "mean", "median", "min", "mode", "nanmean", "nanmedian", "nansum", "prod")},
    **{name: f"T.{name}(x, 1)" for name in ("std", "std_mean", "sum", "var", "var_mean")},
    "aminmax": "T.aminmax(x, dim=1)",
    "kthvalue": "T.kthvalue(x, (c + 1) // 2, 1)",
    "quantile": "T.quantile(x, 0.3, 1)",
    "nanquantile": "T.nanquantile(x, 0.3, 1)",
    "norm": "T.norm(x, 2, 1)",
    "vector_norm": "T.linalg.vector_norm(x, 2, 1)",
    "matrix_norm": "T.linalg.matrix_norm(x)",
    "trace": "T.trace(x)",
    "sum_to_size": "x.sum_to_size(1, c)",
    # Scans and sorts.
    **{name: f"T.{name}(x, 1)" for name in ("cummax", "cummin", "cumprod", "cumsum", "logcumsumexp")},
    "sort": "T.sort(x, 1)",
    "argsort": "T.argsort(x, 1)",
    "msort": "T.msort(x)",
    "topk": "T.topk(x, 1 if n == 1 else 10, 1)",
    "unique": "T.unique(integers)",
    "unique_consecutive": "T.unique_consecutive(integers)",
    "diff": "T.diff(x)",
    "trapezoid": "T.trapezoid(x)",
    "cumulative_trapezoid": "T.cumulative_trapezoid(x)",
    "searchsorted": "T.searchsorted(edges, x)",
    "bucketize": "T.bucketize(x, edges)",
    "histc": "T.histc(x.detach(), 100, -1, 1)",
    "histogram": "T.histogram(x.detach(), edges)",
    "bincount": "T.bincount(places)",
    "isin": "T.isin(integers, T.arange(50))",
    # Views, and shapes.
    **{name: f"T.{name}(x)" for name in ("adjoint", "t", "squeeze", "ravel", "flatten", "atleast_1d", "atleast_2d", "atleast_3d")},
    **{name: f"T.{name}(x)" for name in ("conj", "real", "positive", "clone", "fliplr", "flipud", "rot90", "tril", "triu")},
    "as_strided": "T.as_strided(x, (c,), (1,))",
    "broadcast_to": "T.broadcast_to(row, (r, c))",
    "broadcast_tensors": "T.broadcast_tensors(x, row)",
    "chunk": "T.chunk(x, 2)",
    "unsafe_chunk": "T.unsafe_chunk(x, 2)",
    "contiguous": "x.contiguous()",
    "diagonal": "T.diagonal(x)",
    "dsplit": "T.dsplit(batch, 1)",
    "hsplit": "T.hsplit(x, 1)",
    "vsplit": "T.vsplit(x, 1)",
    "expand": "row.expand(r, c)",
    "expand_as": "row.expand_as(x)",
    "movedim": "T.movedim(x, 0, 1)",
    "moveaxis": "T.moveaxis(x, 0, 1)",
    "narrow": "T.narrow(x, 1, 0, c)",
    "narrow_copy": "T.narrow_copy(x, 1, 0, c)",
    "permute": "T.permute(batch, (2, 0, 1))",
    "reshape": "T.reshape(x, (-1,))",
    "reshape_as": "x.reshape_as(v)",
    "select": "T.select(x, 0, 0)",
    "split": "T.split(x, (r + 1) // 2)",
    "unsafe_split": "T.unsafe_split(x, (r + 1) // 2)",
    "split_with_sizes": "T.split_with_sizes(x, [r - r // 2, r // 2])",
    "unsafe_split_with_sizes": "T.unsafe_split_with_sizes(x, [r - r // 2, r // 2])",
    "swapaxes": "T.swapaxes(x, 0, 1)",
    "swapdims": "T.swapdims(x, 0, 1)",
    "tensor_split": "T.tensor_split(x, 2)",
    "transpose": "T.transpose(x, 0, 1)",
    "unbind": "T.unbind(series)",
    "unflatten": "T.unflatten(x, 1, (1, c))",
    "unsqueeze": "T.unsqueeze(x, 1)",
    "view": "v.view(r, c)",
    "view_as": "v.view_as(x)",
    "to": "x.to(T.float64)",
    # Copies of views.
    **{f"{name}_copy": f"T.{name}_copy(x)" for name in ("t", "squeeze", "diagonal")},
    "alias_copy": "T.alias_copy(x)",
    "slice_copy": "T.slice_copy(x, 0, 0, r, 2)",
    "view_copy": "T.view_copy(x, (c, r))",
    "transpose_copy": "T.transpose_copy(x, 0, 1)",
    "permute_copy": "T.permute_copy(batch, (2, 0, 1))",
    "as_strided_copy": "T.as_strided_copy(x, (c,), (1,))",
    "expand_copy": "T.expand_copy(row, (r, c))",
    "select_copy": "T.select_copy(x, 0, 0)",
    "split_copy": "T.split_copy(x, (r + 1) // 2)",
    "split_with_sizes_copy": "T.split_with_sizes_copy(x, [r - r // 2, r // 2])",
    "unbind_copy": "T.unbind_copy(series)",
    "unfold_copy": "T.unfold_copy(v, 0, 1, 1)",
    "unsqueeze_copy": "T.unsqueeze_copy(x, 1)",
    # Copies in another order, and joins.
    "flip": "T.flip(x, (0, 1))",
    "roll": "T.roll(x, 3, 1)",
    "repeat": "row.repeat(r, 1)",
    "tile": "T.tile(row, (r, 1))",
    "repeat_interleave": "T.repeat_interleave(row, r)",
    "block_diag": "T.block_diag(column, row)",
    **{name: f"T.{name}([x, y])" for name in ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "row_stack", "dstack")},
    "column_stack": "T.column_stack([x, y])",
    "meshgrid": "T.meshgrid(column, row, indexing='ij')",
    "cartesian_prod": "T.cartesian_prod(column, row)",
    "combinations": "T.combinations(row)",
    "diag": "T.diag(row)",
    "diag_embed": "T.diag_embed(row)",
    "diagflat": "T.diagflat(row)",
    "diagonal_scatter": "T.diagonal_scatter(square, square.detach()[0])",
    "select_scatter": "T.select_scatter(x, row, 0, 0)",
    "slice_scatter": "T.slice_scatter(x, y)",
    "as_strided_scatter": "T.as_strided_scatter(v, row, (c,), (1,))",
    "constant_pad_nd": "T.constant_pad_nd(x, (1, 1))",
    "pad": "F.pad(x, (1, 1))",
    "vander": "T.vander(column, 5)",
    "channel_shuffle": "F.channel_shuffle(image, 1)",
    "pixel_shuffle": "F.pixel_shuffle(image.reshape(1, -1, 1, 1) if n == 1 else image.reshape(-1, 4, 10, 25), 1 if n == 1 else 2)",
    "pixel_unshuffle": "F.pixel_unshuffle(image, 1 if n == 1 else 2)",
    "fold": "F.fold(x.reshape(1, 1, n), (1, n), (1, 1))",
    "unfold": "v.unfold(0, 1, 1)",
    # Elements by their places.
    "gather": "T.gather(x, 1, index)",
    "take": "T.take(x, places)",
    "take_along_dim": "T.take_along_dim(x, index, 1)",
    "scatter": "T.scatter(x, 1, index, y)",
    "scatter_add": "T.scatter_add(x, 1, index, y)",
    "_chunk_cat": "T._chunk_cat([x, y], 0, 2)",
    "segment_reduce": "T.segment_reduce(x, 'max', lengths=T.tensor([r // 2, r - r // 2]))",
    "scatter_reduce": "T.scatter_reduce(x, 1, index, y, 'amax')",
    "index_add": "T.index_add(x, 0, row_numbers, y)",
    "index_copy": "T.index_copy(x, 0, row_numbers, y)",
    "index_fill": "T.index_fill(x, 0, row_numbers, 2.0)",
    "index_put": "T.index_put(x, (row_numbers,), y)",
    "index_reduce": "T.index_reduce(x, 0, row_numbers, y, 'amax')",
    "index_select": "T.index_select(x, 0, row_numbers)",
    "masked_scatter": "T.masked_scatter(x, mask, y)",
    "masked_select": "T.masked_select(x, mask)",
    "put": "T.put(x, places, v)",
    "nonzero": "T.nonzero(mask)",
    "nonzero_static": "T.nonzero_static(mask, size=n)",
    "argwhere": "T.argwhere(mask)",
    "one_hot": "F.one_hot(classes, c)",
    "embedding": "F.embedding(row_numbers, x)",
    "embedding_bag": "F.embedding_bag(row_numbers.reshape(1, -1), x)",
    # Element-wise operations that are written in terms of others, or take settings.
    "bitwise_not": "T.bitwise_not(integers)",
    **{f"bitwise_{name}": f"T.bitwise_{name}(integers, few)" for name in ("and", "or", "xor", "left_shift", "right_shift")},
    **{name: f"T.{name}(integers, few)" for name in ("gcd", "lcm")},
    "where": "T.where(mask, x, y)",
    "masked_fill": "T.masked_fill(x, mask, 2.0)",
    "threshold": "F.threshold(x, 0.1, 2.0)",
    "clamp": "T.clamp(x, -0.5, 0.5)",
    "conj_physical": "T.conj_physical(x)",
    "fill": "T.fill(x, 2.0)",
    "float_power": "T.float_power(p, 2.5)",
    "true_divide": "T.true_divide(x, q)",
    "nan_to_num": "T.nan_to_num(x)",
    "frexp": "T.frexp(x)",
    **{name: f"T.{name}(p.detach(), q)" for name in ("igamma", "igammac")},
    "mvlgamma": "T.mvlgamma(p + 1.0, 2)",
    "polygamma": "T.polygamma(1, p)",
    "prelu": "T.prelu(x, row)",
    "signbit": "T.signbit(x)",
    "isreal": "T.isreal(x)",
    "zeta": "T.special.zeta(p + 1.1, q)",
    "renorm": "T.renorm(x, 2, 0, 1.0)",
    "relu": "T.relu(x)",
    **{name: f"F.{name}(x)" for name in ("relu6", "softsign", "tanhshrink", "rrelu")},
    "glu": "F.glu(T.cat([x, y], 1))",
    **{name: f"F.{name}(x, 1)" for name in ("softmax", "log_softmax", "softmin")},
    **{name: f"T.{name}(x, y, 1, x.dtype)" for name in ("_softmax_backward_data", "_log_softmax_backward_data")},
    "normalize": "F.normalize(x)",
    # Contractions.
    "matmul": "x @ w",
    "mm": "T.mm(x, w)",
    "mv": "T.mv(x, row)",
    "bmm": "T.bmm(batch, other_batch)",
    "dot": "T.dot(v, u)",
    "vdot": "T.vdot(v, u)",
    "vecdot": "T.linalg.vecdot(x, y)",
    "inner": "T.inner(x, y)",
    "outer": "T.outer(column, row)",
    "kron": "T.kron(column, row)",
    "addmm": "T.addmm(row, x, w)",
    "addmv": "T.addmv(column, x, row)",
    "addr": "T.addr(x, column, row)",
    "addbmm": "T.addbmm(batch[0], batch, other_batch)",
    "baddbmm": "T.baddbmm(batch, batch, other_batch)",
    "chain_matmul": "T.chain_matmul(x, w, w)",
    "multi_dot": "T.linalg.multi_dot([x, w, w])",
    "matrix_power": "T.matrix_power(square, 3)",
    "einsum": "T.einsum('ij,jk->ik', x, w)",
    "tensordot": "T.tensordot(x, w, 1)",
    "linear": "F.linear(x, w, row)",
    "bilinear": "F.bilinear(column.reshape(-1, 1), column.reshape(-1, 1), row.reshape(-1, 1, 1))",
    "cross": "T.linalg.cross(x[:, :1].expand(-1, 3), y[:, :1].expand(-1, 3))",
    "cdist": "T.cdist(x, y)",
    "pdist": "F.pdist(x)",
    "dist": "T.dist(x, y)",
    "cov": "T.cov(x)",
    "corrcoef": "T.corrcoef(x)",
    "cosine_similarity": "F.cosine_similarity(x, y)",
    "pairwise_distance": "F.pairwise_distance(x, y)",
    "scaled_dot_product_attention": "F.scaled_dot_product_attention(batch, other_batch, other_batch)",
    # Convolution, pools, normalisation, images.
    "conv1d": "F.conv1d(series, kernel1)",
    "conv2d": "F.conv2d(image, kernel2, padding=1)",
    "conv3d": "F.conv3d(volume, kernel3, padding=1)",
    "conv_tbc": "F.conv_tbc(series, kernel1.permute(2, 1, 0), kernel1[:, 0, 0])",
    "conv_transpose1d": "F.conv_transpose1d(series, kernel1)",
    "conv_transpose2d": "F.conv_transpose2d(image, kernel2, padding=1)",
    "conv_transpose3d": "F.conv_transpose3d(volume, kernel3, padding=1)",
    "convolution": "T.convolution(image, kernel2, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)",
    **{f"avg_pool{d}": f"F.avg_pool{d}({x}, 1)" for d, x in _POOLED.items()},
    **{f"max_pool{d}": f"F.max_pool{d}({x}, 1)" for d, x in _POOLED.items()},
    **{f"max_pool{d}_with_indices": f"F.max_pool{d}_with_indices({x}, 1)" for d, x in _POOLED.items()},
    **{f"lp_pool{d}": f"F.lp_pool{d}({x}, 2, 1)" for d, x in _POOLED.items()},
    **{f"adaptive_avg_pool{d}": f"F.adaptive_avg_pool{d}({x}, 1)" for d, x in _POOLED.items()},
    **{f"adaptive_max_pool{d}": f"F.adaptive_max_pool{d}({x}, 1)" for d, x in _POOLED.items()},
    **{f"adaptive_max_pool{d}_with_indices": f"F.adaptive_max_pool{d}_with_indices({x}, 1)" for d, x in _POOLED.items()},
    **{f"max_unpool{d}": f"F.max_unpool{d}(*F.max_pool{d}({x}, 1, return_indices=True), 1)" for d, x in _POOLED.items()},
    **{f"fractional_max_pool{d}": f"F.fractional_max_pool{d}({x}, 1, output_size=1)" for d, x in _CUT.items()},
    **{
        f"fractional_max_pool{d}_with_indices": f"F.fractional_max_pool{d}_with_indices({x}, 1, output_size=1)"
        for d, x in _CUT.items()
    },
    "batch_norm": "F.batch_norm(image.expand(2, -1, -1, -1) if n == 1 else image, None, None, training=True)",
    "instance_norm": "F.instance_norm(image.expand(-1, -1, 2, -1) if n == 1 else image)",
    "group_norm": "F.group_norm(image.expand(-1, -1, 2, -1) if n == 1 else image, 1)",
    "layer_norm": "F.layer_norm(x, (c,), row, row)",
    "rms_norm": "F.rms_norm(x, (c,), row)",
    "native_batch_norm": "T.native_batch_norm(image.expand(2, -1, -1, -1) if n == 1 else image, None, None, None, None, True, 0.1, 1e-5)",
    "native_group_norm": "T.native_group_norm(image.expand(-1, -1, 2, -1) if n == 1 else image, None, None, image.shape[0], "
    "image.shape[1], 2 if n == 1 else image.shape[2] * image.shape[3], 1, 1e-5)",
    "native_layer_norm": "T.native_layer_norm(x, (c,), row, row, 1e-5)",
    "local_response_norm": "F.local_response_norm(image, 2)",
    "affine_grid": "F.affine_grid(series.reshape(-1)[:1].expand(6).reshape(1, 2, 3), (1, 1, r, c), align_corners=False)",
    "grid_sample": "F.grid_sample(image, grid, align_corners=False)",
    "grid_sampler": "T.grid_sampler(image, grid, 0, 0, False)",
    "interpolate": "F.interpolate(image, scale_factor=2.0, mode='bilinear')",
    "upsample": "F.upsample(image, scale_factor=2)",
    "upsample_bilinear": "F.upsample_bilinear(image, scale_factor=2)",
    "upsample_nearest": "F.upsample_nearest(image, scale_factor=2)",
    # Losses.
    **{name: f"F.{name}(x, y)" for name in ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss")},
    "binary_cross_entropy": "F.binary_cross_entropy(p, q.detach())",
    "binary_cross_entropy_with_logits": "F.binary_cross_entropy_with_logits(x, q)",
    "cross_entropy": "F.cross_entropy(x, classes)",
    "nll_loss": "F.nll_loss(x, classes)",
    "multi_margin_loss": "F.multi_margin_loss(x, classes)",
    "multilabel_margin_loss": "F.multilabel_margin_loss(x, index)",
    "multilabel_soft_margin_loss": "F.multilabel_soft_margin_loss(x, mask.to(T.float32))",
    "soft_margin_loss": "F.soft_margin_loss(x, signs.to(T.float32)[:, None].expand(r, c))",
    "hinge_embedding_loss": "F.hinge_embedding_loss(x, signs.to(T.float32)[:, None].expand(r, c))",
    "margin_ranking_loss": "F.margin_ranking_loss(column, x[:, 0], signs.to(T.float32))",
    "cosine_embedding_loss": "F.cosine_embedding_loss(x, y, signs.to(T.float32))",
    "triplet_margin_loss": "F.triplet_margin_loss(x, y, z)",
    "gaussian_nll_loss": "F.gaussian_nll_loss(x, y, p)",
    "ctc_loss": "F.ctc_loss(F.log_softmax(series, 2), T.zeros(series.shape[1], 1, dtype=T.int64), "
    "T.full((series.shape[1],), series.shape[0]), T.ones(series.shape[1], dtype=T.int64), blank=series.shape[2] - 1, zero_infinity=True)",
    # Random numbers.
    **{name: f"F.{name}(x, 0.3, True)" for name in ("dropout", "alpha_dropout", "feature_alpha_dropout")},
    **{f"dropout{d}": f"F.dropout{d}({x}, 0.3, True)" for d, x in _POOLED.items()},
    "feature_dropout": "T.feature_dropout(x, 0.3, True)",
    "native_dropout": "T.native_dropout(x, 0.3, True)",
    "gumbel_softmax": "F.gumbel_softmax(x)",
    "bernoulli": "T.bernoulli(p.detach())",
    "binomial": "T.binomial(T.full((r, c), 5.0), p.detach())",
    "multinomial": "T.multinomial(p.detach(), 1)",
    "normal": "T.normal(x.detach(), q.detach())",
    "poisson": "T.poisson(p.detach())",
    **{name: f"T.{name}(r, c)" for name in ("rand", "randn")},
    **{name: f"T.{name}(x)" for name in ("rand_like", "randn_like")},
    "randint": "T.randint(10, (r, c))",
    "randint_like": "T.randint_like(x, 10)",
    "randperm": "T.randperm(n)",
    # New tensors.
    **{name: f"T.{name}(r, c)" for name in ("empty", "ones", "zeros")},
    **{name: f"T.{name}(x)" for name in ("empty_like", "ones_like", "zeros_like")},
    **{name: f"x.{name}(r, c)" for name in ("new_empty", "new_ones", "new_zeros")},
    "full": "T.full((r, c), 2.0)",
    "full_like": "T.full_like(x, 2.0)",
    "new_full": "x.new_full((r, c), 2.0)",
    "empty_permuted": "T.empty_permuted((r, c), (1, 0))",
    "empty_strided": "T.empty_strided((r, c), (1, r))",
    "new_empty_strided": "x.new_empty_strided((r, c), (1, r))",
    "arange": "T.arange(n)",
    "range": "T.range(1, n)",
    "eye": "T.eye(c)",
    **{f"{name}_window": f"T.{name}_window(n)" for name in ("bartlett", "blackman", "hamming", "hann", "kaiser")},
    "linspace": "T.linspace(0, 1, n)",
    "logspace": "T.logspace(0, 1, n)",
    "scalar_tensor": "T.scalar_tensor(2.0)",
    "tril_indices": "T.tril_indices(r, c)",
    "triu_indices": "T.triu_indices(r, c)",
}


def plain(name: str) -> str:
    """The name of an operation without that of its module."""
    return name.rpartition(".")[2]


def module(operation: dict) -> str:
    return {"Nn": "F", "Linalg": "T.linalg", "Special": "T.special"}.get(operation["home"], "T")


def expression(operation: dict) -> str | None:
    """How an operation of the table is called; None where nothing says so."""
    name = plain(operation["name"])
    if name in CALLS:
        return CALLS[name]
    if "arity" not in operation:
        return None
    parameters = operation["signatures"][0].partition("(")[2].split(", ")[: operation["arity"]]
    required = [p for p in parameters if "=" not in p]
    if any(p.split()[0] not in ("Tensor", "Operand") for p in required):
        return None
    return f"{module(operation)}.{name}({', '.join(('first', 'second', 'third')[: len(required)])})"
