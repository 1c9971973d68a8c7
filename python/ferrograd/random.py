"""The stream of random numbers: its seed, its state, and blocks that leave it as it was."""

import contextlib
from collections.abc import Iterable, Iterator

from . import _ferrograd
from ._ferrograd import Tensor
from ._functions import manual_seed


def get_rng_state() -> Tensor:
    """The state of the stream: all that later numbers depend on, as bytes in the order that torch has them in.

    >>> import ferrograd
    >>> state = get_rng_state()
    >>> first = ferrograd.rand(3)
    >>> set_rng_state(state)
    >>> bool((ferrograd.rand(3) == first).all())
    True
    """
    state = _ferrograd._get_rng_state()
    return _ferrograd._from_bytes(state, (len(state),), _ferrograd.uint8)


def set_rng_state(new_state: Tensor) -> None:
    """Go on from a state that `get_rng_state` gave, here or in torch."""
    if not isinstance(new_state, Tensor) or new_state.dtype != _ferrograd.uint8:
        given = new_state.dtype if isinstance(new_state, Tensor) else type(new_state).__name__
        raise TypeError(f"RNG state must be a torch.ByteTensor, got {given}")
    _ferrograd._set_rng_state(bytes(new_state.reshape(-1).tolist()))


def initial_seed() -> int:
    """The seed that the stream started from."""
    return _ferrograd._initial_seed()


def seed() -> int:
    """Seed the stream with a number that nobody knows before, and give the number."""
    import secrets

    number = secrets.randbits(64)
    _ferrograd._manual_seed(number)
    return number


@contextlib.contextmanager
def fork_rng(devices: Iterable | None = None, enabled: bool = True, **_names: object) -> Iterator[None]:
    """A block after which the stream goes on as if the block had drawn nothing from it.

    `devices` are for accelerators, of which there are none here.

    >>> import ferrograd
    >>> _ = manual_seed(0)
    >>> with fork_rng():
    ...     _ = ferrograd.rand(100)
    >>> ferrograd.rand(3)
    tensor([0.4963, 0.7682, 0.0885])
    """
    if not enabled:
        yield
        return
    state = _ferrograd._get_rng_state()
    try:
        yield
    finally:
        _ferrograd._set_rng_state(state)


__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
