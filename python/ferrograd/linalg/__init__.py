"""Linear algebra."""

from .. import _ferrograd

globals().update({name: function for name, function in vars(_ferrograd._linalg).items() if not name.startswith("_")})
