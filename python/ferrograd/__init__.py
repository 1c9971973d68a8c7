"""PyTorch's tensors and autograd without PyTorch.

>>> import ferrograd
>>> x = ferrograd.tensor([2.0], requires_grad=True)
>>> y = 3 * x ** 2 + 1
>>> y.backward()
>>> x.grad
tensor([12.])
"""

from . import _ferrograd
from ._ferrograd import *  # noqa: F403 - the table of operations names them
from ._ferrograd import (
    Generator,
    OutOfMemoryError,
    Tensor,
    default_generator,
    device,
    __version__,
    dtype,
    get_default_dtype,
    get_num_threads,
    is_grad_enabled,
    memory_stats,
    memory_trim,
    set_default_dtype,
    set_num_threads,
    tensor,
)
from ._size import Size
from . import autograd, config, linalg, special, utils
from . import _tensor  # noqa: F401 - adds methods to Tensor
from ._dtypes import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    finfo,
    iinfo,
    is_complex,
    is_floating_point,
    set_default_tensor_type,
)
from ._tensor_str import set_printoptions
from .autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from ._functions import (
    allclose,
    asarray,
    broadcast_shapes,
    detach,
    detach_,
    einsum,
    embedding_renorm_,
    equal,
    frombuffer,
    get_device,
    is_conj,
    is_inference,
    is_neg,
    is_nonzero,
    is_same_size,
    is_signed,
    is_tensor,
    isclose,
    manual_seed,
    numel,
    unravel_index,
)
from ._sampled import gradient, histogramdd
from .utils.dlpack import from_dlpack, to_dlpack
from math import e, inf, nan, pi  # noqa: F401

newaxis = None

_LAZY_MODULES = {
    "_vmap_internals", "amp", "func", "masked", "nn", "ops", "profiler", "random", "return_types", "serialization", "signal", "storage", "testing", "types",
}  # fmt: skip
_LAZY_NAMES = {name: "random" for name in ("get_rng_state", "initial_seed", "seed", "set_rng_state")}
_LAZY_NAMES |= {"vmap": "func", "autocast": "amp"}
_LAZY_NAMES |= {"load": "serialization", "save": "serialization"}
_SETTINGS = """
set_default_device get_default_device typename use_deterministic_algorithms are_deterministic_algorithms_enabled
is_deterministic_algorithms_warn_only_enabled set_deterministic_debug_mode get_deterministic_debug_mode is_autocast_enabled
is_autocast_cpu_enabled _assert _assert_async set_warn_always is_warn_always_enabled set_float32_matmul_precision
get_float32_matmul_precision set_anomaly_enabled
"""
_LAZY_NAMES |= dict.fromkeys(_SETTINGS.split(), "_settings")
_LAZY_NAMES |= {"TypedStorage": "storage", "UntypedStorage": "storage", "is_storage": "storage"}


def __getattr__(name: str):
    """Modules that few programs need, loaded when they or what is in them are first named."""
    import importlib

    if name in _LAZY_MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    home = "_foreach" if name.startswith("_foreach_") else _LAZY_NAMES.get(name)
    if home is not None and hasattr(found := importlib.import_module(f"{__name__}.{home}"), name):
        return globals().setdefault(name, getattr(found, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})
