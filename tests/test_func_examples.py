"""An example of a map: it has the memory that its own view reaches, no gradient of its own, a text, and no numbers that shapes
could depend on. Programs are held against torch.func.vmap."""

import numpy as np
import pytest
from known import in_all, known, raised
from test_func import BATCH, RNG, agree, fail_alike

import ferrograd as fg

BEYOND = "can access memory outside of `tensor`"


def strided(size, stride, offset=None):
    return lambda t: t.as_strided(size, stride, offset)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("offset", [None, 0, 1, 2, 4, 5])
def test_views_by_strides_stay_within_their_example(dim, offset):
    x = np.arange(20.0).reshape(5, 4)
    for size, stride in (([2], [1]), ([3], [1]), ([2, 2], [1, 2]), ([4], [4]), ([5], [4]), ([0], [1]), ([3, 2], [0, 1])):

        def program(T, F, x):
            return F.vmap(strided(size, stride, offset), dim)(x[1:])

        if raised(lambda: program(fg, fg.func, fg.tensor(x))) == "RuntimeError":
            fail_alike(program, x, message=BEYOND)
        else:
            agree(program, x)


def test_messages_of_views_by_strides_have_the_numbers_of_the_call():
    x = np.arange(12.0).reshape(4, 3)
    message = (
        "result = tensor.as_strided([3], [1], 1) can access memory outside of `tensor`. `result` can access some memory in "
        "range [1, 4], but `tensor` can only access some memory in range [0, 3]. This is not supported inside of vmap"
    )
    fail_alike(lambda T, F, x: F.vmap(strided([3], [1], 1))(x), x, message=message)
    fail_alike(lambda T, F, x: F.vmap(strided([1, 1, 1], [1, 1]))(x), x, message="[1, 1, 1]")
    fail_alike(lambda T, F, x: F.vmap(strided([1], [1], 0))(x[:, :0]), x, message="`tensor` has no storage")
    with pytest.raises(RuntimeError, match=r"negative strides are not supported, got \[-1\]"):
        fg.vmap(strided([3], [-1], 2))(fg.tensor(x))
    with pytest.raises(RuntimeError, match=r"range \[0, 18446744073709551615\]"):
        fg.vmap(strided([2**40, 2**40][:1], [2**40]))(fg.tensor(x))


def test_views_by_strides_within_maps_of_maps():
    x = np.arange(12.0).reshape(2, 3, 2)
    for dims in ((0, 0), (1, 1), (0, 1), (1, 0)):
        for call in (([2], [1], 0), ([2], [2], 0), ([2], [1], 1), ([3], [2], 0)):

            def program(T, F, x):
                return F.vmap(F.vmap(strided(*call), dims[0]), dims[1])(x)

            if raised(lambda: program(fg, fg.func, fg.tensor(x))) == "RuntimeError":
                fail_alike(program, x, message=BEYOND)
            else:
                agree(program, x)


def test_no_example_writes_into_others():
    x = fg.arange(12.0).reshape(4, 3)
    for write in (lambda t: t.as_strided([3], [1], 1).zero_(), lambda t: t.as_strided_((3,), (1,), 1).add_(1)):
        with pytest.raises(RuntimeError, match=BEYOND):
            fg.vmap(write)(x)
        assert x.tolist() == fg.arange(12.0).reshape(4, 3).tolist()
    agree(lambda T, F, x: (F.vmap(lambda t: t.as_strided([2], [1], 1).zero_())(x), x), np.arange(12.0).reshape(4, 3))
    agree(lambda T, F, x: F.vmap(F.grad(lambda t: t.as_strided([2], [2], 0).pow(2).sum()))(x), BATCH)
    fail_alike(lambda T, F, x: F.vmap(F.grad(lambda t: t.as_strided([6], [1], 0).sum()))(x), BATCH, message=BEYOND)


@in_all
def test_an_example_is_no_place_to_differentiate_by(T):
    """Its place in the graph is that of all examples, which others may use too."""
    x = T.tensor([1.0, 2.0, 3.0], requires_grad=True)
    grad, vmap = T.autograd.grad, T.func.vmap
    out = (x**2).sum()
    for program in (
        lambda: vmap(lambda a, b: grad([a * b * b], [a])[0])(x, x),
        lambda: vmap(lambda a: grad([x.sum() * a], [a])[0])(x),
        lambda: vmap(lambda a: grad([out], [a], retain_graph=True)[0])(x),
        lambda: vmap(lambda a: grad([(a * a).sum()], [a])[0])(x * 2),
        lambda: vmap(lambda a: grad([a * a], [a])[0], 1)(x.reshape(1, 3)),
        lambda: vmap(vmap(lambda a: grad([a * a], [a])[0]))(x.reshape(3, 1)),
        lambda: vmap(lambda a: vmap(lambda b: grad([a * b], [a])[0])(a))(x.reshape(1, 3)),
        lambda: T.func.grad(lambda x: vmap(lambda a: grad([a * a], [a])[0])(x).sum())(x),
    ):
        with pytest.raises(RuntimeError, match="does not require grad"):
            program()
    y, unit = x * x, T.eye(3)
    assert vmap(lambda v: grad([y], [x], v, retain_graph=True)[0])(unit).tolist() == [[2.0, 0, 0], [0, 4.0, 0], [0, 0, 6.0]]
    assert vmap(T.func.grad(lambda t: grad([t**3], [t], create_graph=True)[0]))(x).tolist() == [6.0, 12.0, 18.0]
    vmap(lambda a: a * a * x.sum())(x).sum().backward()
    assert x.grad.tolist() == [26.0, 38.0, 50.0]


def test_what_an_example_is_copied_to_may_be_differentiated_by():
    x = fg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    library = fg.autograd.functional
    assert fg.vmap(lambda a: library.vjp(lambda t: t * t * x.sum(), a, fg.ones(()))[1])(x).tolist() == [12.0, 24.0, 36.0]
    assert fg.vmap(lambda a: library.jacobian(lambda t: t * t * a, a))(x).tolist() == [2.0, 8.0, 18.0]
    assert fg.vmap(lambda a: library.hessian(lambda t: (t**3).sum(), a))(x.detach()).tolist() == [6.0, 12.0, 18.0]


#: Functions whose results have as many elements as the numbers say, with what messages call them.
SIZED = {
    "nonzero": lambda T, x: x.nonzero(),
    "unique": lambda T, x: x.unique(),
    "unique_consecutive": lambda T, x: x.unique_consecutive(),
    "where": lambda T, x: T.where(x > 0)[0],
    "masked_select": lambda T, x: x.masked_select(x > 0),
}


@pytest.mark.parametrize("name", SIZED)
def test_results_whose_size_depends_on_the_example(name):
    fail_alike(lambda T, F, x: F.vmap(lambda x: SIZED[name](T, x))(x), BATCH)
    with pytest.raises(RuntimeError, match=f"operators that can output dynamic shape. Attempted to vmap over {name}: how many"):
        fg.vmap(lambda x: SIZED[name](fg, x))(fg.tensor(BATCH))


@pytest.mark.parametrize("name", ["equal", "allclose"])
def test_one_answer_for_all_examples(name):
    fail_alike(lambda T, F, x: F.vmap(getattr(T, name))(x, x), BATCH, message=name)
    fail_alike(lambda T, F, x: F.vmap(lambda a: getattr(T, name)(a, x[0]))(x), BATCH, message=name)


def test_channels_of_examples_are_not_laid_last():
    images = RNG.normal(size=(2, 2, 3, 4, 5))
    for clone in ("clone", "contiguous"):
        for x in (images, images[0], BATCH):
            fail_alike(lambda T, F, x: F.vmap(lambda t: getattr(t, clone)(memory_format=T.channels_last))(x), x, message="NYI")
    agree(lambda T, F, x: F.vmap(lambda t: t.transpose(0, 1).clone(memory_format=T.contiguous_format))(x), images)


def test_counts_of_each_example():
    """Where they give as many elements for each; else they cannot be stacked."""
    n, w = np.array([[1, 0, 2], [0, 1, 2]]), RNG.normal(size=(2, 3))
    for program in (
        lambda T, F, n, w: F.vmap(T.bincount)(n),
        lambda T, F, n, w: F.vmap(lambda n: T.bincount(n, minlength=5))(n),
        lambda T, F, n, w: F.vmap(lambda n, w: T.bincount(n, w, minlength=5))(n, w),
        lambda T, F, n, w: F.vmap(lambda n: T.bincount(n, w[0]))(n),
        lambda T, F, n, w: F.vmap(lambda w: T.bincount(n[0], w))(w),
        lambda T, F, n, w: F.vmap(F.vmap(lambda n: T.bincount(n, minlength=4)))(n[None]),
        lambda T, F, n, w: F.vmap(T.argwhere)(n),
        lambda T, F, n, w: F.vmap(F.vmap(T.argwhere), 1)(n[:, None]),
        lambda T, F, n, w: F.vmap(T.repeat_interleave)(n),
        lambda T, F, n, w: F.vmap(T.repeat_interleave)(w, n),
        lambda T, F, n, w: F.vmap(lambda n: T.repeat_interleave(w[0], n))(n),
        lambda T, F, n, w: F.vmap(lambda w: T.repeat_interleave(w, n[0]))(w),
        lambda T, F, n, w: F.vmap(lambda w, n: T.repeat_interleave(w, n))(w, n[:, 2:]),
    ):
        agree(program, n, w)
    n[1, 2] = 0
    for name in ("bincount", "argwhere", "repeat_interleave"):
        fail_alike(lambda T, F, n: F.vmap(getattr(T, name))(n), n, message="size")


@known(([[4.0, 2.0], [2.0, 2.0]], "RuntimeError", "RuntimeError"))
def test_a_batch_of_gradients_draws_no_random_numbers(T):
    class Noisy(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2 + T.randn_like(g)

    x = T.ones(2, requires_grad=True)
    y = x * 2
    rows = T.autograd.grad(y, x, T.tensor([[2.0, 1.0], [1.0, 1.0]]), is_grads_batched=True)[0].tolist()

    def refused(call):
        with pytest.raises(RuntimeError, match="vmap: We do not yet support calling random operations inside of vmap"):
            call()
        return "RuntimeError"

    y = Noisy.apply(x)
    return (
        rows,
        refused(lambda: T.autograd.grad(y, x, T.eye(2), is_grads_batched=True)),
        refused(lambda: T.autograd.functional.jacobian(Noisy.apply, x, vectorize=True)),
    )


@in_all
def test_the_text_of_an_example_is_that_of_the_tensor_that_was_given(T):
    found = []
    see = lambda t: (found.append(repr(t)), t)[1]
    vmap = T.func.vmap
    x = T.arange(8.0).reshape(2, 2, 2)
    vmap(see)(x)
    vmap(see, 1)(x)
    vmap(vmap(see, 1), 2)(x)
    vmap(see)(x[0, 0].clone().requires_grad_())
    block = "[[[0., 1.],\n{0}[2., 3.]],\n\n{1}[[4., 5.],\n{0}[6., 7.]]]"
    once = block.format(" " * 13, " " * 12)
    twice = block.format(" " * 17, " " * 16)
    assert found == [
        f"BatchedTensor(lvl=1, bdim=0, value=\n    tensor({once})\n)",
        f"BatchedTensor(lvl=1, bdim=1, value=\n    tensor({once})\n)",
        f"BatchedTensor(lvl=2, bdim=1, value=\n    BatchedTensor(lvl=1, bdim=2, value=\n        tensor({twice})\n    )\n)",
        "BatchedTensor(lvl=1, bdim=0, value=\n    tensor([0., 1.], requires_grad=True)\n)",
    ]
