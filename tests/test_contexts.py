"""Context managers as decorators, and the names that functions written in Python are made of."""

import asyncio
import contextlib

import pytest

import ferrograd as fg
from ferrograd.autograd import function, graph
from ferrograd.utils import _contextlib
from ferrograd.utils._contextlib import context_decorator

SEEN = []


class counted(_contextlib._NoParamDecoratorContextManager):
    def __enter__(self):
        SEEN.append("in")

    def __exit__(self, *exception):
        SEEN.append("out")


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def test_functions_run_within_the_block():
    @counted
    def one(x):
        return x, list(SEEN)

    @counted()
    def two(x):
        return x

    assert one(3) == (3, ["in"]) and two(4) == 4 and SEEN == ["in", "out"] * 2
    assert one.__name__ == "one"


def test_generators_and_coroutines_are_within_it_while_they_run():
    @counted
    def numbers():
        got = yield len(SEEN)
        yield got

    run = numbers()
    assert next(run) == 1 and SEEN == ["in", "out"] and run.send(7) == 7 and SEEN == ["in", "out"] * 2
    SEEN.clear()

    @counted
    async def later():
        await asyncio.sleep(0)
        return list(SEEN)

    # It waits once, outside of the block.
    assert asyncio.run(later()) == ["in", "out", "in"]


def test_a_context_or_a_function_that_gives_one():
    for both in (counted(), counted):
        with pytest.raises(AssertionError, match="both callable and a context manager"):
            context_decorator(both, len)
    assert context_decorator(lambda: counted(), len)([1, 2]) == 2 and SEEN == ["in", "out"]
    plain = contextlib.nullcontext()
    assert context_decorator(plain, len)([1]) == 1
    with pytest.raises(RuntimeError, match="Cannot decorate classes"):
        context_decorator(plain, int)


def test_modes_are_such_contexts():
    for mode in (fg.no_grad, fg.enable_grad, fg.set_grad_enabled, fg.inference_mode, graph.disable_saved_tensors_hooks):
        assert issubclass(mode, _contextlib._DecoratorContextManager)
    assert issubclass(fg.no_grad, _contextlib._NoParamDecoratorContextManager)
    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):
        made = fg.no_grad(type("Model", (), {"__init__": lambda self: setattr(self, "mode", fg.is_grad_enabled())}))
    assert made().mode is False and made.__name__ == "Model"
    with pytest.raises(NotImplementedError), _contextlib._DecoratorContextManager():
        pass


class Double(fg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_functions_are_contexts_to_those_who_ask():
    assert issubclass(Double, function.FunctionCtx) and issubclass(Double, function._SingleLevelFunction)
    assert issubclass(Double._backward_cls, function.FunctionCtx) and not issubclass(Double._backward_cls, Double)
    assert type(Double) is function.FunctionMeta and function._ContextMethodMixin is function.FunctionCtx
    assert Double.vjp is fg.autograd.Function.vjp is fg.autograd.Function.backward
    assert not function._is_setup_context_defined(Double.setup_context)
    assert function._is_setup_context_defined(lambda ctx, inputs, output: None)
    assert fg.autograd.NestedIOFunction is function.NestedIOFunction
    x = fg.ones(1, requires_grad=True)
    y = Double.apply(x)
    y.backward()
    assert isinstance(y.grad_fn, function.FunctionCtx) and x.grad.tolist() == [2]
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        made = Double()
    with pytest.raises(RuntimeError, match="Legacy autograd function"):
        made(x)
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument"):
        Double.apply(x, z=3)
