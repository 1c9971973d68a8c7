"""What the sentences of docstrings say of shapes: each a pattern of `Shapes:` and what it makes of a call in the making."""

import math

COUNTS = {"first": 0, "second": 1, "third": 2}


def _axis(made, parameter="dim", rank=None):
    """The dimension that a call names, counted from the front; the last where it names none."""
    rank = len(made.base) if rank is None else rank
    dim = made.values.get(parameter, -1)
    return dim % rank if type(dim) is int and rank else max(rank - 1, 0)


def _replaced(shape, axis, *sizes):
    return (*shape[:axis], *sizes, *shape[axis + 1 :])


def _tensors(made):
    return [parameter for kind, parameter in made.taken if kind.startswith("Tensor")]


def broadcast(made, *_):
    """Every operand broadcasts; numbers stand among them."""
    whole = made.base
    least = 1 if made.values.keys() & {"dim"} else 0
    for kind, parameter in made.taken:
        if kind in ("Tensor[]", "Tensor..."):
            made.shapes[parameter] = [made.narrower(whole) for _ in made.shapes[parameter]]
        elif kind == "Tensor" or kind == "Operand" and made.chance():
            shape = made.narrower(whole, not least)
            made.shapes[parameter] = shape
        elif kind == "Operand":
            made.values[parameter] = made.number(parameter)


def three_along(made):
    for parameter in _tensors(made):
        shape = made.shapes[parameter] or (3,)
        made.shapes[parameter] = _replaced(shape, _axis(made, rank=len(shape)), 3)


def add_up_along(made, which):
    """Each of a list has a size of its own along one dimension."""
    (parameter,) = _tensors(made)
    rank = len(made.base)
    axis = _axis(made) if which is None else COUNTS[which]
    if "of vectors the first" in made.text:
        axis = min(axis, rank - 1)
    if 0 <= axis < rank and not (which == "first" and rank < 2):
        made.shapes[parameter] = [_replaced(made.base, axis, made.size()) for _ in made.shapes[parameter]]


def columns(made):
    (parameter,) = _tensors(made)
    height = made.size()
    made.shapes[parameter] = [(height,) if made.chance() else (height, made.size()) for _ in made.shapes[parameter]]


def independent(made):
    (parameter,) = _tensors(made)
    made.shapes[parameter] = [made.some(0, 2) for _ in made.shapes[parameter]]


def equation(made):
    """Some letters for each operand, and some of them for the result."""
    sizes = {letter: made.size() for letter in "ijkl"}
    letters = [made.data.draw(made.letters_of("ijkl")) for _ in range(made.whole(1, 3))]
    known = sorted(set("".join(letters)))
    made.values["equation"] = ",".join(letters) + ("->" + made.data.draw(made.letters_of(known)) if made.chance() else "")
    made.shapes["operands"] = [tuple(sizes[letter] for letter in word) for word in letters]


def as_many_elements(made, parameter):
    shape = made.factored(math.prod(made.base))
    if parameter in dict((p, k) for k, p in made.taken if k == "Tensor"):
        made.shapes[parameter] = shape
        return
    known = [n for n in range(len(shape)) if math.prod(shape[:n] + shape[n + 1 :])]
    if known and made.chance():
        shape = _replaced(shape, made.pick(known), -1)
    made.values[parameter] = list(shape)


def broadcasts_to(made, parameter):
    """The first tensor broadcasts to a list of sizes, or to another tensor."""
    (first, *others), target = _tensors(made), made.base
    made.shapes[first] = made.narrower(target)
    if others:
        made.shapes[parameter] = target
    else:
        made.values[parameter] = list(target)


def sums_to(made, parameter):
    made.values[parameter] = list(made.narrower(made.base))


def becomes(made, parameter):
    sizes = list(made.factored(made.base[_axis(made)])) or [1]
    made.values[parameter] = sizes


def in_the_order(made, parameter):
    order = made.data.draw(made.order(len(made.base)))
    made.values[parameter] = [d - len(order) * made.chance() for d in order]


def two_of(made, parameter):
    order = made.data.draw(made.order(len(made.base)))[:2]
    if parameter in made.values:
        made.values[parameter] = [d - len(made.base) * made.chance() for d in order]


def another_order(made):
    if isinstance(made.values.get("source"), list) or isinstance(made.values.get("destination"), list):
        order = [made.data.draw(made.order(len(made.base))) for _ in range(2)]
        count = made.whole(1, len(made.base))
        made.values |= {"source": order[0][:count], "destination": order[1][:count]}


def as_long_as(made, parameter, other):
    """One list has as many elements as another."""
    if other in made.values:
        value = made.values[other]
        made.values[parameter] = [made.integer(parameter) for _ in value] if isinstance(value, list) else made.integer(parameter)
    else:
        made.values[parameter] = made.integer(parameter)


def times(made, parameter):
    rank = len(made.base) + made.pick([0, 1])
    made.values[parameter] = [made.whole(1, 2) for _ in range(rank)]


def places_along(made):
    """`index` is a vector, and `source` has as many along `dim`."""
    count = made.size()
    if "value" in dict((p, k) for k, p in made.taken):
        made.operand("value")
    made.shapes["index"] = (count,)
    if "source" in _tensors(made):
        made.shapes["source"] = _replaced(made.base, _axis(made), count)


def nowhere_larger(made, *_):
    """`index` as scatter and gather take it."""
    axis = _axis(made)
    index = tuple(made.size() if n == axis else made.whole(min(1, size), size) for n, size in enumerate(made.base))
    made.shapes["index"] = index
    if "src" in _tensors(made):
        made.shapes["src"] = tuple(size + made.pick([0, 0, 1]) for size in index)


def both_but_along(made):
    """`take_along_dim`: the sizes but along `dim`, or any places in the whole."""
    if "dim" in made.values:
        made.shapes["indices"] = _replaced(made.narrower(made.base, lacks=False), _axis(made), made.size())
    else:
        made.shapes["indices"] = made.some(1, 1)


def without_dim(made, parameter):
    made.shapes[parameter] = _replaced(made.base, _axis(made))


def that_of_operation(made, parameter, operation):
    """The shape that another operation gives for the same arguments."""
    from captured import function

    import ferrograd as fg

    given = {key: value for key, value in made.values.items()}
    try:
        made.shapes[parameter] = tuple(function(operation)(fg.zeros(made.base), **given).shape)
    except (RuntimeError, IndexError, ValueError):
        pass  # So will the operation refuse them.


def of_the_result(made, operation):
    """The shape that an operation gives of what this one gives."""
    from captured import function

    import ferrograd as fg

    first, options = _tensors(made)[0], {key: value for key, value in made.values.items() if key != "output_size"}
    sizes = made.values["output_size"]
    sizes = [sizes] * 2 if isinstance(sizes, int) else sizes
    try:
        made.shapes[first] = tuple(function(operation)(fg.zeros(*made.some(1, 2), *sizes), **options).shape)
    except (RuntimeError, IndexError, ValueError):
        pass  # So will the operation refuse them.


def sizes_of_letters(made, parameter, *alternatives):
    """A list of sizes by the letters of the alternative that was taken."""
    letters = alternatives[made.taken_alternative].split(", ")
    made.values[parameter] = [made.letters.setdefault(letter, made.size()) for letter in letters]


def of_the_slice(made):
    if not made.base:
        return
    axis = _axis(made) if "dim" in made.values else 0
    length = len(range(made.base[axis])[made.values.get("start") : made.values.get("end") : made.values.get("step", 1)])
    made.shapes["src"] = _replaced(made.base, axis, length)


def has_list(made, names, parameter):
    """Tensors of the shape that a list of numbers gives."""
    if parameter == "normalized_shape":
        made.values[parameter] = list(made.base[made.whole(0, len(made.base) - 1) if made.base else 0 :])
    for name in names.replace("`", "").replace(" and ", ", ").split(", "):
        if name in _tensors(made):
            made.shapes[name] = tuple(made.values[parameter])


def one_or_second(made):
    made.shapes["weight"] = made.pick([(1,), made.base[1:2] or (1,), ()])


def at_places(made):
    """`values` for `self[indices]`."""
    whole, count = made.narrower(made.some(0, 2), lacks=False), made.whole(1, max(1, len(made.base)))
    made.shapes["indices"] = [made.narrower(whole, lacks=False) for _ in range(count - 1)] + [whole]
    made.shapes["values"] = made.narrower((*whole, *made.base[count:]))


def equally_many(made):
    count = made.some(0, 2)
    made.shapes |= {"index": count, "source": count}


def strided(made):
    """Sizes and strides that stay in the memory of the tensor."""
    rank = made.whole(0, 2)
    made.values |= {"size": [made.whole(1, 3) for _ in range(rank)], "stride": [made.whole(0, 3) for _ in range(rank)]}


def parts(made, parameter):
    """Sizes that add up."""
    if isinstance(made.values.get(parameter), (list, int)) and parameter != "split_size" or isinstance(made.values.get(parameter), list):
        whole, sizes = made.base[_axis(made) if "dim" in made.values else 0] if made.base else 0, []
        while whole and len(sizes) < 3:
            sizes.append(made.whole(0, whole))
            whole -= sizes[-1]
        made.values[parameter] = [*sizes, whole]


def masked(made):
    made.shapes["mask"] = made.narrower(made.base)
    made.shapes["source"] = (math.prod(made.base),)


def added(made):
    """`pad` of as many dimensions as there are, at most."""
    pairs = made.whole(0 if made.name == "constant_pad_nd" else 1, max(1, len(made.base)))
    made.values["pad"] = [made.whole(-1, 2) for _ in range(2 * pairs)]


def windows(made):
    made.values["size"] = made.whole(1, max(1, made.base[_axis(made, "dimension")] if made.base else 1))


def paired(made):
    """`dims` names the dimensions of both that have the same sizes."""
    made.shapes["b"] = made.base[::-1]
    rank = len(made.base)
    count = made.whole(0, rank)
    order = made.data.draw(made.order(rank))[:count]
    made.values["dims"] = [order, [rank - 1 - d for d in order]]
    if isinstance(made.seen.get("dims"), int) or made.chance():
        made.shapes["b"] = (*made.base[rank - count :], *made.some(0, 1))
        made.values["dims"] = count


#: In this order; what several say, the last one says.
SENTENCES = [
    ("operands broadcast", broadcast),
    ("three elements along `dim`", three_along),
    ("the same but along `dim`, where they add up", lambda made: add_up_along(made, None)),
    ("of one size but along the (first|second|third)", add_up_along),
    ("vectors as their columns", columns),
    ("of at most two dimensions; the result is a matrix", independent),
    ("letters of `equation`", equation),
    (r"as many elements as `(\w+)`", as_many_elements),
    (r"broadcasts to (?:that of )?`(size|other)`", broadcasts_to),
    (r"that `(size)` broadcasts to", sums_to),
    (r"becomes `(\w+)`", becomes),
    (r"in the order of `(\w+)`", in_the_order),
    (r"the two of `(\w+)`", two_of),
    ("the same sizes in another order", another_order),
    (r"`(\w+)` as many as `(\w+)`", as_long_as),
    (r"sizes times `(\w+)`", times),
    (r"`index` is `\(n,\)`|`index` of `\(n,\)`", places_along),
    ("`index` is nowhere larger", nowhere_larger),
    ("both broadcast but along `dim`", both_but_along),
    (r"`(\w+)` that without `dim`", without_dim),
    (r"`(\w+)` that of `(diagonal)`", that_of_operation),
    ("`src` that of the slice", of_the_slice),
    (r"as `([\w.]+)` gives of the result", of_the_result),
    (r"for `(\w+)` of `\((.*?)\)`, or .* for `\w+` of `\((.*?)\)`", sizes_of_letters),
    ("one element, or as many as the second dimension", one_or_second),
    (r"broadcasts to that of `self\[indices\]`", at_places),
    ("`index` and `source` have as many elements", equally_many),
    (r"^`size`$|`src` has `size`", lambda made: strided(made) if "stride" in made.values else None),
    (r"((?:`\w+`(?:, | and )?)+) ha(?:s|ve) `(\w+)`", has_list),
    ("`mask` broadcasts to that of `self`", masked),
    ("`pad` adds to its sizes", added),
    ("windows along `dimension`", windows),
    ("dimensions of `dims` have the same sizes", paired),
    ("the parts have the sizes but along", lambda made: [parts(made, p) for p in ("split_size", "split_sizes")]),
]
