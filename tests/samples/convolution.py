"""Convolutions."""

import ferrograd as fg

#: Functions that are not element-wise, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "nn.conv1d": lambda x: fg.conv1d(x, x[:, :3].reshape(3, 3, 1) * x[:, None, :2], x[0, :3], padding=1, stride=2),
    "nn.conv2d": lambda x: fg.conv2d(x[None], x[:1, :2].reshape(1, 1, 1, 2), padding=(0, 1)),
    "nn.conv3d": lambda x: fg.conv3d(x.reshape(1, 3, 2, 2), x[:2, :2].reshape(1, 1, 2, 1, 2)),
    "nn.conv_transpose1d": lambda x: fg.conv_transpose1d(x, x.reshape(3, 2, 2), stride=2, output_padding=1),
    "nn.conv_transpose2d": lambda x: fg.conv_transpose2d(x[None], x[:1, :2].reshape(1, 1, 2, 1), padding=(0, 1)),
    "nn.conv_transpose3d": lambda x: fg.conv_transpose3d(x.reshape(1, 3, 2, 2), x[:2, :2].reshape(1, 1, 2, 1, 2)),
    "convolution": lambda x: fg.convolution(x[None], x.reshape(2, 3, 2), None, [1], [0], [2], False, [0], 1),
    "nn.conv_tbc": lambda x: fg.conv_tbc(x[:, None], x.reshape(1, 4, 3), x[0, :3]),
}
