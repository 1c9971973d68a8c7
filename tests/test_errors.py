"""Every entry of the catalogue of errors (`src/error/mod.rs`): a call that raises it, with its message and its class.

The catalogue is read from its source: an entry without a call here fails `test_every_error_has_a_call`.
"""

import re
from pathlib import Path

import numpy as np
import pytest

import ferrograd as fg
from ferrograd import _ferrograd, func
from ferrograd.autograd import forward_ad, graph

SOURCE = (Path(__file__).resolve().parents[1] / "src/error/mod.rs").read_text()

#: What an entry looks like: the template of its message, and its name.
ENTRY = re.compile(r'#\[error\(\s*"((?:[^"\\]|\\.)*)"[^\]]*?\)\]\s*(\w+)', re.S)
TEMPLATES = {name: template for template, name in ENTRY.findall(SOURCE)}


def pattern(template: str) -> str:
    """A regular expression for the messages of a template."""
    parts = re.split(r"\{[^{}]*\}", template)
    return "(?s)^" + ".*".join(re.escape(part) for part in parts) + "$"


def leaf(*shape, **options):
    return fg.ones(*shape or (2,), requires_grad=True, **options)


def batched(function, *tensors, randomness="error"):
    """A function of one example of a batch, run on all."""
    level = _ferrograd._vmap_enter(len(tensors[0]), randomness)
    try:
        return function(*[_ferrograd._add_batch_dim(t, 0, level) for t in tensors])
    finally:
        _ferrograd._vmap_exit()


def escaped():
    found = []
    fg.vmap(lambda x: (found.append(x), x)[1])(fg.ones(3))
    return found[0]


def gathered(dtype):
    x = leaf()
    x.grad_dtype = dtype
    return x


def with_gradient():
    x = leaf()
    x.grad = fg.ones(2)
    return x


def detached_after_saving():
    x = leaf()
    z = x * 1
    y = z.sin()
    z.detach_()
    fg.autograd.grad(y.sum(), x, create_graph=True)


def read_only():
    array = np.ones(2)
    array.flags.writeable = False
    return fg.from_numpy(array)


def hook_saved(node):
    node._raw_saved_self.register_hooks(lambda t: t, lambda t: t)


def hooked_twice():
    node = (leaf() * leaf()).grad_fn
    hook_saved(node)
    hook_saved(node)


def hooked_after_backward():
    y = leaf() * leaf()
    y.sum().backward()
    hook_saved(y.grad_fn)


def backward_twice():
    y = (leaf() ** 2).sum()
    y.backward()
    y.backward()


def detached_before_backward():
    y = leaf() * 2
    z = y * y
    y.detach_()
    z.sum().backward()


def changed_after_saving():
    x = leaf()
    y = x * 1
    z = y.exp()
    z.add_(1)
    z.sum().backward()


def inference():
    with fg.inference_mode():
        return fg.ones(2)


def unrecorded_view():
    x = leaf() * 1
    with fg.no_grad():
        view = x[0]
    view.add_(1)


def stray_view():
    """A view made where nothing is recorded, of what was changed since."""
    base = leaf() * 1
    with fg.no_grad():
        view = base.view(-1)
    base.mul_(2)
    (view * 2).sum().backward()


def tangent_of_a_tangent():
    forward_ad.make_dual(fg.ones(1), forward_ad.make_dual(fg.ones(1), fg.ones(1)))


def hook_gives(*results):
    y = leaf() * 2
    y.grad_fn.register_hook(lambda inputs, outputs: results)
    y.sum().backward()


def outdated_view():
    """A view that a custom function made of what was changed since."""
    function = type("View", (fg.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x.view(-1))})
    base = leaf() * 1
    view = function.apply(base)
    base.mul_(2)
    view.sum().backward()


def undefined_hook():
    """A hook that gives a gradient where nothing depends on the tensor."""
    first, second = leaf().unbind()
    second.register_hook(lambda grad: fg.ones(()))
    first.backward()


def tensor_hook_gives(result):
    x = leaf()
    x.register_hook(lambda g: result)
    (x * 2).sum().backward()


def saved_hooks_disabled():
    with graph.disable_saved_tensors_hooks("not here"), graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        leaf().exp()


def saved_through(pack, unpack):
    x = leaf()
    with graph.saved_tensors_hooks(pack, unpack):
        y = x * x
    y.sum().backward()


def nan_under_anomaly_mode():
    x = fg.tensor([0.0], requires_grad=True)
    with fg.autograd.set_detect_anomaly(True):
        (x.sqrt() * 0).sum().backward()


def gradient_by_what_is_shared():
    x = leaf()
    batched(lambda b: fg.autograd.grad((x * b).sum(), x), fg.ones(3, 2))


def change_within_a_transform():
    z = fg.zeros(2)
    func.grad(lambda x: z.copy_(x).sum())(fg.ones(2))


def within_a_level(function):
    with forward_ad.dual_level():
        return function()


class Raises(fg.autograd.Function):
    """A function whose derivative raises an exception of its own."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        raise LookupError("from the derivative")


class Misshapen(fg.autograd.Function):
    """A function whose derivative has another shape than its input."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return fg.ones(3)


CALLS = {
    "Broadcast": (lambda: fg.ones(2) + fg.ones(3), RuntimeError),
    "InnerSizes": (lambda: fg.ones(2, 3) @ fg.ones(4, 5), RuntimeError),
    "Rank": (lambda: fg.ones(2, 2, 2).t(), RuntimeError),
    "Shape": (lambda: fg.stack([fg.ones(1), fg.ones(2)]), RuntimeError),
    "DimRange": (lambda: fg.ones(2).sum(3), IndexError),
    "NoDimensions": (lambda: fg.tensor(1.0).size(0), IndexError),
    "DimRepeated": (lambda: fg.ones(2, 2).sum((0, 0)), RuntimeError),
    "GatherRange": (lambda: fg.ones(2).gather(0, fg.tensor([5])), RuntimeError),
    "IndexShape": (lambda: fg.ones(2).index_copy(0, fg.tensor([0]), fg.ones(2)), IndexError),
    "IndexRange": (lambda: fg.ones(2)[5], IndexError),
    "NothingToIndex": (lambda: fg.zeros(0, 0).index_put((fg.tensor([2]),), fg.zeros(1, 0)), IndexError),
    "TooManyIndices": (lambda: fg.ones(2)[0, 0], IndexError),
    "IndexDType": (lambda: fg.ones(2)[fg.ones(1)], IndexError),
    "IndexScalar": (lambda: fg.tensor(1.0)[0], IndexError),
    "IndexShapes": (lambda: fg.ones(3, 3)[[0, 1], [0, 1, 2]], IndexError),
    "Stretch": (lambda: fg.ones(3).narrow(0, 1, 5), RuntimeError),
    "ReshapeSize": (lambda: fg.ones(6).reshape(4, 2), RuntimeError),
    "ReshapeAmbiguous": (lambda: fg.ones(0).reshape(0, -1), RuntimeError),
    "ViewNeedsCopy": (lambda: fg.ones(2, 3).t().view(6), RuntimeError),
    "Expand": (lambda: fg.ones(2).expand(3), RuntimeError),
    "ExpandRank": (lambda: fg.ones(2, 2).expand(2), RuntimeError),
    "PermuteRank": (lambda: fg.ones(2, 2).permute(0), RuntimeError),
    "SizeOverflow": (lambda: fg.zeros(2**40, 2**40), RuntimeError),
    "StorageBounds": (lambda: fg.ones(2).as_strided((3,), (1,)), RuntimeError),
    "DTypeUnsupported": (lambda: fg.rand(2, dtype=fg.int64), NotImplementedError),
    "DTypeInvalid": (lambda: fg.tensor([True]) - fg.tensor([True]), RuntimeError),
    "DTypeMismatch": (lambda: fg.ones(2, 2) @ fg.ones(2, 2, dtype=fg.float64), RuntimeError),
    "ResultCast": (lambda: fg.tensor([1]).add_(1.5), RuntimeError),
    "InPlaceShape": (lambda: fg.ones(1).add_(fg.ones(3)), RuntimeError),
    "SharedMemory": (lambda: (lambda x: x[1:].index_copy_(0, fg.tensor([0, 1]), x[:2]))(fg.ones(3)), RuntimeError),
    "Overlap": (lambda: fg.ones(1).expand(3).add_(1), RuntimeError),
    "ReadOnly": (lambda: read_only().add_(1), RuntimeError),
    "IntegerDivisionByZero": (lambda: fg.tensor([1]) // 0, RuntimeError),
    "NegativeIntegerPower": (lambda: fg.tensor([2]) ** -1, RuntimeError),
    "EmptyReduction": (lambda: fg.zeros(0, 3).max(0), IndexError),
    "EmptyTotal": (lambda: fg.zeros(0).max(), RuntimeError),
    "EmptyPlaces": (lambda: fg.zeros(0).argmin(), IndexError),
    "NotScalar": (lambda: fg.ones(2).item(), RuntimeError),
    "AmbiguousTruth": (lambda: bool(fg.ones(2)), RuntimeError),
    "Range": (lambda: fg.arange(0, 1, 0), RuntimeError),
    "PinMemory": (lambda: fg.zeros(2, pin_memory=True), RuntimeError),
    "Invalid": (lambda: fg.cat([fg.tensor(1.0)]), RuntimeError),
    "Argument": (lambda: fg.ones(2)[::-1], ValueError),
    "ArgumentType": (lambda: fg.set_default_dtype(fg.int64), TypeError),
    "Alpha": (lambda: fg.tensor([1]).add(fg.tensor([1]), alpha=1.5), RuntimeError),
    "RoundingMode": (lambda: fg.ones(2).div(2, rounding_mode="up"), RuntimeError),
    "Overflow": (lambda: fg.full((2,), 300, dtype=fg.uint8), RuntimeError),
    "IndexedShape": (lambda: fg.ones(3).__setitem__([0, 1], fg.ones(3)), RuntimeError),
    "MaskShape": (lambda: fg.ones(2)[fg.tensor([True])], IndexError),
    "NoDerivative": (lambda: fg.unique(leaf()).sum().backward(), NotImplementedError),
    "NoBounds": (lambda: fg.ones(2).clamp(), RuntimeError),
    "Data": (lambda: fg.tensor([[1, 2], [3]]), ValueError),
    "EmptyList": (lambda: fg.stack([]), RuntimeError),
    "NothingToJoin": (lambda: fg.cat([]), ValueError),
    "NotImplemented": (lambda: fg.ones(2) & fg.ones(2), NotImplementedError),
    "OutOfMemory": (lambda: fg.empty(2**58), fg.OutOfMemoryError),
    "NoGradient": (lambda: fg.ones(1).backward(), RuntimeError),
    "ImplicitGradient": (lambda: (leaf() * 2).backward(), RuntimeError),
    "GradientShape": (lambda: (leaf() * 2).backward(fg.ones(3)), RuntimeError),
    "GradientCount": (lambda: fg.autograd.backward([leaf()], [None, None]), RuntimeError),
    "GraphFreed": (backward_twice, RuntimeError),
    "SavedChanged": (changed_after_saving, RuntimeError),
    "SavedDetached": (detached_before_backward, RuntimeError),
    "UnusedInput": (lambda: fg.autograd.grad(leaf(1) * 2, leaf(1)), RuntimeError),
    "InputWithoutGrad": (lambda: fg.autograd.grad(leaf(1) * 2, fg.ones(1)), RuntimeError),
    "InPlaceLeaf": (lambda: leaf().add_(1), RuntimeError),
    "InPlaceLeafView": (lambda: leaf()[0].add_(1), RuntimeError),
    "InPlaceUnrecordedView": (unrecorded_view, RuntimeError),
    "InPlaceMultiView": (lambda: (leaf() * 1).unbind()[0].add_(1), RuntimeError),
    "OutdatedView": (outdated_view, RuntimeError),
    "StrayView": (stray_view, RuntimeError),
    "SavedInference": (lambda: leaf() * inference(), RuntimeError),
    "InPlaceInference": (lambda: inference().add_(1), RuntimeError),
    "InferenceGrad": (lambda: inference().requires_grad_(), RuntimeError),
    "PackChanges": (lambda: saved_through(lambda t: t.detach().add_(1), lambda t: t), RuntimeError),
    "Unpacked": (lambda: saved_through(lambda t: t, lambda t: t[:1]), RuntimeError),
    "RandomState": (lambda: fg.set_rng_state(fg.zeros(5, dtype=fg.uint8)), RuntimeError),
    "SavedHooksDisabled": (saved_hooks_disabled, RuntimeError),
    "SavedHookOnNone": (lambda: hook_saved((leaf() * fg.ones(2)).grad_fn), RuntimeError),
    "SavedHookTwice": (hooked_twice, RuntimeError),
    "SavedHookFreed": (hooked_after_backward, RuntimeError),
    "BatchedRead": (lambda: batched(lambda x: x.item(), fg.ones(2)), RuntimeError),
    "BatchedMask": (lambda: batched(lambda x: x[x > 0], fg.ones(2, 3)), RuntimeError),
    "BatchedSize": (lambda: batched(lambda x: x.nonzero(), fg.ones(2, 3)), RuntimeError),
    "ExampleBounds": (lambda: batched(lambda x: x.as_strided([2], [1]), fg.ones(2)), RuntimeError),
    "ExampleInput": (lambda: batched(lambda x: fg.autograd.grad(x * 2, x), leaf()), RuntimeError),
    "BatchedInPlace": (lambda: batched(lambda x: fg.zeros(1).add_(x), fg.ones(2, 1)), RuntimeError),
    "BatchedRandom": (lambda: batched(lambda x: fg.rand(1), fg.ones(2)), RuntimeError),
    "BatchedRandomGradient": (lambda: batched(lambda x: fg.rand(1), fg.ones(2), randomness="unsupported"), RuntimeError),
    "NoTangent": (lambda: within_a_level(lambda: fg.igamma(forward_ad.make_dual(fg.ones(1), fg.ones(1)), fg.ones(1))), NotImplementedError),
    "DualLevel": (lambda: within_a_level(lambda: _ferrograd._exit_dual_level(5)), RuntimeError),
    "NoDualLevel": (lambda: forward_ad.make_dual(fg.ones(1), fg.ones(1)), RuntimeError),
    "DualDType": (lambda: within_a_level(lambda: forward_ad.make_dual(fg.tensor([1]), fg.tensor([1]))), ValueError),
    "DualShape": (lambda: within_a_level(lambda: forward_ad.make_dual(fg.ones(2), fg.ones(3))), RuntimeError),
    "DualTangent": (lambda: within_a_level(tangent_of_a_tangent), RuntimeError),
    "InPlaceCaptured": (change_within_a_transform, RuntimeError),
    "SharedInput": (gradient_by_what_is_shared, RuntimeError),
    "GradDType": (lambda: fg.tensor([1]).requires_grad_(), RuntimeError),
    "NotLeaf": (lambda: (leaf() * 2).requires_grad_(False), RuntimeError),
    "RetainGrad": (lambda: fg.ones(2).retain_grad(), RuntimeError),
    "NanGradient": (nan_under_anomaly_mode, RuntimeError),
    "HookWithoutGrad": (lambda: fg.ones(2).register_hook(print), RuntimeError),
    "HookNotLeaf": (lambda: (leaf() * 2).register_post_accumulate_grad_hook(print), RuntimeError),
    "HookCount": (lambda: hook_gives(fg.ones(2), fg.ones(2), fg.ones(2)), RuntimeError),
    "HookOnUndefined": (undefined_hook, RuntimeError),
    "CallbackOutsidePass": (lambda: fg.autograd.Variable._execution_engine.queue_callback(print), RuntimeError),
    "HookValue": (lambda: tensor_hook_gives(fg.ones(3)), RuntimeError),
    "Host": (lambda: Raises.apply(leaf()).sum().backward(), LookupError),
    "NumpyRequiresGrad": (lambda: leaf().numpy(), RuntimeError),
    "Assignment": (lambda: setattr(leaf(), "grad", fg.ones(3)), RuntimeError),
    "DataDType": (lambda: setattr(leaf(), "data", fg.ones(2, dtype=fg.int64)), RuntimeError),
    "GradDTypeMismatch": (lambda: setattr(gathered(fg.float16), "grad", fg.ones(2)), RuntimeError),
    "GradDTypeTaken": (lambda: setattr(with_gradient(), "grad_dtype", fg.float16), RuntimeError),
    "GradDTypeOfResult": (lambda: (leaf() * 2).grad_dtype, RuntimeError),
    "Escaped": (lambda: escaped() + 1, RuntimeError),
    "InvalidGradient": (lambda: Misshapen.apply(leaf()).sum().backward(), RuntimeError),
}
#: Entries that no call here reaches: `tests/errors.rs` has the first; the second is a defect by its meaning; the third is
#: `KeyboardInterrupt`, for `test_interrupt.py`.
FROM_RUST = {"GradCheck", "Internal", "Interrupted"}
#: The whole messages of entries whose template fits almost every message.
GENERAL = {
    "Data": "tensor: expected sequence of length 2 at dim 1 (got 1)",
    "Invalid": "cat: zero-dimensional tensor (at position 0) cannot be concatenated",
    "Alpha": "add: For integral input tensors, argument alpha must not be a floating point number.",
    "SavedHooksDisabled": "not here",
    "Host": "from the derivative",
}


def test_every_error_has_a_call():
    assert len(TEMPLATES) > 80
    assert sorted(TEMPLATES) == sorted(CALLS.keys() | FROM_RUST)


@pytest.mark.filterwarnings("ignore:Error detected in")
@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_error_is_raised(name):
    call, kind = CALLS[name]
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    assert re.search(pattern(TEMPLATES[name]), str(caught.value)), caught.value
    assert GENERAL.get(name, str(caught.value)) == str(caught.value)


def test_what_was_detached_is_told_where_it_is_differentiated_again():
    with pytest.raises(RuntimeError, match=pattern(TEMPLATES["SavedDetached"])):
        detached_after_saving()


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_a_message_is_told_from_others():
    """The patterns are strict enough that no message fits the template of a hundred others."""
    messages = {}
    for name, (call, kind) in CALLS.items():
        with pytest.raises(kind) as caught:
            call()
        messages[name] = str(caught.value)
    general = {*GENERAL, "GradCheck"}
    # The same words, of another class.
    twins = [{"Shape", "IndexShape"}, {"IndexRange", "GatherRange"}, {"EmptyTotal", "EmptyPlaces"}, {"EmptyList", "NothingToJoin"}]
    for name, message in messages.items():
        own = {name}.union(*(pair for pair in twins if name in pair))
        others = {n for n in TEMPLATES if n not in general and re.search(pattern(TEMPLATES[n]), message)}
        assert others - own <= {"Range", "Argument", "NotImplemented", "DTypeInvalid"}, (name, message, others)
