"""Special functions."""

from .. import _ferrograd

globals().update({name: function for name, function in vars(_ferrograd._special).items() if not name.startswith("_")})
