"""Every operation of the table in every dtype that it takes, with the numbers at which formulas and casts go wrong.

Element-wise operations are compared with NumPy's formula, computed in float64 and rounded to the result's dtype here, with
integers in their own dtype. What moves elements is compared bit by bit with where NumPy's indices say that they come from. All
other functions give in 16 and 32 bits what they give of the same numbers in 64, to the roundings of the narrower dtype, and of
integers what they give of them in int64. A new operation is drawn without a line here.
"""

import re

import numpy as np
import pytest
from captured import TABLE, call, captured, mapped, tensors, told
from hypothesis import given, settings
from hypothesis import strategies as st
from samples.random import DRAWN
from test_operations import DIFFERENTIABLE, MASKED, POINTWISE, function, operands, reference, shapes_of, takes_number
from test_terms import DTYPES, expected, taken

import ferrograd as fg

FLOATS = DTYPES[6:]
WHOLE = DTYPES[:6]
pytestmark = pytest.mark.filterwarnings("ignore")
#: Bits behind the point, and the greatest number.
PRECISION = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
GREATEST = {"float16": 65504.0, "bfloat16": float.fromhex("0x1.fep127"), "float32": float(np.finfo("float32").max), "float64": float(np.finfo("float64").max)}
LEAST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


def rounded(array, dtype):
    """Float64 numbers to the nearest of a dtype, ties to even: by their exponents, without a cast."""
    array = np.asarray(array, "float64")
    if dtype == "float64":
        return array
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(array)
        unit = np.maximum(np.ldexp(1.0, np.where(np.isfinite(array), exponent, 0) - 1 - PRECISION[dtype]), LEAST[dtype])
        near = np.where(np.isfinite(array), np.rint(array / unit) * unit, array)
        return np.where(np.abs(near) > GREATEST[dtype], np.copysign(np.inf, near), near)


def test_rounding_is_numpys():
    numbers = np.concatenate([np.random.default_rng(0).normal(size=2000) * 10.0 ** np.arange(-10, 10).repeat(100), [0.0, -0.0, 65519.9, 65520, 1e300, np.inf, -np.inf, np.nan]])
    with np.errstate(all="ignore"):
        for dtype in ("float16", "float32"):
            np.testing.assert_array_equal(rounded(numbers, dtype), numbers.astype(dtype).astype("float64"))
    assert rounded([1 + 2**-8, 1 + 3 * 2**-8, 3.4e38], "bfloat16").tolist() == [1.0, 1 + 2**-6, np.inf]


def special(dtype):
    """The numbers of a dtype at which formulas go wrong."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype in WHOLE:
        limits = np.iinfo(dtype)
        return np.array([limits.min, limits.max, 0, 1, 2, 3, 5, 7] + ([-1, -2, -3] if limits.min else []), dtype)
    ends = [0.0, 0.5, 1.0, 2.0, 3.0, 20.0, 100.0, GREATEST[dtype], NORMAL[dtype], LEAST[dtype], np.inf, np.nan]
    return rounded([sign * n for n in ends for sign in (1, -1)], dtype)


#: Of zeros of both signs these give either.
EITHER_ZERO = {"maximum", "minimum", "fmax", "fmin", "clamp_min", "clamp_max", "lerp"}
#: Operations of integers that have no result for every second one.
NO_ZERO = ("Quotient",)


def numbers(rng, row, n, shape, dtype):
    """Numbers for an operand: of its domain, special ones, or both in one array."""
    low, high = row["domain"][n]
    own = rng.uniform(low, high, shape)
    own = rounded(own, dtype) if dtype in FLOATS else np.rint(np.abs(own) if dtype in ("uint8", "bool") else own).astype(dtype)
    return divisor(np.where(rng.random(shape) < 0.5, rng.choice(special(dtype), shape), own), row, n, dtype)


def divisor(found, row, n, dtype):
    """Numbers for an operand, without those that integers have no result for."""
    if n == 1 and dtype in WHOLE and row["rule"] in NO_ZERO:
        found = np.where(found == 0, np.array(1, dtype), found)
    if n == 1 and dtype in WHOLE and row["rule"] == "Power":
        found = np.abs(found % 7).astype(dtype)
    return found if dtype in FLOATS else found.astype(dtype)


LAYOUTS = st.sampled_from(["plain", "stepped", "transposed"])


def steps(how, x):
    """The same numbers as they lie, in memory with steps, or transposed."""
    if how == "stepped" and x.dim():
        return x.repeat_interleave(2, -1)[..., ::2]
    if how == "transposed" and x.dim() > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    return x


def accepted(name):
    return sorted(taken(told(name, "Dtypes")), key=DTYPES.index)


def exact(name, arrays, result):
    """What NumPy's formula gives, not rounded: in float64, and in float32 where that is what narrower dtypes are computed with,
    as the formula may overflow in between. Integers are computed with as they are."""
    if result not in FLOATS:
        return [np.asarray(reference(name)(*arrays)).astype(result)]
    # Integers are taken to the result's dtype first.
    wide = [a if type(a) is float else rounded(a, result) for a in arrays]
    with np.errstate(all="ignore"):
        found = [reference(name)(*wide)]
        if result != "float64":
            found.append(reference(name)(*[a if type(a) is float else a.astype("float32") for a in wide]))
        if result in ("float16", "bfloat16"):
            # Of some operations, as of torch's, the numbers are rounded too.
            found.append(reference(name)(*[float(rounded([a], result)[0]) if type(a) is float else a for a in wide]))
    return [np.asarray(y, "float64") for y in found]


def values(x):
    return x.double().numpy() if x.is_floating_point() else x.numpy()


#: How far a result may be from the rounded one: as tests of values have it, and one unit of 16 bits, which are computed with
#: in float32.
ROOM = {"float16": (2.0**-10, 1e-7), "bfloat16": (2.0**-7, 1e-7), "float32": (3e-6, 1e-7), "float64": (1e-14, 1e-15)}


@pytest.mark.parametrize("name", sorted(POINTWISE))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_element_wise_values(name, data):
    row = POINTWISE[name]
    names = accepted(name)
    if name == "where":
        names = DTYPES
    if any(takes_number(row, n) for n in range(row["arity"])):
        # Numbers of the domain are none of the integers.
        names = [dtype for dtype in names if dtype in FLOATS]
    dtype = data.draw(st.sampled_from(names))
    shapes = shapes_of(data, row, max_dims=3, max_side=6)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    arrays = [float(rng.uniform(*row["domain"][n])) if takes_number(row, n) else numbers(rng, row, n, shape, dtype) for n, shape in enumerate(shapes)]
    if name == "masked_fill":
        arrays[2] = np.asarray(arrays[2].ravel()[:1].sum(), arrays[2].dtype)
    if name in MASKED:
        arrays[MASKED[name]] = rng.random(shapes[MASKED[name]]) < 0.5
    made = [a if type(a) is float else fg.tensor(a) if a.dtype == bool else steps(data.draw(LAYOUTS), fg.tensor(a).to(getattr(fg, dtype))) for a in arrays]
    ours = function(name)(*made)
    result = expected(told(name, "Dtypes"), dtype, None) if name != "where" else dtype
    assert str(ours.dtype) == f"torch.{result}"
    compare(name, ours, arrays, result)


def compare(name, ours, arrays, result):
    """Holds a result against NumPy's."""
    theirs = exact(name, arrays, result)
    assert tuple(ours.shape) == theirs[0].shape
    if result not in FLOATS:
        np.testing.assert_array_equal(ours.numpy(), theirs[0])
        return
    near = np.logical_or.reduce([same(values(ours), y, result, name not in EITHER_ZERO) for y in theirs])
    shown = [np.broadcast_to(a, near.shape)[~near] for a in (values(ours), *theirs, *arrays)]
    assert near.all(), shown


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_special_values_meet(name):
    """Each special number beside each, for two operands, and in all places of three; one operand has all numbers between too."""
    row = POINTWISE[name]
    free = [n for n in range(row["arity"]) if not takes_number(row, n) and n != MASKED.get(name)]
    if name == "masked_fill":
        free = free[:1]
    names = DTYPES if name == "where" else accepted(name)
    for dtype in [d for d in names if d in FLOATS] if any(takes_number(row, n) for n in range(row["arity"])) else names:
        few = special(dtype)[:: 2 if len(free) == 3 else 1]
        if len(free) == 1 and dtype in FLOATS:
            few = np.concatenate([few, rounded(np.linspace(*row["domain"][free[0]], 41), dtype)])
        grid = iter([g.ravel() for g in np.meshgrid(*[few] * len(free), indexing="ij")])
        arrays = []
        for n in range(row["arity"]):
            low, high = row["domain"][n]
            if n in free:
                arrays.append(divisor(next(grid), row, n, dtype))
            elif takes_number(row, n):
                arrays.append(low + 0.6 * (high - low))
            else:
                arrays.append(np.resize([True, False, False], arrays[0].shape if arrays else len(few) ** 2) if n == MASKED[name] else np.asarray(1, few.dtype))
        made = [a if type(a) is float else fg.tensor(a) if a.dtype == bool else fg.tensor(a).to(getattr(fg, dtype)) for a in arrays]
        compare(name, function(name)(*made), arrays, expected(told(name, "Dtypes"), dtype, None) if name != "where" else dtype)


def same(ours, exact, dtype, signed):
    """Where there are the same infinities, NaN and zeros, which have signs where they are no small numbers, and numbers to a
    rounding."""
    theirs = rounded(exact, dtype)
    relative, absolute = ROOM[dtype]
    with np.errstate(all="ignore"):
        # A number that rounds to infinity may round to the greatest, and the other way.
        end = (np.abs(theirs) >= GREATEST[dtype]) & (np.abs(ours) >= GREATEST[dtype] * (1 - 2 * relative)) & (np.sign(ours) == np.sign(theirs))
        near = end | (ours == theirs) | (np.abs(ours - theirs) <= relative * np.abs(theirs) + absolute)
    zeros = (ours == 0) & (exact == 0) & signed
    return np.where(np.isnan(theirs), np.isnan(ours), near & (~zeros | (np.signbit(ours) == np.signbit(theirs))))


#: Functions of whole tensors. Those that draw or give what was in memory have no one value.
FUNCTIONS = [
    name for name in sorted(TABLE)
    if name not in POINTWISE and name not in DRAWN and not (name.endswith("_") and name[:-1] in TABLE)
    and not re.search("empty|uniform_|normal_|cauchy_|exponential_|geometric_|random_|bernoulli_|rrelu_|dropout_", name)
]


def with_tensors(name, change):
    """Runs the captured call with the tensors of its first one's dtype changed; the results."""
    arguments, named = captured(name)
    main = next(tensors([arguments, list(named.values())])).dtype
    changed = lambda t: change(t) if t.dtype == main else t  # noqa: E731
    made = call(name, [mapped(a, changed) for a in arguments], {key: mapped(value, changed) for key, value in named.items()})
    return list(tensors(tuple(made) if isinstance(made, tuple) else made))


def labels(name, numbered):
    """What a function makes of tensors whose elements are numbered through all of them."""
    count = [0]

    def label(t):
        first, count[0] = count[0], count[0] + t.numel()
        return numbered(np.arange(first + 1, count[0] + 1)).reshape(t.shape)

    return with_tensors(name, label)


def moves(name):
    """True where each element of the result is one of an operand, whichever its value, or one that is in none."""
    if "Any" != TABLE[name]["takes"] or TABLE[name]["gives"] not in ("Kept", "Like", "Shared", "Promoted", "First"):
        return False
    try:
        up = labels(name, fg.tensor)
        down = labels(name, lambda n: fg.tensor(1000 - n))
    except (RuntimeError, StopIteration):
        return False
    return all(a.shape == b.shape and ((a + b == 1000) | ((a == b) & (a < 2))).all() for a, b in zip(up, down))


#: What looks at values all the same: it tells equal elements, or numbers from others.
LOOKS = {"unique_consecutive", "nan_to_num"}
MOVES = [name for name in FUNCTIONS if moves(name) and name not in LOOKS]


def test_what_moves_elements_is_found():
    assert {"cat", "flip", "gather", "index_select", "permute", "roll", "scatter", "stack", "tril", "unfold", "view"} <= set(MOVES)
    assert not {"sum", "sort", "amax", "kron", "index_add", "cumsum"} & set(MOVES)


def bits(x):
    return values(x).tobytes() if x.dtype != fg.float16 else x.contiguous().view(fg.int16).numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MOVES)
def test_elements_are_moved_as_they_are(name, dtype):
    """NaN, infinities, zeros with their signs and the ends of every dtype, to where the numbered elements went."""
    table = np.resize(special(dtype)[::-1], 1001)
    whole = labels(name, fg.tensor)
    for places, found in zip(whole, labels(name, lambda n: fg.tensor(table[n]).to(getattr(fg, dtype)))):
        assert found.dtype == getattr(fg, dtype)
        places, found = places.numpy(), values(found)
        # Zeros and ones that are in no operand are written where `places` has them; element 1 is not told from those.
        told_apart = places > 1
        wanted = np.where(told_apart, table[np.where(told_apart, places, 0)], found)
        np.testing.assert_array_equal(found, wanted)
        if dtype in FLOATS:
            np.testing.assert_array_equal(np.signbit(found)[~np.isnan(found)], np.signbit(wanted)[~np.isnan(found)])


def computes(name):
    """True where a function computes with all tensors of the first one's dtype."""
    arguments, named = captured(name)
    has_tensors = next(tensors([arguments, list(named.values())]), None) is not None
    return has_tensors and name not in MOVES and name not in LOOKS and "`" not in told(name, "Dtypes")


COMPUTES = [name for name in FUNCTIONS if computes(name)]


def narrow(name):
    """The floating-point dtypes of less than 64 bits that a function takes."""
    return [dtype for dtype in accepted(name) if dtype in FLOATS[:3]]


@pytest.mark.parametrize("name", [name for name in COMPUTES if narrow(name)])
def test_functions_of_narrow_floats(name):
    """Of the same numbers, what they give in float64, but for the rounding of the result; with a number that is none too."""
    for dtype in narrow(name):
        for spoiled in (None, float("nan"), float("inf"), -0.0):

            def change(t, to):
                t = t.to(getattr(fg, dtype), copy=True)
                if spoiled is not None and t.numel():
                    t.view(-1)[t.numel() // 2] = spoiled
                return t.to(getattr(fg, to))

            try:
                wide = with_tensors(name, lambda t: change(t, "float64"))
            except (RuntimeError, ValueError):
                if spoiled is None:
                    raise
                with pytest.raises((RuntimeError, ValueError)):
                    with_tensors(name, lambda t: change(t, dtype))
                continue
            for ours, theirs in zip(with_tensors(name, lambda t: change(t, dtype)), wide):
                close(values(ours), values(theirs), dtype, ours.is_floating_point())


def close(ours, theirs, dtype, is_float):
    assert ours.shape == theirs.shape
    if not is_float:
        np.testing.assert_array_equal(ours, theirs)
        return
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    finite = np.isfinite(theirs) & (np.abs(theirs) < GREATEST[dtype])
    np.testing.assert_array_equal(ours[~finite & ~np.isnan(theirs)], rounded(theirs, dtype)[~finite & ~np.isnan(theirs)])
    scale = np.abs(theirs[finite]).max(initial=0.0)
    room = (16 if dtype == "float32" else 2) * 2.0 ** -PRECISION[dtype] * scale + NORMAL[dtype]
    assert (np.abs(ours[finite] - theirs[finite]) <= room).all(), (ours, theirs)


@pytest.mark.parametrize("name", [name for name in COMPUTES if {"int8", "int64"} <= set(accepted(name))])
def test_functions_of_integers(name):
    """Of the same small numbers, what they give in int64."""
    for dtype in ("int8", "int16", "int32"):

        def small(t, to):
            return ((t * 2).round().to(fg.int64) % 5 - 2).to(getattr(fg, to))

        theirs = with_tensors(name, lambda t: small(t, "int64"))
        for ours, wide in zip(with_tensors(name, lambda t: small(t, dtype)), theirs):
            ours, wide = values(ours), values(wide)
            if ours.dtype.kind == "f":
                np.testing.assert_allclose(ours, wide, rtol=1e-6)
            else:
                np.testing.assert_array_equal(ours, wide.astype(ours.dtype))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_gradients_of_narrow_floats(name, data):
    """Of the same numbers the gradients of float64, but for the rounding of what is kept for them and of themselves."""
    row = POINTWISE[name]
    dtype = data.draw(st.sampled_from([d for d in accepted(name) if d in FLOATS[:3]] or FLOATS[:3]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shapes = shapes_of(data, row, max_dims=2, max_side=3)
    arrays = operands(name, [
        float(rng.uniform(*row["domain"][n])) if takes_number(row, n) else rounded(rng.uniform(*row["domain"][n], shape), dtype)
        for n, shape in enumerate(shapes)
    ])

    layouts = [data.draw(LAYOUTS) for _ in arrays]

    def gradients(to):
        leaves = [a if type(a) is float else fg.tensor(a) if a.dtype == bool else fg.tensor(a).to(getattr(fg, to)).requires_grad_() for a in arrays]
        wanted = [t for t in leaves if isinstance(t, fg.Tensor) and t.requires_grad]
        y = function(name)(*[steps(how, a) if isinstance(a, fg.Tensor) else a for how, a in zip(layouts, leaves)])
        found = fg.autograd.grad(y, wanted, fg.ones(y.shape, dtype=y.dtype), allow_unused=True)
        return [None if g is None else g.double().numpy() for g in found]

    for ours, theirs in zip(gradients(dtype), gradients("float64")):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            unit = 2.0 ** -PRECISION[dtype]
            # What float16 does not hold is infinite.
            theirs = np.where(np.abs(theirs) > fg.finfo(getattr(fg, dtype)).max, np.copysign(np.inf, theirs), theirs)
            is_finite = np.isfinite(theirs)
            np.testing.assert_array_equal(ours[~is_finite], theirs[~is_finite])
            scale = np.abs(theirs[is_finite]).max(initial=1.0)
            assert (np.abs(ours - theirs)[is_finite] <= 8 * unit * scale).all(), (ours, theirs)
