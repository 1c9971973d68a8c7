"""What the tests of all operations need to know of each, one module a family.

A module has any of five tables: `NUMPY`, NumPy's function for an element-wise operation; `FUNCTIONS`, an operation that is
not element-wise as a call on a tensor of shape (3, 4) whose gradient is tested, which also says what its tensors hold where
the docstring's example does not say it (`captured`); `WITHOUT_DERIVATIVE`, the names of operations that have none; `PREPARED`,
what becomes of the floating-point tensors of a drawn call before an operation whose derivative holds only then; `ARGUMENTS`,
what the in-place form of an operation takes beside a float64 tensor of shape (2, 2), where that is something else than nothing
or one more tensor; a function at its head shapes the tensor first.
"""

from importlib import import_module
from pkgutil import iter_modules

NUMPY, FUNCTIONS, ARGUMENTS, PREPARED, WITHOUT_DERIVATIVE = {}, {}, {}, {}, set()
for _module in iter_modules(__path__):
    _family = import_module(f"{__name__}.{_module.name}")
    NUMPY |= getattr(_family, "NUMPY", {})
    FUNCTIONS |= getattr(_family, "FUNCTIONS", {})
    ARGUMENTS |= getattr(_family, "ARGUMENTS", {})
    PREPARED |= getattr(_family, "PREPARED", {})
    WITHOUT_DERIVATIVE |= getattr(_family, "WITHOUT_DERIVATIVE", set())
