"""Functions of neural networks."""

from ... import _ferrograd
from ._composed import linear_cross_entropy, multi_head_attention_forward, triplet_margin_with_distance_loss  # noqa: F401

globals().update({name: function for name, function in vars(_ferrograd._nn).items() if not name.startswith("__")})
