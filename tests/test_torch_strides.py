"""How results lie in memory: the strides of every operation's results are torch's, whatever order its operands have.

`torch.stride()` of dimensions of size 1 counts too. What stays different is listed here and in docs/differences.md.
"""

import re

import numpy as np
import pytest
from captured import TABLE, call, captured, mapped, tensors
from samples.random import DRAWN
from test_torch_versions import flat, outcome
from test_torch_wrong import torchs

import ferrograd as fg

torch = pytest.importorskip("torch")

#: Products that torch hands to another product in another order of the operands, and what it has as one kernel of its own.
OTHERS = {"einsum", "nn.conv_tbc", "nn.rms_norm"}
#: What gives row-major results here also where the channels of images lie nearest in memory.
OF_IMAGES = re.compile("conv|pool|interpolate|upsample")


def permuted(order):
    """A layout whose memory has the dimensions in another order, as a function of an array."""

    def laid(array):
        dims = order(array.ndim)
        back = [dims.index(d) for d in range(array.ndim)]
        return fg.from_numpy(np.ascontiguousarray(array.transpose(dims))).permute(back)

    return laid


LAYOUTS = {
    "transposed": permuted(lambda n: [*reversed(range(n))]),
    "channels": permuted(lambda n: [0, *range(2, n), 1] if n > 2 else [*reversed(range(n))]),
    "turned": permuted(lambda n: [*range(1, n), 0]),
    "stepped": lambda array: fg.from_numpy(np.stack([array, array], -1))[..., 0],
    "expanded": lambda array: fg.from_numpy(array[:1].copy()).expand(array.shape) if len(array) else fg.from_numpy(array),
}


def twin(t):
    """torch's tensor with the same numbers in the same layout."""
    once = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in t.stride())
    made = torch.empty_strided(tuple(t[once].shape), t.stride(), dtype=getattr(torch, str(t.dtype).split(".")[1]))
    return made.copy_(torch.tensor(t[once].tolist()).reshape(made.shape)).expand(t.shape)


def theirs(value):
    if isinstance(value, fg.dtype):
        return getattr(torch, str(value).split(".")[1])
    if isinstance(value, list):
        return [theirs(v) for v in value]
    return torch.Generator() if isinstance(value, fg.Generator) else mapped(value, twin)


def laid_out(name, layout, which):
    """The captured call with its tensors, or the first of them only, in a layout."""
    count = iter(range(99))

    def change(t):
        return LAYOUTS[layout](t.detach().numpy()) if which == "all" and t.dim() or next(count) == 0 and t.dim() else t

    arguments, named = captured(name)
    return [mapped(a, change) for a in arguments], {key: mapped(a, change) for key, a in named.items()}


def strides(results):
    return [(tuple(t.shape), tuple(t.stride())) for t in results if t.numel()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(name for name in TABLE if torchs(name) and name not in OTHERS | DRAWN))
def test_results_lie_in_memory_as_torchs(name):
    for layout in LAYOUTS:
        if layout == "channels" and OF_IMAGES.search(name):
            continue
        for which in ("all", "first"):
            arguments, named = laid_out(name, layout, which)
            copies = [theirs(a) for a in arguments], {key: theirs(a) for key, a in named.items()}
            expected = outcome(name, *copies)
            if expected is None:
                continue
            try:
                found = call(name, arguments, named)
            except RuntimeError:
                # What writes to elements that share memory, or reads the memory between them.
                assert layout in ("expanded", "stepped")
                continue
            found = list(tensors([list(found) if isinstance(found, tuple) else found]))
            assert strides(found) == strides(flat(expected)), (layout, which)


def numbers_and_arrays(T):
    """Strides where numbers, NumPy and derivatives decide."""
    a = T.arange(24.0).reshape(2, 3, 4)
    yield T.pow(2, a[0].t()).stride(), (2 ** a.permute(2, 0, 1)).stride(), T.pow(T.tensor(2.0), a[0].t()).stride()
    yield [x.topk(1, 0)[0].stride() for x in (a[0].t(), a.permute(2, 0, 1), a.mT)]
    images = a.reshape(1, 2, 3, 4).permute(0, 3, 1, 2)
    yield T.nn.functional.pad(images, (1, 1)).stride(), T.nn.functional.pad(a[0].t(), (1, 1)).stride()
    for shape in ((0, 3), (3, 0), (0,), (2, 0, 3)):
        yield T.from_numpy(np.zeros(shape)).stride(), T.as_tensor(np.zeros(shape).T).stride(), T.zeros(shape).numpy().strides
    yield T.from_numpy(np.zeros((3, 1)).T).stride(), T.from_numpy(np.zeros((4, 6))[::2, ::3]).stride()


def test_numbers_arrays_and_images_decide_where_results_lie():
    assert list(numbers_and_arrays(fg)) == list(numbers_and_arrays(torch))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(("product", "shapes"), [
    (lambda T, a, b: a.t() @ b, [(4, 3), (4, 5)]), (lambda T, a, b: a.t() @ b.t(), [(4, 3), (5, 4)]),
    (lambda T, a, b: a @ b, [(3, 4), (4, 5)]), (lambda T, a, b: a @ b, [(3, 4), (2, 4, 5)]), (lambda T, a, b: a @ b, [(4,), (2, 4, 5)]),
    (lambda T, a, b: a @ b.mT, [(2, 3, 4), (2, 5, 4)]), (lambda T, a, b: T.nn.functional.linear(a, b), [(2, 3, 4), (5, 4)]),
    (lambda T, a, b, c: T.nn.functional.linear(a, b, c), [(3, 4), (5, 4), (5,)]),
    (lambda T, a, b, c: T.addmm(c, a.t(), b.t()), [(4, 3), (5, 4), (5,)]),
    (lambda T, a, b, c: T.baddbmm(c, a, b), [(2, 3, 4), (2, 4, 5), (5,)]),
])
def test_gradients_of_products_lie_as_their_factors(product, shapes, create_graph):
    def program(T):
        given = [T.ones(shape, requires_grad=True) for shape in shapes]
        y = product(T, *given)
        return y.stride(), [g.stride() for g in T.autograd.grad(y, given, T.ones_like(y), create_graph=create_graph)]

    assert program(fg) == program(torch)
