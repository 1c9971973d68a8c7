"""Memory shared with other libraries by DLPack."""

import enum

from .. import _ferrograd
from .._ferrograd import Tensor

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


class DLDeviceType(enum.IntEnum):
    """The kinds of device that DLPack has numbers for.

    >>> import ferrograd
    >>> ferrograd.ones(1).__dlpack_device__()[0] == DLDeviceType.kDLCPU
    True
    """

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16


def to_dlpack(tensor: Tensor):
    """A capsule of a tensor's memory, which another library can make an array of, once.
    BufferError for a tensor that requires a gradient.

    >>> import ferrograd
    >>> from_dlpack(to_dlpack(ferrograd.ones(2)))
    tensor([1., 1.])
    """
    return _ferrograd._to_dlpack(tensor, False)


def from_dlpack(ext_tensor, *, device=None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of an array of any library that speaks DLPack, or on that of a capsule; a copy where asked for.

    Raises RuntimeError for what does not speak DLPack, for a capsule that was taken before, and for another device; for one
    by CUDA AssertionError, as torch without it.

    >>> import ferrograd, numpy
    >>> array = numpy.ones(2)
    >>> ferrograd.from_dlpack(array).add_(1.0)
    tensor([2., 2.], dtype=torch.float64)
    >>> array
    array([2., 2.])
    """
    if device is not None:
        _ferrograd._check_device("from_dlpack", device)
    if not hasattr(ext_tensor, "__dlpack__"):
        made = _ferrograd._from_dlpack(ext_tensor)
        return made.clone() if copy else made
    kind, _ = ext_tensor.__dlpack_device__()
    if kind != DLDeviceType.kDLCPU:
        raise RuntimeError(f"from_dlpack: expected memory of the CPU, got an array on device {kind!r}")
    asked = {} if copy is None else {"copy": copy}
    try:
        capsule = ext_tensor.__dlpack__(max_version=(1, 0), **asked)
    except TypeError:
        # Libraries of before DLPack 1.0 know no versions.
        capsule = ext_tensor.__dlpack__(**asked)
    return _ferrograd._from_dlpack(capsule)


def _dlpack(self: Tensor, *, stream=-1, max_version=None, dl_device=None, copy: bool | None = None):
    """A capsule of the tensor's memory by DLPack: of its version 1 where `max_version` allows that. BufferError for a tensor
    that requires a gradient."""
    if stream is not None and type(stream) is not int:
        raise TypeError("stream must be ``int`` or ``none``")
    if stream not in (None, -1):
        raise AssertionError("stream should be None on cpu.")
    if dl_device is not None and dl_device[0] != DLDeviceType.kDLCPU:
        raise NotImplementedError(f"the memory is the CPU's, got dl_device {dl_device}")
    versioned = max_version is not None and max_version[0] >= 1
    if copy and not self.requires_grad:
        self = self.clone()
    return _ferrograd._to_dlpack(self, versioned)


def _dlpack_device(self: Tensor) -> tuple[DLDeviceType, int]:
    """The kind and the number of the device: the CPU's."""
    return DLDeviceType.kDLCPU, 0


Tensor.__dlpack__ = _dlpack
Tensor.__dlpack_device__ = _dlpack_device
