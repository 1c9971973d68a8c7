"""Hooks on gradients, nodes and kept values; the modes that watch or forbid recording."""

import asyncio
import warnings

import pytest

import ferrograd as fg
from ferrograd.autograd import graph


def leaf(*values):
    return fg.tensor(list(values), dtype=fg.float64, requires_grad=True)


def test_a_hook_sees_and_replaces_the_gradient():
    x, seen = leaf(3.0), []
    handle = x.register_hook(lambda g: g * 2)
    y = x * 2
    y.register_hook(seen.append)
    y.backward()
    assert x.grad.tolist() == [4.0] and seen[0].tolist() == [1.0]
    handle.remove()
    handle.remove()
    x.grad = None
    (x * 2).backward()
    assert x.grad.tolist() == [2.0]


def test_hooks_run_in_order_and_before_the_gradient_is_kept():
    x = leaf(3.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g + 1)
    y.register_hook(lambda g: g * 10)
    y.backward()
    assert y.grad.tolist() == [20.0] and x.grad.tolist() == [40.0]


def test_a_handle_is_a_context_manager():
    x = leaf(3.0)
    with x.register_hook(lambda g: g * 0):
        x.sum().backward()
    assert x.grad.tolist() == [0.0]
    x.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_hooks_change_what_grad_gives():
    x = leaf(3.0)
    y = x * 2
    x.register_hook(lambda g: g * 5)
    y.register_hook(lambda g: g * 7)
    assert [g.item() for g in fg.autograd.grad(y * 1, (x, y))] == [70.0, 7.0]


def test_a_hook_after_accumulation():
    x, seen = leaf(3.0), []
    x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.item())))
    (x * 2).backward()
    (x * 2).backward()
    assert seen == [(True, 2.0), (True, 4.0)]
    fg.autograd.grad(x * 2, x)
    assert len(seen) == 2


def test_hooks_of_nodes():
    x, seen = leaf(3.0), []
    y = x * x
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((len(inputs), outputs[0].item())))
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 10,))
    y.backward()
    assert seen == [(2, 10.0)] and x.grad.tolist() == [60.0]


def test_hooks_of_the_node_at_a_leaf():
    x, seen = leaf(3.0), []
    node = graph.get_gradient_edge(x).node
    node.register_hook(lambda inputs, outputs: seen.append((inputs, outputs[0].item())))
    (x * 2).backward()
    assert seen == [((), 2.0)]


def test_wrong_hooks():
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        fg.ones(1).register_hook(print)
    with pytest.raises(RuntimeError, match="non-leaf"):
        (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)
    for given, error, message in [
        (3, TypeError, "hook returned 'int'"),
        (fg.ones(4, dtype=fg.float64), RuntimeError, "size of value"),
        (fg.ones(1), RuntimeError, "type of value"),
    ]:
        x = leaf(1.0)
        x.register_hook(lambda g, given=given: given)
        with pytest.raises(error, match=message):
            (x * 2).backward()
        assert x.grad is None


def test_an_exception_in_a_hook_arrives_unchanged():
    x = leaf(1.0)
    x.register_hook(lambda g: {}["key"])
    with pytest.raises(KeyError, match="key") as raised:
        (x * 2).backward()
    assert raised.traceback[-1].name == "<lambda>"


def test_a_hook_may_call_backward():
    x, inner = leaf(2.0), leaf(5.0)

    @fg.enable_grad()
    def hook(g):
        (inner * 3).backward()

    x.register_hook(hook)
    (x * 2).backward()
    assert inner.grad.item() == 3.0 and x.grad.item() == 2.0


def test_hooks_on_several_gradients(capsys):
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    all_of, any_of = [], []
    handle = graph.register_multi_grad_hook([a, b, c], all_of.append)
    graph.register_multi_grad_hook([a, b], any_of.append, mode="any")
    (a * b).backward()
    assert [[g and g.item() for g in grads] for grads in all_of] == [[2.0, 1.0, None]] and len(any_of) == 1
    handle.remove()
    (a * b).backward()
    assert len(all_of) == 1 and len(any_of) == 2
    with pytest.raises(ValueError, match="mode"):
        graph.register_multi_grad_hook([a], print, mode="some")


def test_saved_values_go_through_hooks():
    packed = []

    def pack(t):
        packed.append(t.shape)
        return t.tolist()

    x = leaf(1.0, 2.0)
    with graph.saved_tensors_hooks(pack, lambda kept: fg.tensor(kept, dtype=fg.float64)):
        y = (x * x).exp().sum()
    assert len(packed) == 3
    (first,) = fg.autograd.grad(y, x, create_graph=True)
    (second,) = fg.autograd.grad(first.sum(), x)
    expected = (x * x).exp().sum()
    (plain,) = fg.autograd.grad(expected, x, create_graph=True)
    assert first.tolist() == plain.tolist()
    assert second.tolist() == fg.autograd.grad(plain.sum(), x)[0].tolist()


def test_errors_in_hooks_on_saved_values():
    x = leaf(1.0)
    with pytest.raises(ZeroDivisionError), graph.saved_tensors_hooks(lambda t: 1 / 0, lambda t: t):
        x * x
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x * x
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.backward()


def test_hooks_on_saved_values_can_be_refused():
    with graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"), graph.saved_tensors_hooks(print, print):
            pass
    with graph.save_on_cpu():
        y = leaf(2.0) ** 2
    y.backward()


def test_mutation_of_saved_tensors_can_be_allowed():
    x = leaf(2.0)
    with graph.allow_mutation_on_saved_tensors():
        y = x * 3
        z = y**2
        y.zero_()
        z.backward()
    assert x.grad.item() == 36.0


def test_gradient_edges_stand_for_tensors():
    x = leaf(2.0)
    edge = graph.get_gradient_edge(x)
    assert edge.output_nr == 0
    assert fg.autograd.grad(x * x, edge)[0].item() == 4.0
    y = x * x
    end = graph.get_gradient_edge(y)
    assert end.node is y.grad_fn and fg.autograd.grad(end, x, fg.ones(1, dtype=fg.float64))[0].item() == 4.0
    with pytest.raises(RuntimeError, match="does not require gradients"):
        graph.get_gradient_edge(fg.ones(1))


def test_versions():
    x = fg.ones(2)
    graph.increment_version(x)
    graph.increment_version([x])
    assert x._version == 2


def test_inference_mode():
    with fg.inference_mode():
        t = fg.ones(2)
        assert t.is_inference() and not fg.is_grad_enabled() and fg.is_inference_mode_enabled()
        t.add_(1)
        with fg.inference_mode(False):
            assert not fg.ones(2).is_inference() and fg.is_grad_enabled()
    assert not fg.is_inference_mode_enabled() and fg.is_grad_enabled()
    w = fg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        t.add_(1)
    assert t.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="requires_grad=True on inference tensor"):
        t.requires_grad_()
    with pytest.raises(RuntimeError, match="do not track version"):
        t._version
    with pytest.raises(RuntimeError, match="cannot be saved for backward"):
        w * t
    assert (w + t).requires_grad and not t.clone().is_inference()
    view = t[0]
    assert view.is_inference()


def test_modes_decorate_functions_generators_and_coroutines():
    @fg.inference_mode()
    def function():
        return fg.is_inference_mode_enabled()

    @fg.no_grad()
    def generator():
        got = yield fg.is_grad_enabled()
        yield got, fg.is_grad_enabled()

    @fg.no_grad()
    async def coroutine():
        before = fg.is_grad_enabled()
        await asyncio.sleep(0)
        return before, fg.is_grad_enabled()

    async def outside():
        task = asyncio.ensure_future(coroutine())
        await asyncio.sleep(0)
        return fg.is_grad_enabled(), await task

    assert function() and not fg.is_inference_mode_enabled()
    steps = generator()
    assert next(steps) is False and fg.is_grad_enabled()
    assert steps.send(5) == (5, False)
    assert asyncio.run(outside()) == (True, (False, False))


@pytest.mark.parametrize("mode, name", [(fg.no_grad, "no_grad"), (fg.inference_mode, "inference_mode")])
def test_views_of_views_that_were_made_without_recording(mode, name):
    x = fg.zeros(2)
    with mode():
        y = x.view(2)
    y.requires_grad_()
    z = y.view(2)
    with pytest.raises(RuntimeError, match=f"a view of a view which was created in .* is being modified .* inside the {name} block"):
        z /= 2


def test_what_requires_a_gradient_is_resized_in_inference_mode():
    with fg.inference_mode():
        x = fg.ones(1, 2, 3, requires_grad=True)
        assert x.resize_(1, 2).shape == (1, 2) and x.requires_grad
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        fg.ones(2, requires_grad=True).resize_(1)


def test_modes_hold_while_a_generator_is_closed():
    seen = []

    def noted():
        try:
            yield
        finally:
            seen.append(fg.is_grad_enabled())

    @fg.no_grad()
    def generator():
        yield from noted()

    @fg.no_grad()
    async def asynchronous():
        for value in noted():
            yield value

    async def outside():
        steps = asynchronous()
        await anext(steps)
        await steps.aclose()

    steps = generator()
    next(steps)
    steps.close()
    asyncio.run(outside())
    assert seen == [False, False] and fg.is_grad_enabled()


def test_anomaly_mode_names_the_node_the_line_and_the_element():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with fg.autograd.detect_anomaly():
            x = leaf(4.0, 0.0)
            y = (x * 0).sqrt() * x  # the failing line
            with pytest.raises(RuntimeError, match=r"'SqrtBackward0' returned nan values in its 0th output.*\[1\]"):
                y.sum().backward()
    texts = [str(w.message) for w in shown]
    assert "Anomaly Detection has been enabled" in texts[0]
    assert "Error detected in SqrtBackward0" in texts[1] and "# the failing line" in texts[1]
    assert not fg.is_anomaly_enabled()


def test_nodes_tell_the_lines_that_recorded_them():
    class Doubled(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with fg.autograd.set_detect_anomaly(True):
        y = fg.ones(1, requires_grad=True) * 2
        z = Doubled.apply(y)
    for node in (y.grad_fn, z.grad_fn):
        frames = node.metadata["traceback_"]
        assert any(f'File "{__file__}", line ' in frame for frame in frames[-2:]) and all(frame.startswith("  File ") for frame in frames)
        node.metadata["mine"] = 1
        assert set(node.metadata) == {"traceback_", "mine"}
    assert (y * 2).grad_fn.metadata == {}


def test_anomaly_mode_looks_for_nan_unless_told_otherwise():
    """The setting stands beside the mode: it holds while the mode is off, too."""
    assert not fg.is_anomaly_enabled() and fg.is_anomaly_check_nan_enabled()
    with fg.autograd.set_detect_anomaly(False, check_nan=False):
        assert not fg.is_anomaly_check_nan_enabled()
        x = fg.zeros(1, requires_grad=True)
        x.sqrt().backward()
    assert fg.is_anomaly_check_nan_enabled()


def test_anomaly_mode_shows_the_line_that_changed_a_saved_value():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fg.autograd.set_detect_anomaly(True):
            x = leaf(2.0) * 1
            y = x * x
            x.add_(1)  # the change
            with pytest.raises(RuntimeError, match="last changed here(.|\n)*# the change"):
                y.backward()


def test_one_thread():
    with fg.autograd.set_multithreading_enabled(False):
        x = leaf(2.0)
        (x * x).backward()
    assert x.grad.item() == 4.0


def test_a_pass_that_ends_at_a_result_runs_the_hooks_of_its_node():
    calls = []
    x = fg.tensor([2.0], requires_grad=True)
    y = x * 3
    y.grad_fn.register_prehook(lambda grads: calls.append("before"))
    y.grad_fn.register_hook(lambda inputs, outputs: calls.append(("after", inputs[0], outputs[0].item())))
    (y * 5).backward(inputs=[y])
    assert calls == ["before", ("after", None, 5.0)]
    assert y.grad.item() == 5.0 and x.grad is None


def test_hooks_after_accumulation_share_the_first_gradient():
    x = fg.ones(2, requires_grad=True)
    node = (x * 1).grad_fn.next_functions[0][0]
    x.register_post_accumulate_grad_hook(lambda leaf: (leaf.grad.add_(1), None)[1])
    seen = []
    node.register_hook(lambda _, grads: seen.append(grads[0].tolist()))
    (x * 3).sum().backward()
    assert seen == [[4.0, 4.0]] == [x.grad.tolist()]


def test_hooks_on_the_gradient_are_listed():
    x = fg.ones(1, requires_grad=True)
    y = x * 2
    assert x._backward_hooks is None and y._backward_hooks is None
    for t in (x, y):
        handle = t.register_hook(print)
        assert t._backward_hooks == {handle.id: print}
        handle.remove()
        assert t._backward_hooks is None
    with pytest.raises(RuntimeError, match="register_hook"):
        x._backward_hooks = {}
    for name in ("_backward_hooks", "_grad_fn", "data", "requires_grad"):
        with pytest.raises(RuntimeError, match="cannot be deleted"):
            delattr(x, name)


def test_hooks_after_a_node_see_the_gradient_that_a_hook_before_it_gave():
    x, seen = fg.tensor([2.0], requires_grad=True), []
    y = x.tanh()
    y.grad_fn.register_prehook(lambda gradients: (gradients[0] * 3,))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append(outputs[0].item()))
    y.backward()
    assert seen == [3.0] and x.grad.item() == pytest.approx(3 * (1 - y.item() ** 2))


def test_hooks_on_several_outputs_run_in_the_order_in_which_they_came():
    def run(T):
        first, second = (T.arange(4.0, requires_grad=True) * 1).chunk(2)
        seen = []
        second.register_hook(lambda g: seen.append("second"))
        first.register_hook(lambda g: seen.append("first"))
        second.register_hook(lambda g: seen.append("second again"))
        (first * second).sum().backward()
        return seen

    assert run(fg) == ["second", "second again", "first"]
    try:
        import torch
    except ImportError:
        return
    assert run(torch) == run(fg)


def test_hooks_of_what_a_pass_starts_from_run_where_nothing_wanted_is_reached():
    z = fg.tensor(1.0, requires_grad=True)
    x, seen = fg.ones(2, requires_grad=True), []
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: seen.append(("result", g.tolist())))
    x.register_hook(lambda g: seen.append(("leaf", g.tolist())))
    assert fg.autograd.grad([y, y, x], [z], [fg.ones(2), fg.ones(2), fg.full((2,), 3.0)], allow_unused=True) == (None,)
    assert sorted(seen) == [("leaf", [3.0, 3.0]), ("result", [2.0, 2.0])]
    assert y.grad.tolist() == [2.0, 2.0] and x.grad is None
    del seen[:]
    y.backward(fg.ones(2), inputs=[z])
    assert seen == [("result", [1.0, 1.0])] and z.grad is None


def test_the_node_of_a_leaf_accumulates_where_it_is_called():
    x = fg.ones(2, requires_grad=True)
    node = (x * 1).grad_fn.next_functions[0][0]
    node(fg.tensor([1.0, 2.0]))
    node(fg.tensor([1.0, 2.0]))
    assert x.grad.tolist() == [2.0, 4.0]


def test_hooks_on_any_of_several_leave_out_what_has_no_gradient():
    frozen, x, y = fg.ones(1), leaf(2.0), leaf(3.0)
    seen = []
    handle = graph.register_multi_grad_hook([frozen, x, y], lambda grad: seen.append(grad.tolist()), mode="any")
    for _ in range(2):
        (x * y * frozen).backward()
    assert len(seen) == 2 and all(g in ([2.0], [3.0]) for g in seen)
    handle.remove()
    with pytest.raises(AssertionError, match="Expected gradient function to be set"):
        graph.register_multi_grad_hook([frozen, x], seen.append)


def test_views_without_a_node_have_no_edge():
    x = leaf(1.0, 2.0)
    with fg.no_grad():
        view = x[:1]
    assert view.requires_grad
    for ask in (graph.get_gradient_edge, graph.to_dot, lambda t: graph.register_multi_grad_hook([t], print)):
        with pytest.raises(AssertionError, match="Expected gradient function to be set"):
            ask(view)
    y = leaf(1.0, 2.0) * 1
    with fg.no_grad():
        view = y[:1]
    y.mul_(2)
    for ask in (graph.get_gradient_edge, graph.to_dot, lambda t: graph.register_multi_grad_hook([t], print)):
        with pytest.raises(RuntimeError, match="no_grad"):
            ask(view)
