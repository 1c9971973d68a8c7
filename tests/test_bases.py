"""What an operation or a derivative made on its way is nobody's base: its results are changed as tensors of their own."""

from known import known


def product(T):
    x = T.ones(3, requires_grad=True)
    return x, x @ T.ones(3, 2)


@known((None, False, ([3.0, 3.0], "MulBackward0")))
def test_a_product_made_without_recording_may_be_changed_by_what_is_recorded(T):
    w = T.ones(2, requires_grad=True)
    with T.no_grad():
        r = T.ones(3) @ T.ones(3, 2)
    base, is_view = r._base, r._is_view()
    r.mul_(w)
    r.sum().backward()
    return base, is_view, (w.grad.tolist(), r.grad_fn.name())


@known((None, False, None))
def test_a_product_may_be_detached_in_place(T):
    _, y = product(T)
    return y._base, y.detach_().requires_grad, y.grad_fn


@known(("MulBackward0", "SqueezeBackward4", [4.0, 4.0, 4.0], "ReluBackward0", [2.0, 2.0, 2.0]))
def test_a_change_of_a_product_has_its_own_node(T):
    x, y = product(T)
    y.mul_(2)
    (doubled,) = T.autograd.grad(y.sum(), x)
    x, z = product(T)
    z.relu_()
    (kept,) = T.autograd.grad(z.sum(), x)
    return y.grad_fn.name(), y.grad_fn.next_functions[0][0].name(), doubled.tolist(), z.grad_fn.name(), kept.tolist()


@known((None, None, True, True, True))
def test_other_results_without_a_base(T):
    v, m, z = T.ones(3), T.ones(2, 3), T.tensor(5.0)
    both = T.broadcast_tensors(v, v)
    return T.nn.functional.linear(v, m)._base, T.kron(m, m)._base, z.mT._base is None, z.mT is z, both[0] is v


@known((True, True, True))
def test_views_of_arguments_stay_views(T):
    x = T.ones(2, 3)
    spread = T.broadcast_tensors(x, T.ones(4, 2, 3))[0]
    square = T.ones(2, 2)
    diagonal = T.einsum("ii->i", square)
    diagonal.zero_()
    return spread._base is x, T.ones(3)[:2]._is_view(), square.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@known(([6.0, 6.0, 6.0], [2.0, 2.0, 2.0], 6.0, 2.0))
def test_gradients_through_a_view_of_everything_may_be_changed(T):
    def changed(x, y, w):
        (g,) = T.autograd.grad((y * 2).sum(), x)
        g *= w
        g.sum().backward()
        return g.tolist(), w.grad.tolist()

    x, w = T.ones(3, requires_grad=True), T.full((3,), 3.0, requires_grad=True)
    z, u = T.tensor(5.0, requires_grad=True), T.tensor(3.0, requires_grad=True)
    return *changed(x, x.squeeze(), w), *changed(z, z.squeeze(0), u)
