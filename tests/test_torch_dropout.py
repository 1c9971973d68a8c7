"""What is left out at random in both libraries: the same parts for the same seed, gradients, nodes, forms in place, maps, errors."""

import warnings

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")
from test_torch_random import OWN_BERNOULLI, fail_alike, same  # noqa: E402 - after torch was found

pytestmark = pytest.mark.skipif(not OWN_BERNOULLI, reason="torch draws these by MKL on this processor")

FLOATS = ("float32", "float64", "float16", "bfloat16")


def F(T):
    return T.nn.functional


#: Calls with an input of 2 to 5 dimensions.
CALLS = {
    "dropout": lambda T, x: F(T).dropout(x),
    "dropout 0.2": lambda T, x: F(T).dropout(x, 0.2),
    "dropout 0": lambda T, x: F(T).dropout(x, 0),
    "dropout 1": lambda T, x: F(T).dropout(x, 1),
    "alpha": lambda T, x: F(T).alpha_dropout(x, 0.3, True),
    "alpha 1": lambda T, x: F(T).alpha_dropout(x, 1.0, training=True),
    "feature alpha": lambda T, x: F(T).feature_alpha_dropout(x, 0.3, True),
    "torch.dropout": lambda T, x: T.dropout(x, 0.4, True),
    "torch.feature_dropout": lambda T, x: T.feature_dropout(x, 0.4, True),
    "torch.alpha_dropout": lambda T, x: T.alpha_dropout(x, 0.4, True),
    "torch.feature_alpha_dropout": lambda T, x: T.feature_alpha_dropout(x, 0.4, True),
    "native_dropout": lambda T, x: T.native_dropout(x, 0.4, True),
    "native_dropout False": lambda T, x: T.native_dropout(x, 0.4, False),
    "native_dropout 1": lambda T, x: T.native_dropout(x, 1.0, True),
    "dropout2d": lambda T, x: F(T).dropout2d(x),
    "dropout3d": lambda T, x: F(T).dropout3d(x, 0.3),
    "rrelu": lambda T, x: F(T).rrelu(x),
    "rrelu bounds": lambda T, x: T.rrelu(x, 0.3, 0.7),
    "gumbel": lambda T, x: F(T).gumbel_softmax(x),
    "gumbel hard": lambda T, x: F(T).gumbel_softmax(x, 0.5, True, dim=0),
}
DRAWN_SLOPES = {
    "rrelu train": lambda T, x: F(T).rrelu(x, training=True),
    "rrelu one slope": lambda T, x: F(T).rrelu(x, 0.25, 0.25, True),
    "torch.rrelu": lambda T, x: T.rrelu(x, 0.1, 0.4, True),
}
#: In place, on a tensor with a history.
IN_PLACE = {
    "dropout": lambda T, x: F(T).dropout(x, 0.3, inplace=True),
    "dropout 1": lambda T, x: F(T).dropout(x, 1.0, inplace=True),
    "alpha": lambda T, x: F(T).alpha_dropout(x, 0.3, True, True),
    "feature alpha": lambda T, x: F(T).feature_alpha_dropout(x, 0.3, True, inplace=True),
    "dropout2d": lambda T, x: F(T).dropout2d(x, inplace=True),
    "torch.dropout_": lambda T, x: T.dropout_(x, 0.4, True),
    "torch.feature_dropout_": lambda T, x: T.feature_dropout_(x, 0.4, True),
    "torch.alpha_dropout_": lambda T, x: T.alpha_dropout_(x, 0.4, True),
    "torch.feature_alpha_dropout_": lambda T, x: T.feature_alpha_dropout_(x, 0.4, True),
    "rrelu": lambda T, x: F(T).rrelu(x, inplace=True),
    "rrelu train": lambda T, x: F(T).rrelu(x, training=True, inplace=True),
    "torch.rrelu_": lambda T, x: T.rrelu_(x, 0.2, 0.5, True),
}


def inputs(T, dtype, requires_grad=False):
    base = T.arange(120, dtype=T.float64).sin().to(getattr(T, dtype)).requires_grad_(requires_grad)
    return base, {
        "matrix": base.reshape(10, 12) * 1,
        "transposed": (base.reshape(10, 12) * 1).t(),
        "images": base.reshape(2, 3, 4, 5) * 1,
        "permuted": (base.reshape(2, 3, 4, 5) * 1).permute(1, 2, 3, 0),
        "volumes": base.reshape(2, 3, 2, 2, 5) * 1,
        "gaps": (base.reshape(10, 12) * 1)[:, ::2],
    }


def name(y):
    return y.grad_fn and y.grad_fn.name().rsplit("::", 1)[-1]


def found(T, call, dtype, layout, seed):
    """Results, gradient, nodes and the state of the stream."""
    base, known = inputs(T, dtype, True)
    T.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = call(T, known[layout])
    results = result if isinstance(result, tuple) else (result,)
    y = results[0]
    weights = T.arange(y.numel(), dtype=T.float64).cos().to(y.dtype).reshape(tuple(y.shape))
    (y * weights).sum().backward()
    nodes = [name(y), [n and n.name().rsplit("::", 1)[-1] for n, _ in y.grad_fn.next_functions]]
    return results, base.grad, nodes, T.rand(1).item()


def compare(call, what, dtype, layout, seed=0, nodes=True):
    ours, theirs = (found(T, call, dtype, layout, seed) for T in (fg, torch))
    for o, t in zip(ours[0], theirs[0], strict=True):
        same(o.detach(), t.detach(), what, layout=False)
    same(ours[1], theirs[1], what)
    if nodes:
        assert ours[2] == theirs[2], what
    assert ours[3] == theirs[3], what


@pytest.mark.parametrize("layout", list(inputs(fg, "float32")[1]))
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients(call, dtype, layout):
    for seed in (0, 8):
        compare(CALLS[call], f"{call} {dtype} {layout}", dtype, layout, seed)


@pytest.mark.parametrize("layout", list(inputs(fg, "float32")[1]))
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("call", DRAWN_SLOPES)
def test_slopes(call, dtype, layout):
    compare(DRAWN_SLOPES[call], f"{call} {dtype} {layout}", dtype, layout)


@pytest.mark.parametrize("layout", ["matrix", "images", "transposed", "gaps"])
@pytest.mark.parametrize("call", IN_PLACE)
def test_in_place(call, layout):
    def run(T, x):
        y = IN_PLACE[call](T, x)
        assert y is x and y._version > 0
        return y

    compare(run, f"{call} {layout}", "float64", layout, nodes=layout in ("matrix", "images"))


def test_a_mask_without_a_word_about_training_is_drawn():
    """The gradient is that of the function; torch leaves out the scale then."""
    found = []
    for T in (fg, torch):
        x = T.ones(20, requires_grad=True)
        T.manual_seed(0)
        y, mask = T.native_dropout(x, 0.4, None)
        y.sum().backward()
        found.append((y.tolist(), mask.tolist(), x.grad.tolist()))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] == found[0][0]


def test_inputs_without_a_batch():
    for call, shape in (("dropout1d", (5, 3)), ("dropout1d", (2, 5, 3)), ("dropout3d", (5, 2, 2, 3)), ("dropout3d", (2, 5, 2, 2, 3))):
        for in_place in (False, True):
            results = []
            for T in (fg, torch):
                T.manual_seed(2)
                x = T.arange(float(np.prod(shape))).reshape(shape)
                y = getattr(F(T), call)(x, 0.4, inplace=in_place)
                assert (y is x) == in_place
                results.append(y)
            same(*results, call, exact=True)


def test_what_is_not_trained_stays_itself():
    for T in (fg, torch):
        x = T.ones(3, 4)
        for call in ("dropout", "alpha_dropout", "feature_alpha_dropout"):
            assert getattr(F(T), call)(x, training=False) is x
        assert T.dropout(x, 0.5, False) is x and F(T).dropout(x, 0.0) is x
        assert F(T).dropout(T.zeros(0)).shape == (0,)


def test_derivatives_of_second_order():
    x = fg.arange(1.0, 13.0, dtype=fg.float64).sin().reshape(3, 4).requires_grad_()

    def fixed(call):
        def run(x):
            fg.manual_seed(0)
            y = call(fg, x)
            return (y[0] if isinstance(y, tuple) else y) ** 2

        return run

    for call in [CALLS[n] for n in ("dropout", "alpha", "native_dropout", "rrelu", "gumbel")] + list(DRAWN_SLOPES.values()):
        assert fg.autograd.gradcheck(fixed(call), x, check_forward_ad=True)
        assert fg.autograd.gradgradcheck(fixed(call), x)


MAPPED = {
    "dropout": lambda T, x: F(T).dropout(x), "constant": lambda T, x: F(T).dropout(T.ones(4)) + x,
    "alpha": lambda T, x: F(T).alpha_dropout(x, training=True), "channels": lambda T, x: F(T).dropout1d(x.reshape(2, 2)),
    "feature": lambda T, x: T.feature_dropout(x.reshape(2, 2), 0.5, True), "in place": lambda T, x: F(T).dropout(x * 1, inplace=True),
    "native": lambda T, x: T.native_dropout(x, 0.5, True)[0], "gumbel": lambda T, x: F(T).gumbel_softmax(x),
    "gumbel hard": lambda T, x: F(T).gumbel_softmax(x, hard=True), "off": lambda T, x: F(T).dropout(x, training=False),
}


@pytest.mark.parametrize("call", MAPPED)
@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_under_vmap(call, randomness):
    def mapped(T):
        T.manual_seed(0)
        vmap = T.vmap if T is fg else torch.vmap
        return vmap(lambda x: MAPPED[call](T, x), randomness=randomness)(T.arange(24, dtype=T.float64).reshape(6, 4).cos())

    try:
        theirs = mapped(torch)
    except RuntimeError:
        with pytest.raises(RuntimeError, match="randomness"):
            mapped(fg)
    else:
        same(mapped(fg), theirs, call)


def test_slopes_under_vmap():
    x = -fg.ones(3, 4)
    drawn = fg.vmap(lambda x: F(fg).rrelu(x, training=True), randomness="different")(x)
    assert len(set(drawn.reshape(-1).tolist())) == 12
    assert fg.vmap(lambda x: F(fg).rrelu(x))(x).tolist() == F(fg).rrelu(x).tolist()


ERRORS = """
    F.dropout(x,2.0); F.dropout(x,-0.1); F.dropout(x,float('nan')); T.dropout(x,2.0,True); T.dropout(x,float('nan'),True); F.dropout(i)
    T.dropout(i,0.5,True); T.dropout(x,0.5,1); T.feature_dropout(x,0.5,True); F.dropout1d(x); F.dropout1d(T.ones(1,1,1,1)); F.alpha_dropout(x,2.0)
    F.feature_alpha_dropout(x,0.5,True); F.rrelu(x,0.5,0.1); F.rrelu(x,0.5,0.1,True); F.rrelu(i,training=True); F.rrelu(x,float('nan'),1.0)
    F.rrelu(x,float('inf'),float('inf'),True); T.native_dropout(x,2.0,True); T.native_dropout(i,0.5,True); F.gumbel_softmax(i)
    F.dropout(leaf,inplace=True); T.dropout_(leaf,0.5,True); F.dropout(3); F.dropout(x,'a'); F.dropout(x,training=3); F.rrelu(T.ones(3).half(),training=True)
    F.dropout(T.tensor([True])); T.rrelu_(leaf); F.gumbel_softmax(x,'a'); F.alpha_dropout(i,0.5,True)
""".replace("\n", ";").split(";")


@pytest.mark.parametrize("text", [text.strip() for text in ERRORS if text.strip()])
def test_errors(text):
    def call(T):
        known = {"T": T, "F": F(T), "x": T.ones(3), "i": T.arange(3), "leaf": T.ones(3, requires_grad=True)}
        return eval(text, known)

    fail_alike(call, text)


def test_checkpoints_leave_out_the_same_again():
    from ferrograd.utils.checkpoint import checkpoint

    for reentrant in (True, False):
        x = fg.ones(100, requires_grad=True)
        y = checkpoint(lambda x: F(fg).dropout(x, 0.4), x, use_reentrant=reentrant)
        y.sum().backward()
        assert x.grad.tolist() == y.tolist()
