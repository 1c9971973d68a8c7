"""Programs with what they give, which torch gives too where it is installed."""

import pytest

import ferrograd as fg

#: This library, and torch where it is installed.
LIBRARIES = [fg]
try:
    import torch

    LIBRARIES.append(torch)
except ImportError:
    pass

in_all = pytest.mark.parametrize("T", LIBRARIES, ids=lambda T: T.__name__)


def known(expected):
    """A test of a program, which takes a library, against what it gives."""

    def of(program):
        @in_all
        def test(T):
            assert program(T) == expected

        return test

    return of


def raised(call):
    """The name of the exception that a call raises, or what it gives."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - what it is will be compared
        return type(error).__name__
