"""What annotations of programs for torch name: numbers, devices, files.

>>> isinstance(1.5, Number)
True
"""

import os
from typing import IO, TypeAlias

from ._ferrograd import Tensor, device, dtype
from ._size import Size

__all__ = ["Device", "FileLike", "Number", "Size", "Tensor", "device", "dtype"]

Number: TypeAlias = int | float | bool
Device: TypeAlias = device | str | int | None
FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
