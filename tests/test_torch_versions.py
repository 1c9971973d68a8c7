"""How often a tensor was changed in place, `_version`: of every operation's results and arguments as torch counts.

What an operation makes was never changed by anybody who saw it: its results begin at zero, also where torch counts how it filled
them.
"""

import warnings

import pytest
from captured import TABLE, call, captured, mapped, tensors
from test_torch_wrong import torchs

import ferrograd as fg

torch = pytest.importorskip("torch")


def torchs_value(value):
    """An argument as torch's."""

    def one(t):
        return torch.tensor(t.detach().tolist(), dtype=getattr(torch, str(t.dtype).split(".")[1])).reshape(t.shape)

    if isinstance(value, fg.dtype):
        return getattr(torch, str(value).split(".")[1])
    return torch.Generator() if isinstance(value, fg.Generator) else mapped_(value, one)


def mapped_(value, change):
    return [torchs_value(v) for v in value] if isinstance(value, list) else mapped(value, change)


def versions(*values):
    found = []
    for value in values:
        if isinstance(value, (fg.Tensor, torch.Tensor)):
            found.append(value._version)
        elif isinstance(value, (list, tuple)):
            found.extend(versions(*value))
    return found


@pytest.mark.parametrize("name", sorted(n for n in TABLE if torchs(n)))
def test_operations_count_changes_as_torch_does(name):
    arguments, named = captured(name)
    theirs = [torchs_value(a) for a in arguments], {key: torchs_value(a) for key, a in named.items()}
    try:
        ours = call(name, arguments, named)
    except RuntimeError:
        assert outcome(name, *theirs) is None
        return
    changed = any(any(y is x for x in tensors([arguments, list(named.values())])) for y in tensors([ours]))
    result = outcome(name, *theirs)
    if result is not None:
        assert versions(arguments, list(named.values())) == versions(theirs[0], list(theirs[1].values()))
        if changed or any(y.numel() and shares(y, theirs) for y in flat(result)):
            assert versions(ours) == versions(result)
            return
    assert changed or not any(versions(ours))


def outcome(name, arguments, named):
    """What torch gives; None where it does not take the call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torchs(name)(*arguments, **named)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return None


def shares(y, arguments):
    return any(y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() for x in flat(arguments))


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [t for part in parts for t in flat(part)]


def other_memory(T):
    """Versions where a tensor is given other memory: its count goes on, and the giver's is not touched."""
    x, y = T.ones(2), T.zeros(3)
    y.add_(1).add_(1)
    x.set_(y)
    yield x._version, y._version
    x.add_(1)
    yield x._version
    x.set_()
    yield x._version
    x = T.ones(2)
    x.add_(1)
    x.data = T.zeros(2)
    yield x._version
    x.add_(1)
    yield x._version
    x.data.add_(1)
    yield x._version
    z = T.ones(2)
    for _ in range(3):
        z.mul_(2)
    x.data = z
    yield x._version, z._version
    x = T.ones(2, 3)
    yield x.t_()._version, x.unsqueeze_(0)._version, x.mean()._version, x.mean(0)._version, x.mean(1, dtype=T.float64)._version


def test_other_memory_goes_on_counting():
    assert list(other_memory(fg)) == list(other_memory(torch))


def masked(T):
    for x in (T.tensor(-1.0), T.tensor([-1.0]), T.zeros(2, 3), T.zeros(0)):
        for index in (T.tensor(False), T.tensor(True), False, True, x > 0, x < 5, T.tensor([], dtype=T.int64) if x.dim() else T.tensor(False)):
            x[index] = 5
            yield x._version, x.tolist()
    x = T.tensor(-1.0, requires_grad=True)
    y = x * 1
    z = T.tensor(2.0, requires_grad=True)
    y[y > 0] = z
    y.backward()
    yield y._version, x.grad.item(), z.grad.item()
    for value in (T.ones(5), T.ones(3), T.ones(1, 3), T.ones(2, 3), T.ones(()), T.ones(0)):
        x = T.zeros(3)
        try:
            x[T.tensor(False)] = value
            yield x._version
        except RuntimeError:
            yield RuntimeError


def test_masks_of_nothing_count_as_changes():
    assert list(masked(fg)) == list(masked(torch))


def gathered(T):
    """Gradients of leaves: what somebody else has is copied, which counts as a change, and what nobody has is taken."""
    for shape, use in [
        ((3,), lambda x: x.sum().backward()), ((3,), lambda x: (x * 2).sum().backward()), ((3,), lambda x: x.clone().backward(T.ones(3))),
        ((3,), lambda x: x.backward(T.ones(3))), ((2, 3), lambda x: x.t().clone().backward(T.ones(3, 2))),
        ((2, 3), lambda x: x.view(-1).backward(T.ones(6))), ((1,), lambda x: x.expand(3).sum().backward()),
        ((), lambda x: (x * x).backward()), ((3,), lambda x: (x * x + x).sum().backward()), ((300, 300), lambda x: (x * x + x).sum().backward()),
        ((300, 300), lambda x: (x + x).sum().backward()), ((300, 300), lambda x: (x * x).sum().backward()),
        ((3,), lambda x: (x * x).sum().backward(create_graph=True)), ((3,), lambda x: x.double().sum().backward()),
    ]:
        x = T.ones(shape, requires_grad=True)
        found = []
        for _ in range(3):
            use(x)
            found.append(x.grad._version)
        yield found


def test_gradients_count_their_changes_as_torchs_do():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(gathered(fg)) == list(gathered(torch))
