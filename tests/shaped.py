"""The shapes and the numbers of drawn calls: what the signature, the letters and the sentences of a docstring say of them."""

import math
import re

import fuzz
from captured import TABLE, captured, told
from hypothesis import strategies as st


COUNTS = {"one": 1, "two": 2, "three": 3}
DIMENSIONS = {"dim", "dim0", "dim1", "dim2", "axis0", "axis1", "start_dim", "end_dim", "dimension", "source", "destination"}
#: Integers by the names of their parameters: the least and the greatest.
RANGES = {
    "kernel_size": (1, 3), "stride": (1, 3), "padding": (0, 1), "dilation": (1, 2), "output_padding": (0, 1), "groups": (1, 3),
    "output_size": (1, 4), "num_groups": (1, 3), "k": (1, 4), "n": (0, 3), "r": (1, 3), "N": (2, 4), "diagonal": (-2, 2), "offset": (-2, 2),
    "sections": (1, 3), "chunks": (1, 4), "split_size": (1, 3), "start": (-3, 3), "end": (-3, 4), "step": (1, 2), "length": (0, 3),
    "index": (-2, 2), "size": (1, 4), "steps": (0, 5), "repeats": (0, 3), "upscale_factor": (1, 2), "downscale_factor": (1, 2),
    "correction": (0, 2), "blank": (0, 1), "ignore_index": (0, 3), "padding_idx": (0, 3), "p": (1, 2), "pad": (0, 2), "divisor_override": (1, 4),
    "interpolation_mode": (0, 2), "padding_mode": (0, 2), "storage_offset": (0, 2), "dims": (0, 2), "high": (1, 9), "low": (-3, 0),
    "num_samples": (1, 3), "bins": (1, 5), "minlength": (0, 6), "row": (0, 4), "col": (0, 4), "m": (0, 4), "num_classes": (-1, 5),
    "fill_value": (-3, 3), "shifts": (-3, 3), "shape": (1, 4), "indices": (0, 4), "split_sizes": (0, 3),
}  # fmt: skip
#: Numbers by the names of their parameters; of others the captured one, or one from between these.
NUMBERS = {
    "p": [2.0, 1.0, 3.0, 1.5], "ord": [2, 1, 3.0, math.inf, -math.inf], "value": [0.7, -1.3, 2], "margin": [0.0, 0.3, 1.0],
    "correction": [1, 0, 2], "scale_factor": [2.0, 1.5, 0.6], "output_ratio": [0.6, 0.8], "norm_type": [2, 1, 3.0], "lower": [0.1, 0.2],
    "eps": [1e-5, 0.1], "momentum": [0.1, 0.0, 0.7], "max_norm": [1.0, 2.5], "upper": [0.4, 0.5], "label_smoothing": [0.2, 0.0], "dropout_p": [0.0],
}  # fmt: skip
BETWEEN = (0.3, 1.7)
WORD = re.compile(r"'([\w-]+)'")
PATTERN = re.compile(r"`([\[(][^`]*)`")


def groups(side):
    """The operands of one side of a notation, each a list of dimensions."""
    return [[d.strip() for d in group.split(",") if d.strip()] for group in re.findall(r"\(((?:[^()]|\([^()]*\))*)\)", side)]


class Shaped:
    """A call in the making: the signature that it follows, the numbers and the shapes that are known so far."""

    def __init__(self, data, name):
        self.data, self.name, self.text, self.row = data, name, told(name, "Shapes"), TABLE[name]
        self.signature = self.pick(self.row["signatures"])
        self.parameters = list(fuzz.parameters(self.signature))
        self.values, self.shapes = {}, {}
        arguments, named = captured(name)
        known = [parameter for _, parameter, *_ in fuzz.parameters(self.row["signatures"][0])]
        for signature in self.row["signatures"]:
            several = [p for k, p, *_ in fuzz.parameters(signature) if k == "Tensor..."]
            if several and arguments and not isinstance(arguments[0], list):
                known, arguments = several, [arguments]
        self.seen = dict(zip(known, arguments)) | named

    # Draws

    def pick(self, values):
        return self.data.draw(st.sampled_from(values))

    def whole(self, low, high):
        return self.data.draw(st.integers(low, max(low, high)))

    def chance(self):
        return self.data.draw(st.booleans())

    def order(self, rank):
        return st.permutations(range(rank))

    def letters_of(self, letters):
        return st.lists(st.sampled_from(letters), max_size=3, unique=True).map("".join) if letters else st.just("")

    def fraction(self, low, high):
        return low + (high - low) * self.whole(0, 1000) / 1000

    # Shapes

    def size(self):
        return self.pick(self.sizes)

    def some(self, least=0, most=4):
        """Any shape of some numbers of dimensions."""
        rank = self.pick([n for n in (2, 3, 1, 0, 4) if least <= n <= max(least, most)] or [least])
        return tuple(self.size() if n < 3 else self.pick([1, 2]) for n in range(rank))

    def narrower(self, shape, lacks=True):
        """A shape that broadcasts to another."""
        shape = tuple(1 if self.whole(0, 3) == 0 else size for size in shape)
        return shape[self.pick([0, 0, 1, len(shape)]) :] if lacks and shape else shape

    def factored(self, count):
        """A shape of as many elements."""
        shape = []
        while count > 1 and len(shape) < 3:
            shape.append(self.pick([d for d in range(1, count + 1) if count % d == 0]))
            count //= shape[-1]
        return (*shape, count) if count != 1 or self.chance() else tuple(shape)

    def sketch(self, left_out):
        """Draws everything but the elements of tensors."""
        self.sizes = self.pick([[2, 3, 1, 4], [2, 3, 1, 4], [2, 3], [2, 3, 1, 0]])
        self.taken = [
            (kind, parameter) for kind, parameter, optional, _ in self.parameters
            if not (optional and (parameter in left_out or self.chance()))
        ]  # fmt: skip
        from sentences import SENTENCES

        for _, parameter, optional, _ in self.parameters:
            # What has no default and may be None.
            if optional and parameter not in (p for _, p in self.taken) and not re.search(rf"\b{parameter}=", self.signature):
                self.values[parameter] = None
        alternatives = PATTERN.findall(self.text) if self.text.startswith("`(") else []
        alternatives = [a for a in alternatives if "->" in a] or alternatives
        if alternatives:
            self.numbers(first=None)
            self.taken_alternative = self.whole(0, len(alternatives) - 1)
            self.lettered(alternatives[self.taken_alternative])
            self.listen(SENTENCES)
            return
        operands = [(kind, parameter) for kind, parameter in self.taken if kind.startswith("Tensor")]
        if operands:
            self.first(*operands[0])
        self.numbers(self.base if operands else ())
        self.listen(SENTENCES)
        for kind, parameter in self.taken:
            if kind.startswith("Tensor") and parameter not in self.shapes:
                self.shapes[parameter] = () if type(self.seen.get(parameter)) is int else self.base
            elif kind == "Operand" and parameter not in self.shapes and parameter not in self.values:
                self.operand(parameter)

    def listen(self, sentences):
        """What every sentence that stands in the docstring makes of the call."""
        for sentence, rule in sentences:
            found = re.search(sentence, self.text)
            if found:
                rule(self, *found.groups())

    def first(self, kind, parameter):
        """The shape of the first tensor, from which others follow."""
        at_least = re.search("at least (one|two|three)|`(dim)`", self.text)
        least = COUNTS.get(at_least[1] or "one") if at_least else 0
        at_most = re.search("at most (one|two|three)", self.text)
        if any(p in DIMENSIONS | {"dims"} for _, p in self.taken):
            least = max(least, 1)
        if "two of `dim" in self.text:
            least = 2
        self.base = self.some(least, COUNTS[at_most[1]] if at_most else 4)
        if kind in ("Tensor[]", "Tensor..."):
            self.shapes[parameter] = [self.base] * self.whole(1, 3)
        else:
            self.shapes[parameter] = self.base

    def operand(self, parameter):
        """A tensor of one element, or a number."""
        if self.chance():
            self.shapes[parameter] = ()
        else:
            self.values[parameter] = self.number(parameter)

    # Letters

    def lettered(self, alternative):
        """Shapes as the letters of one alternative of the notation say."""
        kept = self.chance()
        alternative = re.sub(r"\[(\w+),\] *", r"\1, " if kept else "", alternative).replace("[", "").replace("]", "")
        operands = groups(alternative.split(" -> ")[0])
        letters = {key: value for key, value in self.values.items() if type(value) is int}
        for word, divisor in re.findall(r"\b(\w+) / (\w+)", alternative):
            letters.setdefault(word, self.pick([1, 2, 3]) * letters.setdefault(divisor, 1))
        dots = self.some(0, 2)
        self.letters = letters
        tensors = [(kind, parameter) for kind, parameter in self.taken if kind.startswith(("Tensor", "Operand"))]
        if tensors and tensors[0][0] in ("Tensor[]", "Tensor..."):
            return self.listed(tensors[0][1], operands)
        everywhere = [parameter for kind, parameter, *_ in self.parameters if kind.startswith(("Tensor", "Operand"))]
        for parameter, operand in zip(everywhere, operands):
            if self.chance() and "of both" in self.text:
                dots = self.some(0, 2)
            shape = self.sized(operand, letters, self.narrower(dots) if "dimensions broadcast" in self.text else dots)
            if parameter in dict((p, k) for k, p in tensors):
                self.shapes[parameter] = shape
        for (_, parameter), also in zip(tensors, range(9)):
            if "the first broadcasts" in self.text and also == 0:
                self.shapes[parameter] = self.narrower(self.shapes[parameter])
            if parameter not in self.shapes and parameter not in self.values:
                self.taken = [(kind, p) for kind, p in self.taken if p != parameter]
        self.base = next(iter(self.shapes.values()), ())

    def sized(self, operand, letters, dots):
        """The shape of an operand; letters that are new are drawn."""
        shape = []
        for word in operand:
            if word == "...":
                shape += dots
            elif re.fullmatch(r"[A-Za-z_]\w*", word):
                shape.append(letters[word] if word in letters else letters.setdefault(word, self.size()))
            else:
                for letter in re.findall(r"[A-Za-z_]\w*", word):
                    letters.setdefault(letter, self.size())
                shape.append(eval(re.sub("(?<!/)/ ", "// ", word), {}, letters))
        return tuple(shape)

    def listed(self, parameter, operands):
        """Any number of vectors, or of matrices of which each fits the next."""
        count = self.whole(1, 3)
        if all(len(operand) == 1 for operand in operands):
            self.shapes[parameter] = [(self.size(),) for _ in range(count)]
            return
        sides = [self.size() for _ in range(count + 2)]
        matrices = list(zip(sides, sides[1:]))
        if len(operands[0]) == 1:
            matrices[0] = matrices[0][1:]
        self.shapes[parameter] = matrices

    # Numbers

    def numbers(self, first):
        """What is no tensor."""
        self.base = first
        for kind, parameter in self.taken:
            if kind.startswith("Tensor") or kind == "Operand":
                continue
            value = self.value(kind, parameter)
            if value is not None:
                self.values[parameter] = value

    def value(self, kind, parameter):
        if kind == "bool":
            return self.chance()
        if kind == "str":
            return self.word(parameter)
        if kind == "int":
            return self.integer(parameter)
        if kind in ("Number", "Order", "float"):
            return self.number(parameter)
        if kind == "Number[]":
            return [self.number(parameter)] if self.chance() else self.number(parameter)
        if kind in ("int[]", "int?[]", "Size"):
            return self.list(kind, parameter)
        return self.seen.get(parameter)

    def word(self, parameter):
        """One of the words that the docstring quotes."""
        default = re.search(rf"{parameter}='([\w-]+)'", " ".join(self.row["signatures"]))
        words = WORD.findall(self.row["doc"].split(">>>")[0]) + ([default[1]] if default else [])
        if parameter == "reduction":
            words += ["none", "mean", "sum"]
        words += [self.seen[parameter]] if isinstance(self.seen.get(parameter), str) else []
        return self.pick(sorted(set(words), key=words.index)) if words else None

    def number(self, parameter):
        names = {name for _, name, *_ in self.parameters}
        if parameter == "p" and names & {"train", "training"}:
            return self.fraction(0.1, 0.9)
        if parameter in NUMBERS:
            return self.pick(NUMBERS[parameter])
        seen = self.seen.get(parameter)
        if type(seen) in (int, float) and self.chance():
            return seen
        return self.fraction(*BETWEEN) if parameter != "q" else self.fraction(0, 1)

    def integer(self, parameter):
        if parameter in DIMENSIONS and self.base is not None:
            room = len(self.base) + (" more at " in self.text or "new size" in self.text or "becomes two" in self.text)
            return self.whole(-room, room - 1) if room else self.pick([0, -1])
        seen = self.seen.get(parameter)
        if parameter in RANGES:
            return self.whole(*RANGES[parameter])
        return seen + self.pick([0, 1, -1]) if type(seen) is int else self.whole(0, 3)

    def list(self, kind, parameter):
        """A list of integers, or one where it stands for all."""
        seen = self.seen.get(parameter)
        if parameter in ("dim", "dims", "source", "destination") and self.base is not None:
            rank = len(self.base)
            order = self.data.draw(st.permutations(range(rank)))
            chosen = [d - rank * self.chance() for d in order[: self.whole(min(1, rank), rank)]]
            return chosen[0] if len(chosen) == 1 and self.chance() and "int" in kind else chosen
        count = len(seen) if isinstance(seen, (list, tuple)) else self.spatial()
        low, high = RANGES.get(parameter, (1, 3))
        if kind == "int[]" and self.chance():
            return self.whole(low, high)
        return [None if kind == "int?[]" and self.whole(0, 3) == 0 else self.whole(low, high) for _ in range(count)]

    def spatial(self):
        """How many dimensions of space an operation works in, where its name says it."""
        found = re.search(r"(\d)d", self.name)
        return int(found[1]) if found else 2 if ", H, W)" in self.text and "D, H" not in self.text else self.whole(1, 3)

    def bound(self, parameter):
        """One more than the greatest integer of a tensor: a size along `dim`, another size or the number of elements."""
        others = [s for p, s in self.shapes.items() if p != parameter and not isinstance(s, list)]
        shape = others[0] if others else ()
        dim = self.values.get("dim")
        if type(dim) is int and -len(shape) <= dim < len(shape) and self.whole(0, 3):
            return shape[dim]
        sizes = [*shape, math.prod(shape)]
        return self.pick(sorted(set(sizes)))
