"""Functions of neural networks."""

from ... import _ferrograd

globals().update({name: function for name, function in vars(_ferrograd._nn).items() if not name.startswith("__")})
