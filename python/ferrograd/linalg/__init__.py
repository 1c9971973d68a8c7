"""Linear algebra."""

from .. import _ferrograd
from ._error import LinAlgError  # noqa: F401

globals().update({name: function for name, function in vars(_ferrograd._linalg).items() if not name.startswith("_")})
