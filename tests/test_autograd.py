"""The semantics of gradients, the graph, and the modes."""

import copy
import gc
import math
import pickle
import threading

import numpy as np
import pytest

import ferrograd as fg


def leaf(*values, dtype=None):
    return fg.tensor(list(values), dtype=dtype or fg.float64, requires_grad=True)


def test_a_leaf_and_a_result():
    x = leaf(2.0)
    y = x * 3
    assert x.is_leaf and x.grad_fn is None and x.requires_grad
    assert not y.is_leaf and y.grad_fn.name() == "MulBackward0" and y.requires_grad


def test_the_graph_can_be_walked():
    x = leaf(2.0)
    z = 3 * x**2 + 1
    add = z.grad_fn
    assert add.name() == "AddBackward0"
    (mul, zero), *rest = add.next_functions
    assert (mul.name(), zero) == ("MulBackward0", 0)
    powers = [n for n, _ in mul.next_functions if n is not None]
    assert [p.name() for p in powers] == ["PowBackward0"]
    ((accumulate, _),) = powers[0].next_functions
    assert accumulate.name() == "torch::autograd::AccumulateGrad" and accumulate.variable is x


def test_grad_is_one_object():
    x = leaf(2.0)
    (x * x).backward()
    assert x.grad is x.grad
    x.grad = None
    assert x.grad is None


def test_gradients_accumulate_in_place():
    x = leaf(2.0)
    (x * 3).backward()
    first = x.grad
    (x * 4).backward()
    assert x.grad is first and first.tolist() == [7.0]


def test_shared_gradients_are_not_shared_memory():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    a.grad.zero_()
    assert b.grad.tolist() == [1.0, 1.0]


def test_diamonds_and_shared_nodes():
    x = leaf(1.5)
    y = x * x
    z = y * y + y * x + x
    z.backward()
    assert x.grad.item() == pytest.approx(4 * 1.5**3 + 3 * 1.5**2 + 1)


def test_backward_twice_needs_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_linear_graphs_can_run_twice():
    x = leaf(2.0)
    y = x + 1
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0]


def test_backward_from_several_elements_needs_a_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="scalar outputs"):
        (x * 2).backward()
    (x * 2).backward(fg.tensor([1.0, 10.0], dtype=fg.float64))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(fg.ones(3, dtype=fg.float64))


def test_saved_values_must_not_change():
    x, y = leaf(1.0), leaf(2.0)
    a = x * 1
    z = a * y
    a.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*version 1; expected version 0"):
        z.backward()


@pytest.mark.parametrize(
    "cut", [lambda x: x.unsafe_split(1), lambda x: x.unsafe_split_with_sizes((1, 1, 1)), lambda x: x.unsafe_chunk(3)]
)
def test_unsafe_parts_count_their_changes_alone(cut):
    x = leaf(1.0, 2.0, 3.0)
    whole = x * 1
    first, second, third = cut(whole)
    y = first.exp_() + second.tanh_() * third
    assert (first._version, second._version, third._version, whole._version) == (1, 1, 0, 0)
    third[:].mul_(2)
    assert (third._version, third[:]._version, second._version) == (1, 1, 1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    y = sum(part.exp_() for part in cut(x * 1))
    y.backward()
    assert x.grad.tolist() == pytest.approx([math.exp(n) for n in (1, 2, 3)])


def test_a_leaf_with_other_memory_is_another_leaf_to_graphs():
    x = leaf(1.0, 2.0)
    edge = fg.autograd.graph.get_gradient_edge(x)
    y = (x * 3).sum()
    with fg.no_grad():
        x.set_(fg.tensor([5.0], dtype=fg.float64))
    with pytest.raises(RuntimeError, match="not have been used"):
        fg.autograd.grad(y, x, retain_graph=True)
    assert fg.autograd.grad(y, edge)[0].tolist() == [3.0, 3.0]
    (x * x).backward()
    assert x.grad.tolist() == [10.0]


def test_leaves_are_not_written_in_place():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 5.0
    with pytest.raises(RuntimeError, match="view of a leaf"):
        x[0].mul_(2)
    assert x.tolist() == [1.0, 2.0]
    with fg.no_grad():
        x -= 1
    assert x.tolist() == [0.0, 1.0] and x.requires_grad and x.is_leaf


def test_grad_limits_itself_to_its_inputs():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    (g,) = fg.autograd.grad(z, x, retain_graph=True)
    assert g.tolist() == [3.0] and x.grad is None and y.grad is None
    h = x * 2
    (through,) = fg.autograd.grad(h * y, h)
    assert through.tolist() == [3.0]
    with pytest.raises(RuntimeError, match="not have been used"):
        fg.autograd.grad(x * 2, [x, y])
    assert fg.autograd.grad(x * 2, [x, y], allow_unused=True)[1] is None
    assert fg.autograd.grad(x * 2, [x, y], materialize_grads=True)[1].tolist() == [0.0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        fg.autograd.grad(x * 2, fg.ones(1))


def test_backward_into_inputs():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.tolist() == [3.0] and y.grad is None


def test_create_graph():
    x = leaf(2.0)
    (g,) = fg.autograd.grad(x**3, x, create_graph=True)
    (h,) = fg.autograd.grad(g, x, create_graph=True)
    (third,) = fg.autograd.grad(h, x)
    assert [t.item() for t in (g, h, third)] == [12.0, 12.0, 6.0]


def test_retain_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert y.grad.tolist() == [12.0] and y.retains_grad
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        fg.ones(1).retain_grad()


def test_detach_and_data_share_memory():
    x = leaf(1.0, 2.0)
    y = (x * 1).detach()
    assert not y.requires_grad and y.grad_fn is None
    d = x.data
    d[0] = 9.0
    assert x.tolist() == [9.0, 2.0] and x._version == 0
    x.data = fg.tensor([5.0], dtype=fg.float64)
    assert x.tolist() == [5.0] and x.requires_grad and x.is_leaf
    y = x * 2
    y.detach_()
    assert not y.requires_grad


def test_assigning_grad():
    x = leaf(1.0, 2.0)
    x.grad = fg.ones(2, dtype=fg.float64)
    with pytest.raises(RuntimeError, match="shape"):
        x.grad = fg.ones(3, dtype=fg.float64)
    with pytest.raises(RuntimeError, match="dtype"):
        x.grad = fg.ones(2)
    with pytest.raises(TypeError):
        x.grad = 3


def test_integers_cannot_require_gradients():
    with pytest.raises(RuntimeError, match="floating point"):
        fg.tensor([1], requires_grad=True)
    y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="leaf variables"):
        y.requires_grad_(False)


def test_modes_nest_and_decorate():
    x = leaf(1.0)
    with fg.no_grad():
        assert not fg.is_grad_enabled() and not (x * 2).requires_grad
        with fg.enable_grad():
            assert (x * 2).requires_grad
        assert not fg.is_grad_enabled()
    assert fg.is_grad_enabled()

    @fg.no_grad()
    def double(t):
        return t * 2

    @fg.no_grad
    def triple(t):
        return t * 3

    assert not double(x).requires_grad and not triple(x).requires_grad

    @fg.no_grad()
    def steps():
        assert not fg.is_grad_enabled()
        received = yield 1
        assert received == "sent" and not fg.is_grad_enabled()
        yield 2

    generator = steps()
    assert next(generator) == 1 and fg.is_grad_enabled()
    assert generator.send("sent") == 2 and fg.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), fg.no_grad():
        1 / 0
    assert fg.is_grad_enabled()
    before = fg.set_grad_enabled(False)
    assert not fg.is_grad_enabled()
    with before:
        pass
    fg.set_grad_enabled(True)
    assert fg.is_grad_enabled()


def test_modes_belong_to_threads():
    seen = []
    with fg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(fg.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_deep_chains():
    x = leaf(1.0, dtype=fg.float32)
    y = x
    for _ in range(1_000_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y
    gc.collect()


def test_backward_from_many_threads():
    x = leaf(*np.linspace(-1, 1, 50))
    shared = (x * x).tanh()

    def work():
        for _ in range(50):
            (shared * x).sum().backward(retain_graph=True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expected = fg.autograd.grad((shared * x).sum(), x)[0] * 400
    np.testing.assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
def test_gradients_have_the_same_bits_at_any_number_of_threads(threads):
    def gradients(n):
        before = fg.get_num_threads()
        fg.set_num_threads(n)
        try:
            fg.manual_seed(1)
            ws = [fg.randn(160, 160, requires_grad=True) for _ in range(4)]
            x = fg.randn(160, 160)
            outs = [(x @ w).tanh() @ w for w in ws]
            total = sum((o * outs[0]).sum() for o in outs)
            total.backward()
            return [w.grad.numpy().tobytes() for w in ws]
        finally:
            fg.set_num_threads(before)

    assert gradients(threads) == gradients(1)


def test_copies_and_pickles():
    x = leaf(1.0, 2.0)
    x.grad = fg.ones(2, dtype=fg.float64)
    y = copy.deepcopy(x)
    assert y.tolist() == x.tolist() and y.requires_grad and y.grad.tolist() == [1.0, 1.0]
    z = pickle.loads(pickle.dumps(x))
    assert z.tolist() == x.tolist() and z.dtype is fg.float64 and z.requires_grad
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(x * 2)


def test_memory_stays_flat():
    import resource

    x = fg.randn(1000, requires_grad=True)

    def step():
        x.grad = None
        ((x * 2).tanh() * x).sum().backward()

    for _ in range(200):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5000):
        step()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048


def test_gradcheck_finds_what_is_wrong():
    x = leaf(0.3, 0.7)
    assert fg.autograd.gradcheck(fg.sin, x)
    wrong = lambda t: t.detach().exp() * t  # noqa: E731 - the derivative of the detached part is missing
    with pytest.raises(RuntimeError, match=r"Jacobian mismatch.*\nnumerical:(.|\n)*\nanalytical:"):
        fg.autograd.gradcheck(wrong, x)
    assert not fg.autograd.gradcheck(wrong, x, raise_exception=False)
    with pytest.raises(ValueError, match="require gradient"):
        fg.autograd.gradcheck(fg.sin, fg.ones(2))


@pytest.mark.parametrize("name", ["eq_", "ne_", "lt_", "le_", "gt_", "ge_"])
def test_a_comparison_in_place_hands_on_no_gradient(name):
    x = fg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    getattr(y, name)(2)
    assert y.grad_fn.name() == f"{name[:2].capitalize()}Backward0"
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("make", [lambda x: x[0], lambda x: x.reshape(x.shape)], ids=["select", "reshape"])
def test_a_leaf_that_is_a_view_is_not_written_in_place(make):
    x = make(fg.ones(2)).requires_grad_()
    with pytest.raises(RuntimeError, match="view of a leaf"):
        x.mul_(2)
    assert x.is_leaf and x._version == 0


@pytest.mark.parametrize("change", [lambda b: b.mul_(3), lambda b: b[1:].mul_(3), lambda b: b.copy_(b.detach() * 3)])
@pytest.mark.parametrize("parts", ["unbind", "split", "chunk"])
def test_one_of_several_views_follows_its_base(parts, change):
    x = leaf(1.0, 2.0)
    base = x * 1
    views = {"unbind": base.unbind, "split": lambda: base.split(1), "chunk": lambda: base.chunk(2)}[parts]()
    change(base)
    (views[1].sum() * 10).backward()
    assert x.grad.tolist() == [0.0, 0.0 if change.__code__.co_names[-1] == "detach" else 30.0]
    assert views[1].sum().item() == 6.0


def test_what_an_operation_in_place_keeps_is_what_was_there():
    x, power = fg.tensor([2.0, 3.0], dtype=fg.float64), leaf(2.0, 2.0)
    x.float_power_(power).sum().backward()
    np.testing.assert_allclose(power.grad.numpy(), [4 * np.log(2), 9 * np.log(3)])


@pytest.mark.parametrize("name", ["relu", "abs", "pow", "leaky_relu", "hardtanh", "relu6", "threshold", "softshrink", "hardshrink"])
def test_derivatives_by_steps_stay_connected(name):
    functional = fg.nn.functional
    calls = {"relu": fg.relu, "abs": fg.abs, "pow": lambda x: x**1, "threshold": lambda x: functional.threshold(x, 0.0, 0.0)}
    x = fg.tensor([1.0, -2.0, 0.3], requires_grad=True)
    (g,) = fg.autograd.grad(calls.get(name, getattr(functional, name, None))(x).sum(), x, create_graph=True)
    assert g.requires_grad
    (second,) = fg.autograd.grad(g.sum(), x)
    assert second.tolist() == [0.0, 0.0, 0.0]


def test_a_factor_is_freed_as_a_tensor_is():
    x = fg.ones(2, requires_grad=True)
    for y in (x * 2, x / 2):
        y.sum().backward(retain_graph=True)
        y.sum().backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.sum().backward()


@pytest.mark.parametrize("n", [1, 8, 40])
def test_signed_zeros(n):
    minus, plus = fg.full((n,), -0.0), fg.zeros(n)
    for kept in (minus.relu(), minus.clamp(min=0.0), fg.nn.functional.hardtanh(minus, 0.0, 1.0), fg.maximum(minus, plus), fg.minimum(minus, plus)):
        assert fg.signbit(kept).all()
    assert not fg.signbit(minus.sum()) and not fg.signbit(minus.mean())


@pytest.mark.parametrize("run", [
    lambda x, e: x * e, lambda x, e: e * x, lambda x, e: x / e, lambda x, e: fg.mul(x, e), lambda x, e: x.mul(other=e),
    lambda x, e: x @ e, lambda x, e: e @ x,
    lambda x, e: (x * 1).mul_(e), lambda x, e: fg.where(x > 0, x * e, e), lambda x, e: x.pow(e),
])
def test_arrays_are_operands_as_they_were(run):
    """Backward reads the array as it was when it became an operand."""

    def gradient(change):
        x, e = leaf(1.0, 2.0), np.array([3.0, 4.0])
        y = run(x, e)
        if change:
            e[:] = 100.0
        y.sum().backward()
        return x.grad.tolist()

    assert gradient(True) == gradient(False)


def test_shared_arrays_are_told_apart_from_operands():
    array = np.array([3.0, 4.0])
    x = leaf(1.0, 2.0)
    shared = fg.from_numpy(array)
    y = (x * shared).sum()
    array[:] = 100.0
    y.backward()
    assert x.grad.tolist() == [100.0, 100.0] and shared.tolist() == [100.0, 100.0]


def test_second_derivatives_of_products_with_several_zeros_are_refused():
    x = fg.ones(1, requires_grad=True)
    source = fg.tensor([0.0, 0.0, 2.0], requires_grad=True)
    places = fg.tensor([0, 0, 0])
    y = fg.scatter_reduce(x, 0, places, source, "prod")
    (first,) = fg.autograd.grad(y, source, create_graph=True)
    assert first.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(RuntimeError, match="Double backward is unsupported"):
        first.sum().backward()


def test_modes_of_tensors_made_in_inference_mode():
    with fg.inference_mode():
        x = fg.ones(1, 2)
    assert fg.is_inference(x) and not fg.is_inference(x * 1)
    assert not x.view(-1)._is_view() and x.view(-1)._base is None
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        x.transpose_(0, 1)
    with fg.autograd.set_multithreading_enabled(False):
        assert not fg.autograd.is_multithreading_enabled()


def test_versions_go_on_where_memory_is_replaced():
    x = fg.ones(1)
    x.resize_((2, 3))
    assert x._version == 1
    x.resize_as_(fg.ones(4))
    assert x._version == 2


def test_modes_say_what_held_before():
    assert fg.is_grad_enabled()
    for mode, before in ((False, True), (False, False), (True, False)):
        switch = fg.set_grad_enabled(mode)
        assert (switch.prev, switch.mode) == (before, mode)
    assert fg.is_grad_enabled() and not fg.no_grad().prev
    with fg.no_grad() as nothing, fg.enable_grad():
        assert nothing is None and fg.is_grad_enabled()


def test_a_tensor_of_another_class_has_the_history():
    class Weight(fg.Tensor):
        pass

    x = fg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 3).as_subclass(Weight)
    assert type(y) is Weight and y.grad_fn.name() == "AliasBackward0" and y.is_cpu
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    plain = fg.zeros(2)
    assert plain.as_subclass(Weight).data_ptr() == plain.data_ptr() and not plain.as_subclass(Weight).requires_grad
    for wrong in (int, 3):
        with pytest.raises(TypeError):
            x.as_subclass(wrong)


@pytest.mark.parametrize("grad", [lambda: fg.ones(1).expand(3), lambda: fg.ones(4).as_strided((2, 2), (1, 1))])
def test_a_gradient_whose_elements_share_memory_is_not_added_to(grad):
    x = fg.ones(grad().shape, requires_grad=True)
    x.grad = grad()
    with pytest.raises(RuntimeError, match="single memory location"):
        (x * x).sum().backward()
    assert (x.grad == 1).all()


@pytest.mark.parametrize("flag", [True, 1, 2, fg.tensor(1)])
def test_flags_of_a_pass_are_truth_values_or_integers(flag):
    x = fg.ones(1, requires_grad=True)
    y = x * x
    y.backward(retain_graph=flag)
    fg.autograd.backward(y, create_graph=flag)
    assert fg.autograd.grad(y, [x, fg.ones(1, requires_grad=True)], retain_graph=flag, create_graph=flag, allow_unused=flag)[1] is None
    y.backward(retain_graph=0)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


@pytest.mark.parametrize("flag", ["a", 1.0, []])
def test_other_flags_of_a_pass_are_an_error(flag):
    x = fg.ones(1, requires_grad=True)
    for name in ("retain_graph", "create_graph", "allow_unused"):
        with pytest.raises(TypeError, match="integer"):
            fg.autograd.grad(x * x, x, **{name: flag})
    with pytest.raises(TypeError):
        (x * x).backward(retain_graph=flag)


def test_old_constructors_of_a_tensor_lead_to_it():
    w = fg.tensor([1.0, 2.0], requires_grad=True)
    for make in (fg.Tensor, fg.FloatTensor, w.new):
        y = make(w)
        assert y.grad_fn.name() == "AliasBackward0"
        assert fg.autograd.grad((y * y).sum(), w)[0].tolist() == [2.0, 4.0]
