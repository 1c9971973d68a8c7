"""Functions of images."""

import ferrograd as fg

F = fg.nn.functional
_INDEX = fg.tensor([[[3, 0], [1, 2]]])


def image(x):
    """One image of two channels of two by three."""
    return x.reshape(1, 2, 2, 3)


def volume(x):
    """One volume of one by two by three in each of two channels."""
    return x.reshape(1, 2, 1, 2, 3)


_SAMPLES = fg.tensor([[[0.3, 0.6], [0.1, 0.9]]], dtype=fg.float64)
_SAMPLES_3D = fg.tensor([[[0.3, 0.6, 0.2]]], dtype=fg.float64)

#: Functions that are not element-wise, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "nn.pad": lambda x: F.pad(x, (2, -1, 1, 0)) ** 2 + F.pad(x[None], (2, -1), mode="reflect").sum() + F.pad(x[None], (1, 3), mode="circular").prod(),
    "constant_pad_nd": lambda x: fg.constant_pad_nd(x, (1, 2), 3) ** 2,
    "nn.unfold": lambda x: F.unfold(image(x), 2, padding=1) ** 2,
    "nn.fold": lambda x: F.fold(x.t(), (2, 4), 2) ** 2,
    "nn.avg_pool1d": lambda x: F.avg_pool1d(x, 2, padding=1, ceil_mode=True) ** 2,
    "nn.avg_pool2d": lambda x: F.avg_pool2d(image(x), 2, stride=1, padding=1, count_include_pad=False) ** 2,
    "nn.avg_pool3d": lambda x: F.avg_pool3d(volume(x), (1, 2, 2), stride=1, divisor_override=3) ** 2,
    "nn.adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 3) ** 2,
    "nn.adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(image(x), (None, 2)) ** 2,
    "nn.adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(volume(x), (1, 2, 2)) ** 2,
    "nn.lp_pool1d": lambda x: F.lp_pool1d(x, 2, 2),
    "nn.lp_pool2d": lambda x: F.lp_pool2d(image(x), 2, 2),
    "nn.lp_pool3d": lambda x: F.lp_pool3d(volume(x), 2, (1, 2, 2)),
    "nn.max_pool1d": lambda x: F.max_pool1d(x, 2, padding=1) ** 2,
    "nn.max_pool2d": lambda x: F.max_pool2d(image(x), 2, stride=1) ** 2,
    "nn.max_pool3d": lambda x: F.max_pool3d(volume(x), (1, 2, 2), stride=1) ** 2,
    "nn.max_pool1d_with_indices": lambda x: F.max_pool1d_with_indices(x, 2)[0] ** 2,
    "nn.max_pool2d_with_indices": lambda x: F.max_pool2d_with_indices(image(x), 2)[0] ** 2,
    "nn.max_pool3d_with_indices": lambda x: F.max_pool3d_with_indices(volume(x), (1, 2, 2))[0] ** 2,
    "nn.adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x, 3) ** 2,
    "nn.adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(image(x), 2) ** 2,
    "nn.adaptive_max_pool3d": lambda x: F.adaptive_max_pool3d(volume(x), (1, 2, 2)) ** 2,
    "nn.adaptive_max_pool1d_with_indices": lambda x: F.adaptive_max_pool1d_with_indices(x, 3)[0] ** 2,
    "nn.adaptive_max_pool2d_with_indices": lambda x: F.adaptive_max_pool2d_with_indices(image(x), 2)[0] ** 2,
    "nn.adaptive_max_pool3d_with_indices": lambda x: F.adaptive_max_pool3d_with_indices(volume(x), (1, 2, 2))[0] ** 2,
    "adaptive_max_pool1d": lambda x: fg.adaptive_max_pool1d(x, 3)[0] ** 2,
    "nn.fractional_max_pool2d": lambda x: F.fractional_max_pool2d(image(x), (1, 2), (2, 2), _random_samples=_SAMPLES) ** 2,
    "nn.fractional_max_pool3d": lambda x: F.fractional_max_pool3d(x.reshape(1, 1, 2, 2, 3), 1, (1, 1, 2), _random_samples=_SAMPLES_3D) ** 2,
    "nn.fractional_max_pool2d_with_indices": lambda x: F.fractional_max_pool2d_with_indices(image(x), 1, 2, _random_samples=_SAMPLES)[0] ** 2,
    "nn.fractional_max_pool3d_with_indices": lambda x: F.fractional_max_pool3d_with_indices(
        x.reshape(1, 1, 2, 2, 3), 1, (1, 1, 2), _random_samples=_SAMPLES_3D
    )[0]
    ** 2,
    "nn.max_unpool1d": lambda x: F.max_unpool1d(x[:2, :2], fg.tensor([[1, 2], [0, 3]]), 2) ** 2,
    "nn.max_unpool2d": lambda x: F.max_unpool2d(x[:2, :2][None], _INDEX, 2) ** 2,
    "nn.max_unpool3d": lambda x: F.max_unpool3d(x[:2, :2][None, None], _INDEX[None] * 3, 2) ** 2,
    "nn.interpolate": lambda x: F.interpolate(x[None], 5, mode="linear").sum() * F.interpolate(image(x), (3, 2), mode="bicubic") ** 2 + F.interpolate(image(x), (3, 2), mode="nearest") ** 2,
    "nn.upsample": lambda x: F.upsample(x[None], 5, mode="linear") ** 2,
    "nn.upsample_nearest": lambda x: F.upsample_nearest(x[None], 5) ** 2,
    "nn.upsample_bilinear": lambda x: F.upsample_bilinear(image(x), 3) ** 2,
    "nn.grid_sample": lambda x: F.grid_sample(image(x), x.reshape(1, 2, 3, 2) * 0.3 + 0.05, padding_mode="reflection") ** 2,
    "grid_sampler": lambda x: fg.grid_sampler(image(x), x.reshape(1, 2, 3, 2) * 0.3 + 0.05, 2, 1, True) ** 2,
    "nn.affine_grid": lambda x: F.affine_grid(x[None], (1, 1, 2, 3, 2)) ** 2,
    "nn.pixel_shuffle": lambda x: F.pixel_shuffle(x.reshape(4, 1, 3), 2) ** 2,
    "nn.pixel_unshuffle": lambda x: F.pixel_unshuffle(x.reshape(1, 2, 6), 2) ** 2,
    "nn.channel_shuffle": lambda x: F.channel_shuffle(x.reshape(1, 6, 2), 3) ** 2,
}
