"""What the docstring of every operation says of shapes, dtypes and errors holds, as calls of the operation show.

The calls are those of `captured`: a new operation is tested without a line here. The sentences are read as people read them:
`any but bool, promoted`, `(n, k), (k, m) -> (n, m)`.
"""

import re

import fuzz
import numpy as np
import pytest
import wrong
from captured import TABLE, call, function, mapped, of_tensors, tensors, told
from captured import captured as as_written

import ferrograd as fg

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
FAMILIES = {"any": set(DTYPES), "floating-point": set(DTYPES[6:]), "integers": set(DTYPES[1:6])} | {name: {name} for name in DTYPES}
NAMES = sorted(TABLE)
#: The forms in place of other operations.
MADE = {name: name[:-1] for name in NAMES if name.endswith("_") and TABLE[name]["doc"].startswith(f"`{name.rpartition('.')[2][:-1]}` in place.\n\n") and name[:-1] in TABLE}
PLAIN = [name for name in NAMES if name not in MADE]


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_are_complete(name):
    """Prose, shapes, dtypes, errors and an example, in this order."""
    doc = function(name).__doc__
    places = [re.search(rf"^ *{part}", doc, re.M) for part in ("Shapes: ", "Dtypes: ", "Raises: ", ">>> ")]
    places = [place.start() if place else -1 for place in places]
    assert -1 not in places and places == sorted(places), doc
    assert max(map(len, TABLE[name]["doc"].split("\n"))) <= 140
    assert not re.search(r"[^.]\.\.$|;;| ,|: \.", TABLE[name]["doc"].split(">>>")[0], re.M)


def captured(name):
    """A call of an operation, with tensors for numbers where it takes either, with the mean where a loss takes a reduction."""
    arguments, named = as_written(name)
    if TABLE[name]["shapes"] == "Loss":
        named.pop("reduction", None)
    if TABLE[name]["shapes"] == "Broadcast" and next(tensors(arguments), None) is not None:
        return of_tensors(name, arguments, named)
    return arguments, named


# Dtypes


def taken(text):
    """The dtypes that a sentence names: `any but bool`, `floating-point and int64`."""
    text = re.sub(r"^`\w+` ", "", re.split("[,;]", text)[0]).removeprefix("is ")
    named, _, without = text.partition(" but ")
    of = lambda words: set().union(*(FAMILIES[word] for word in re.split(" and | or |, ", words)))  # noqa: E731
    return of(named) - (of(without) if without else set())


def expected(text, dtype, given):
    """The dtype of the first result where all operands have one dtype; None where the sentence does not say it."""
    rest = re.split("[,;] ", text)[1:]
    whole = dtype == "bool" or "int" in dtype
    for part in rest:
        if m := re.match(r"of (\w+) it is (\w+)", part):
            if dtype == m[1]:
                return m[2]
        elif m := re.match(r"(\w+) gives (.*)", part):
            if dtype == m[1]:
                return {"the default float": "float32"}.get(m[2], m[2])
        if m := re.match("(?:bool and integers|integers) give (.*)", part):
            if whole:
                return {"the default float": "float32"}.get(m[1], m[1])
        if part.startswith(("`dtype`", "the result has `dtype`")):
            return given or dtype
    always = re.search(r"the result is (\w+)", text)
    return always[1] if always else dtype


def in_dtype(arguments, named, which, dtype, zeros=False):
    """A call with the tensors of the first one's dtype, or the parameter that is named, in another. Integers are not zero, unless
    `zeros` says so."""
    target = getattr(fg, dtype)

    def cast(t):
        if t.dtype != which:
            return t
        if not target.is_floating_point and t.is_floating_point():
            t = t.round() if zeros else fg.where(t.round() == 0, 1.0, t.round())
        return (t.abs() if dtype == "uint8" and t.dtype != fg.bool else t).to(target, copy=True)

    return [mapped(a, cast) for a in arguments], {key: mapped(value, cast) for key, value in named.items()}


def positions(name, parameter):
    """Where a parameter is in the first signature."""
    return [p for _, p, *_ in fuzz.parameters(TABLE[name]["signatures"][0])].index(parameter)


@pytest.mark.parametrize("name", PLAIN)
def test_dtypes_are_as_told(name):
    text = told(name, "Dtypes")
    accepted = taken(text)
    asked = "`dtype`" in text
    for dtype in DTYPES:
        arguments, named = captured(name)
        given = [*tensors(arguments), *tensors(list(named.values()))]
        if asked:
            if name != "to":
                named["dtype"] = getattr(fg, dtype)
            else:
                arguments[1:] = [getattr(fg, dtype)]
        elif m := re.match(r"`(\w+)`", text):
            n = positions(name, m[1])
            arguments[n] = in_dtype([arguments[n]], {}, arguments[n].dtype, dtype)[0][0]
        else:
            arguments, named = in_dtype(arguments, named, given[-1 if "others" in text else 0].dtype, dtype)
        if dtype not in accepted:
            with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)) as caught:
                call(name, arguments, named)
            named_errors = re.findall(r"(\w+Error)", told(name, "Raises"))
            assert any(issubclass(caught.type, ERRORS[error]) for error in named_errors), (dtype, caught.type)
            continue
        first = next(tensors(call(name, arguments, named)))
        assert "others" in text or str(first.dtype).removeprefix("torch.") == expected(text, dtype, asked and dtype), dtype


ERRORS = {e.__name__: e for e in (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)}


def mixes(name):
    """True where the docstring says what becomes of operands of two dtypes, and the call has two that may have them."""
    arguments, named = captured(name)
    given = [t.dtype for t in (*tensors(arguments), *tensors(list(named.values())))]
    return bool(re.search("promoted|one for all|first one's", told(name, "Dtypes"))) and given.count(given[-1 if "others" in told(name, "Dtypes") else 0]) > 1


@pytest.mark.parametrize("name", [name for name in PLAIN if mixes(name)])
def test_operands_of_two_dtypes(name):
    """They promote, or the result has the first one's, or there is an error, as the docstring says."""
    text = told(name, "Dtypes")
    arguments, named = captured(name)
    given = [*tensors(arguments), *tensors(list(named.values()))]
    low, high = ("int16", "int64") if "float32" not in taken(text) else ("float32", "float64")
    seen = []

    def cast(t):
        if t.dtype != given[-1 if "others" in text else 0].dtype:
            return t
        seen.append(t)
        return t.to(getattr(fg, low if len(seen) == 1 else high))

    arguments = [mapped(a, cast) for a in arguments]
    named = {key: mapped(value, cast) for key, value in named.items()}
    if "one for all" in text:
        with pytest.raises(RuntimeError):
            call(name, arguments, named)
    else:
        result = next(tensors(call(name, arguments, named))).dtype
        assert result == getattr(fg, low if "first one's" in text else high)


# Shapes

DIMENSION = re.compile(r"\[(\w+),\] *")


def patterns(text):
    """The alternatives of a notation: operands and results, each a list of dimensions."""
    for alternative in re.findall(r"`(\([^`]*->[^`]*)`", text):
        for version in {DIMENSION.sub(r"\1, ", alternative), DIMENSION.sub("", alternative)}:
            sides = version.replace("[", "").replace("]", "").split(" -> ")
            yield tuple([[d.strip() for d in group.split(",") if d.strip()] for group in re.findall(r"\(((?:[^()]|\([^()]*\))*)\)", side)] for side in sides)


def fit(pattern, shape, known):
    """What the letters stand for where a shape fits a pattern, else None."""
    shape = list(shape)
    if "..." in pattern:
        n = pattern.index("...")
        room = len(shape) - len(pattern) + 1
        if room < 0:
            return None
        pattern = pattern[:n] + ["..."] * room + pattern[n + 1 :]
    if len(pattern) != len(shape):
        return None
    found = dict(known)
    for word, size in zip(pattern, shape):
        if word == "...":
            continue
        if re.fullmatch(r"\w+", word) and not word.isdigit():
            if found.setdefault(word, size) != size:
                return None
            continue
        try:
            if eval(re.sub("(?<!/)/ ", "// ", word), {}, found) != size:
                return None
        except NameError:
            continue
    return found


def bound(name, arguments, named):
    """The integers among the arguments, by their parameters."""
    found = {}
    for signature in TABLE[name]["signatures"]:
        for n, (_, parameter, *_) in enumerate(fuzz.parameters(signature)):
            value = named.get(parameter, arguments[n] if n < len(arguments) else None)
            if type(value) is int:
                found.setdefault(parameter, value)
    return found


def fits(name, arguments, named, results):
    """True where one of the notation's alternatives fits the shapes of operands and results."""
    given = [t.shape for t in (*tensors(arguments), *tensors(list(named.values())))]
    known = bound(name, arguments, named)
    broadcast = "broadcast" in told(name, "Shapes")
    for operands, wanted in patterns(told(name, "Shapes")):
        found = {key: value for key, value in known.items() if any(key in word for side in (operands, wanted) for p in side for word in p)}
        pairs = [*zip(operands, given), *zip(wanted, results)]
        if broadcast:
            pairs = pairs[1:] if name in ("addmm", "addmv", "addr", "addbmm", "baddbmm") else pairs
        for pattern, shape in pairs:
            found = fit(pattern, shape, found)
            if found is None:
                break
        else:
            return True
    return False


@pytest.mark.parametrize("name", PLAIN)
def test_shapes_are_as_told(name):
    row, text = TABLE[name], told(name, "Shapes")
    arguments, named = captured(name)
    given = [tuple(t.shape) for t in (*tensors(arguments), *tensors(list(named.values())))]
    made = call(name, arguments, named)
    results = [tuple(t.shape) for t in tensors(tuple(made) if isinstance(made, tuple) else made)]
    if row["shapes"] == "View":
        for number in (0, 1):
            next(tensors(arguments)).fill_(number)
            assert all((t == number).all() for t in tensors(made)), "the result is no view"
    if row["shapes"] == "Same" or text == "any, kept":
        assert set(results) == {given[0]}
    elif row["shapes"] == "Broadcast":
        assert set(results) == {np.broadcast_shapes(*given)}
    elif row["shapes"] == "Reduced":
        reduced(name)
    elif row["shapes"] == "Loss":
        arguments, named = captured(name)
        named["reduction"] = "none"
        assert tuple(call(name, arguments, named).shape) == np.broadcast_shapes(*given)
        for reduction in ("mean", "sum"):
            assert call(name, arguments, named | {"reduction": reduction}).shape == ()
    elif row["shapes"] == "Size":
        assert results == [tuple(size_of(name, arguments, named))]
    elif "->" in text:
        assert fits(name, arguments, named, results), (text, given, results)


def size_of(name, arguments, named):
    """The argument `size` of a creation."""
    if "size" in named:
        return named["size"]
    arguments = arguments[positions(name, "size"):] if not isinstance(arguments[0], fg.Tensor) else arguments[1:]
    return arguments[0] if isinstance(arguments[0], (list, tuple)) else [a for a in arguments if type(a) is int]


def reduced(name):
    """A reduction along a dimension, with and without `keepdim`."""
    arguments, named = captured(name)
    parameters = {p for signature in TABLE[name]["signatures"] for _, p, *_ in fuzz.parameters(signature)}
    x = fg.rand(2, 3, 4)
    others = [a for a in arguments[1:2] if name in ("quantile", "nanquantile", "kthvalue")]
    others = [0.5] if others and "quantile" in name else [1] if others else []
    for options, shape in [({"dim": 1}, (2, 4)), ({"dim": 1, "keepdim": True}, (2, 1, 4))]:
        if "keepdim" in options and "keepdim" not in parameters:
            continue
        made = function(name)(x, *others, **options)
        assert {tuple(t.shape) for t in tensors(tuple(made) if isinstance(made, tuple) else made)} == {shape}


# Errors


class Foreign:
    """What no operation takes."""


def dimensions(name):
    """The parameters that name dimensions: the place and the kind of each, and whether it comes by name only."""
    words = {"dim", "dims", "dim0", "dim1", "dim2", "axis0", "axis1", "start_dim", "end_dim", "dimension", "source", "destination"}
    for signature in TABLE[name]["signatures"]:
        for n, (kind, parameter, _, _) in enumerate(fuzz.parameters(signature)):
            if parameter in words and kind in ("int", "int[]", "Size"):
                yield n, parameter, kind


@pytest.mark.parametrize("name", PLAIN)
def test_errors_are_as_told(name):
    text = told(name, "Raises")
    arguments, named = captured(name)
    if arguments:
        n = next(n for n, a in enumerate(arguments) if not isinstance(a, str))
        with pytest.raises(TypeError):
            call(name, [*arguments[:n], Foreign(), *arguments[n + 1 :]], named)
    else:
        with pytest.raises(TypeError):
            call(name, [], named | {"nonsense": Foreign()})
    if "IndexError for dimensions that there are not" in text:
        wrong = 0
        for n, parameter, kind in dimensions(name):
            arguments, named = captured(name)
            before = named.get(parameter, arguments[n] if n < len(arguments) else None)
            several = [99 - i for i in range(len(before))] if isinstance(before, (tuple, list)) else [99, 98]
            for bad in (99, several):
                by_name = parameter in named or n >= len(arguments)
                changed = [*arguments[:n], bad, *arguments[n + 1 :]] if not by_name else arguments
                try:
                    call(name, changed, named | {parameter: bad} if by_name else named)
                except IndexError:
                    wrong += 1
                except (TypeError, RuntimeError):
                    pass  # One for several, several for one, or a parameter of another signature.
        assert wrong
    if "RuntimeError for other dtypes" in text:
        assert taken(told(name, "Dtypes")) != set(DTYPES)
    if "shapes that do not broadcast" in text or "for other shapes" in text:
        assert misshapen(name), "no wrong shape is an error"
    if "another reduction" in text:
        with pytest.raises(ValueError):
            call(name, *with_named(name, "reduction", "nonsense"))


def with_named(name, parameter, value):
    arguments, named = captured(name)
    return arguments, named | {parameter: value}


def misshapen(name):
    """How many calls with one operand of a wrong shape raise RuntimeError; all others must pass."""
    count = len([*tensors(captured(name)[0]), *tensors(list(captured(name)[1].values()))])
    errors = 0
    broadcast = TABLE[name]["shapes"] in ("Broadcast", "Loss")
    wrong = [lambda t: t.new_zeros([s + 5 for s in t.shape] or [7]), lambda t: t.new_zeros((2, 3, 1, 2, 1, 3, 2, 5)), lambda t: t.new_zeros(5), lambda t: t.new_zeros(())]
    for n in range(count):
        for change in [lambda t: t.new_zeros(7)] if broadcast else wrong:
            arguments, named = captured(name)
            seen = []

            def changed(t):
                seen.append(t)
                return change(t) if len(seen) == n + 1 else t.new_zeros(6) if broadcast else t

            arguments, named = [mapped(a, changed) for a in arguments], {k: mapped(v, changed) for k, v in named.items()}
            try:
                call(name, arguments, named)
            except RuntimeError:
                errors += 1
            except (ValueError, IndexError):
                assert "ValueError" in told(name, "Raises") or "IndexError" in told(name, "Raises")
    return errors


@pytest.mark.parametrize("name", sorted(MADE))
def test_errors_of_forms_in_place(name):
    """A leaf that requires a gradient is not written to; neither is a tensor that cannot hold the result."""
    arguments, named = captured(MADE[name])
    x = next(tensors(arguments))
    leaf = (x.float() if not x.is_floating_point() else x).requires_grad_()
    assert "leaf" in told(name, "Raises")
    with pytest.raises(RuntimeError):
        call(name, [leaf, *arguments[1:]], named)


@pytest.mark.parametrize("name", [n for n in MADE if TABLE[n]["shapes"] == "Broadcast" and n not in ("masked_fill_",)])
def test_a_tensor_that_is_too_small_is_not_written_to(name):
    arguments, named = captured(MADE[name])
    sizes = iter([1] + [6] * 9)
    arguments = [mapped(a, lambda t: fg.ones(next(sizes), dtype=t.dtype)) for a in arguments]
    named = {key: mapped(value, lambda t: fg.ones(next(sizes), dtype=t.dtype)) for key, value in named.items()}
    with pytest.raises(RuntimeError):
        call(name, arguments, named)


@pytest.mark.parametrize("name", [n for n in MADE if TABLE[n]["gives"] == "Float"])
def test_integers_do_not_hold_floats(name):
    arguments, named = captured(MADE[name])
    given = next(tensors(arguments)).dtype
    with pytest.raises(RuntimeError):
        call(name, *in_dtype(arguments, named, given, "int32"))


PARTICULAR = dict(wrong.listed(wrong.OPERATIONS))
#: What is said of many operations alike.
ALIKE = "for other dtypes|for shapes that do not broadcast|for other shapes|for negative sizes|where the tensor cannot hold the result|for a leaf that requires a gradient"
ALIKE = re.compile(rf"RuntimeError ({ALIKE})((, | and )({ALIKE}))*|IndexError for dimensions that there are not|ValueError for another reduction|TypeError for other arguments")


def particular(name):
    """The exceptions that a docstring names of its own."""
    clauses = [clause for clause in told(name, "Raises").split("; ") if not ALIKE.fullmatch(clause)]
    return sorted(set(re.findall(r"\w+Error", "; ".join(clauses))))


@pytest.mark.parametrize("name", [name for name in PLAIN if particular(name)])
def test_particular_errors(name):
    """Each is raised by a call of the table, which knows no others."""
    assert sorted({error for error, _ in PARTICULAR.get(name, [])}) == particular(name)
    for error, expression in PARTICULAR[name]:
        known = {"fg": fg, "F": fg.nn.functional, "x": fg.ones(2, 3), "i": fg.tensor([0, 1])}
        with pytest.raises(ERRORS[error]):
            eval(expression, known)


def test_no_wrong_call_is_left_over():
    assert [name for name in PARTICULAR if name not in PLAIN or not particular(name)] == []
