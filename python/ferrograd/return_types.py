"""What operations with two results return: tuples with names."""

from collections import namedtuple

max = namedtuple("max", ["values", "indices"], module="torch.return_types")
min = namedtuple("min", ["values", "indices"], module="torch.return_types")


def _repr(self) -> str:
    return f"torch.return_types.{type(self).__name__}(\nvalues={self.values!r},\nindices={self.indices!r})"


max.__repr__ = _repr
min.__repr__ = _repr
