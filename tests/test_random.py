"""Streams of random numbers: Philox, threads, forks, distributions."""

import math
import os

import numpy as np
import pytest

import ferrograd as fg


def philox(seed=0):
    return fg.Generator(kind="philox").manual_seed(seed)


DRAWS = {
    "rand": lambda g, n: fg.rand(n, generator=g),
    "rand float64": lambda g, n: fg.rand(n, dtype=fg.float64, generator=g),
    "randn": lambda g, n: fg.randn(n, generator=g),
    "randint": lambda g, n: fg.randint(10**6, (n,), generator=g),
    "exponential_": lambda g, n: fg.zeros(n).exponential_(generator=g),
    "bernoulli": lambda g, n: fg.bernoulli(fg.full((n,), 0.3), generator=g),
    "uint8": lambda g, n: fg.zeros(n, dtype=fg.uint8).random_(generator=g),
}


@pytest.mark.parametrize("kind", ["mersenne", "philox"])
@pytest.mark.parametrize("name", DRAWS)
def test_the_number_of_threads_changes_nothing(name, kind):
    threads = fg.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3, 7):
            fg.set_num_threads(count)
            g = fg.Generator(kind=kind).manual_seed(5)
            found.append((DRAWS[name](g, 100_003).tolist(), g.get_state().tolist()))
    finally:
        fg.set_num_threads(threads)
    assert all(f == found[0] for f in found)


def test_philox_is_that_of_the_paper():
    """The first block of the key and counter 0, two words of 32 bits a number, the first in the upper half."""
    words = fg.zeros(2, dtype=fg.int64).random_(-(2**63), None, generator=philox(0))
    blocks = [(0x6627E8D5 << 32) | 0xE169C58D, (0xBC57AC4C << 32) | 0x9B00DBD8]
    assert [w % 2**64 for w in words.tolist()] == blocks


def test_philox_goes_to_any_place():
    whole = fg.rand(1000, generator=philox(3))
    g = philox(3)
    for start in (0, 1, 2, 3, 4, 5, 499, 996, 999):
        part = fg.rand(1000 - start, generator=g.set_offset(start))
        assert part.tolist() == whole[start:].tolist()
        assert g.get_offset() == 1000
    doubles = fg.rand(10, dtype=fg.float64, generator=philox(3))
    assert fg.rand(7, dtype=fg.float64, generator=g.set_offset(6)).tolist() == doubles[3:].tolist()


def test_philox_has_independent_streams():
    g = philox(3)
    streams = fg.stack([fg.rand(4000, generator=g.stream(n)) for n in range(8)] + [fg.rand(4000, generator=philox(4))])
    assert g.get_offset() == 0
    correlations = np.corrcoef(streams.numpy()) - np.eye(9)
    assert np.abs(correlations).max() < 0.07
    assert fg.rand(3, generator=g.stream(0)).tolist() == fg.rand(3, generator=g).tolist()
    with pytest.raises(RuntimeError, match="philox"):
        fg.Generator().stream(1)
    with pytest.raises(ValueError, match="kind"):
        fg.Generator(kind="other")


def test_philox_keeps_its_state():
    import copy
    import pickle

    g = philox(9).stream(4)
    fg.randn(3, generator=g)
    for other in (g.clone_state(), copy.deepcopy(g), pickle.loads(pickle.dumps(g)), fg.Generator(kind="philox").set_state(g.get_state())):
        assert other.kind == "philox" and other.initial_seed() == 9 and other.get_offset() == g.get_offset()
        expected = fg.randn(3, generator=g.clone_state())
        assert fg.randn(3, generator=other).tolist() == expected.tolist()
    with pytest.raises(RuntimeError, match="5056"):
        fg.Generator().set_state(g.get_state())


@pytest.mark.parametrize("kind", ["mersenne", "philox"])
def test_distributions(kind):
    """Means and variances within five standard errors."""
    g = fg.Generator(kind=kind).manual_seed(1)
    n = 200_000
    zeros = lambda: fg.zeros(n, dtype=fg.float64)
    for name, drawn, mean, variance in (
        ("uniform", zeros().uniform_(-1, 3, generator=g), 1, 16 / 12),
        ("normal", zeros().normal_(2, 3, generator=g), 2, 9),
        ("exponential", zeros().exponential_(0.5, generator=g), 2, 4),
        ("geometric", zeros().geometric_(0.25, generator=g), 4, 12),
        ("log normal", zeros().log_normal_(0, 0.25, generator=g), math.exp(1 / 32), (math.exp(1 / 16) - 1) * math.exp(1 / 16)),
        ("bernoulli", zeros().bernoulli_(0.3, generator=g), 0.3, 0.21),
        ("integers", zeros().random_(10, generator=g), 4.5, 8.25),
        ("poisson", fg.poisson(zeros() + 3, generator=g), 3, 3),
        ("poisson", fg.poisson(zeros() + 30, generator=g), 30, 30),
        ("binomial", fg.binomial(zeros() + 20, zeros() + 0.2, g), 4, 3.2),
        ("binomial", fg.binomial(zeros() + 200, zeros() + 0.7, g), 140, 42),
    ):
        assert abs(drawn.mean().item() - mean) < 5 * math.sqrt(variance / n), name
        assert abs(drawn.var().item() / variance - 1) < 0.05, name
    assert abs(zeros().cauchy_(2, 1, generator=g).median().item() - 2) < 0.02
    counts = fg.multinomial(fg.tensor([1.0, 2, 3, 4]), n, True, generator=g).bincount()
    np.testing.assert_allclose(counts.numpy() / n, [0.1, 0.2, 0.3, 0.4], atol=0.006)
    orders = fg.stack([fg.randperm(3, generator=g) for _ in range(3000)])
    np.testing.assert_allclose((orders[:, 0] * 3 + orders[:, 1]).bincount(minlength=9).numpy() / 3000 * 6, [0, 1, 1, 1, 0, 1, 1, 1, 0], atol=0.2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_from_the_same_state():
    fg.manual_seed(4)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, fg.rand(1).item().hex().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert float.fromhex(os.read(read, 100).decode()) == fg.rand(1).item()


def test_a_block_leaves_the_stream_as_it_was():
    fg.manual_seed(0)
    with fg.random.fork_rng():
        fg.manual_seed(9)
        fg.rand(5)
    assert fg.initial_seed() == 0
    assert fg.rand(3).tolist() == pytest.approx([0.4963, 0.7682, 0.0885], abs=1e-4)
