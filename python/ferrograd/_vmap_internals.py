"""`func.vmap` under the names that it had before."""

from .func import vmap

_vmap = vmap
