"""The stream of random numbers: its seed, its state, and blocks that leave it as it was."""

import contextlib
from collections.abc import Iterable, Iterator

from ._ferrograd import Tensor, default_generator
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
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Go on from a state that `get_rng_state` gave, here or in torch.
    TypeError for what is no tensor of bytes, RuntimeError for bytes that are no state.

    >>> import ferrograd
    >>> state = get_rng_state()
    >>> first = ferrograd.rand(2)
    >>> set_rng_state(state)
    >>> bool((ferrograd.rand(2) == first).all())
    True
    """
    default_generator.set_state(new_state)


def initial_seed() -> int:
    """The seed that the stream started from.

    >>> _ = manual_seed(7)
    >>> initial_seed()
    7
    """
    return default_generator.initial_seed()


def seed() -> int:
    """Seed the stream with a number that nobody knows before, and give the number.

    >>> seed() == initial_seed()
    True
    """
    return default_generator.seed()


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
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
