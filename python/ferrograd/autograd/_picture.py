"""The graph behind tensors as text for graphviz and as an SVG picture; both without graphviz."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple

from .. import _ferrograd
from .._ferrograd import Tensor


class Box(NamedTuple):
    """A node of the picture: its lines of text, its kind (op, leaf, root, more) and the numbers of those it reads from."""

    lines: tuple[str, ...]
    kind: str
    sources: tuple[int, ...]


#: Boxes of a picture in a notebook.
NOTEBOOK = 500

#: Colours of the kinds, after those that are usual for such pictures.
COLOURS = {"op": "#e8e8e8", "leaf": "#cfe8ff", "root": "#caffcf", "more": "#ffffff"}


class Dot(str):
    """The text of a graph in the language of graphviz. A notebook shows it as a picture."""

    _boxes: list[Box]

    def _repr_svg_(self) -> str:
        return svg(cut(self._boxes, NOTEBOOK))


def names_of(params: Any) -> dict[int, str]:
    """Names by the places that gradients go to: of a mapping, of pairs, or of a module's parameters."""
    if params is None:
        return {}
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    pairs: Iterable = params.items() if isinstance(params, Mapping) else params
    found = {}
    for name, t in pairs:
        if isinstance(t, Tensor) and t.requires_grad:
            found.setdefault(_key(_ferrograd._gradient_edge(t)[0]), str(name))
    return found


def _key(node: Any) -> int:
    return node._sequence_nr()


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _shape(shape: Iterable[int]) -> str:
    sizes = [str(n) for n in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def boxes(outputs: Iterable[Tensor], params: Any = None) -> list[Box]:
    """The boxes of the graph behind tensors: those of the outputs, then the nodes, the nearest to the outputs first."""
    names = names_of(params)
    found: list[Box] = []
    numbers: dict[int, int] = {}
    seen_memory: set[int] = set()
    # In the order in which they are first seen.
    nodes: list[Any] = []
    roots: list[tuple[Tensor, Any]] = []

    def number(node: Any) -> int:
        key = _key(node)
        if key not in numbers:
            numbers[key] = len(nodes)
            nodes.append(node)
        return numbers[key]

    for y in outputs:
        if not y.requires_grad:
            raise RuntimeError("a tensor that does not require gradients has no graph behind it")
        node = _ferrograd._gradient_edge(y)[0]
        number(node)
        roots.append((y, node))
    links: list[list[int]] = []
    while len(links) < len(nodes):
        links.append([number(node) for node, _ in nodes[len(links)].next_functions if node is not None])
    shift = len(roots)
    for y, node in roots:
        title = names.get(_key(node), "") if node.name().endswith("AccumulateGrad") else ""
        look = f"{_shape(y.shape)} {str(y.dtype).rsplit('.', 1)[-1]}"
        found.append(Box((title or "output", look), "root", (shift + numbers[_key(node)],)))
    for node, sources in zip(nodes, links):
        found.append(_box(node, names, tuple(shift + n for n in sources), seen_memory))
    return found


def _box(node: Any, names: dict[int, str], sources: tuple[int, ...], seen_memory: set[int]) -> Box:
    name = node.name().rsplit("::", 1)[-1]
    looks = node._input_metadata
    shapes = ", ".join(_shape(look.shape) for look in looks[:2]) + (", ..." if len(looks) > 2 else "")
    if name == "AccumulateGrad":
        title = names.get(_key(node), "leaf")
        return Box((title, f"{shapes} {str(looks[0].dtype).rsplit('.', 1)[-1]}"), "leaf", sources)
    keeps = _ferrograd._node_keeps(node)
    lines = [name, shapes]
    if keeps is None:
        lines.append("keeps what hooks took")
    elif keeps:
        new = {address: size for _, _, size, address in keeps if address not in seen_memory}
        seen_memory.update(new)
        total, shared = sum({a: size for _, _, size, a in keeps}.values()), sum(new.values())
        lines.append(f"keeps {_bytes(total)}" + ("" if shared == total else f", {_bytes(shared)} of its own"))
    return Box(tuple(lines), "op", sources)


def dot(all: list[Box]) -> Dot:
    """The text of boxes for graphviz."""
    lines = ["digraph {", '  node [shape=box style=filled fontname=monospace fontsize=10]']
    for n, box in enumerate(all):
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines)
        lines.append(f'  n{n} [label="{text}" fillcolor="{COLOURS[box.kind]}"]')
    lines += [f"  n{source} -> n{n}" for n, box in enumerate(all) for source in box.sources]
    made = Dot("\n".join([*lines, "}"]) + "\n")
    made._boxes = all
    return made


def cut(all: list[Box], limit: int) -> list[Box]:
    """The first boxes, which are those nearest to the outputs, and one that tells of more."""
    if len(all) <= limit:
        return all
    kept = [Box(b.lines, b.kind, tuple(s for s in b.sources if s < limit)) for b in all[:limit]]
    return [*kept, Box(("the graph goes on", f"for {len(all) - limit} nodes"), "more", ())]


# The layout: boxes in layers by their distance from the outputs, lines through layers as points of their own, and an
# order within the layers in which few lines cross.

CHARACTER, LINE, PAD, GAP, RISE = 6.7, 14, 8, 18, 34


def _layers(all: list[Box]) -> list[int]:
    """For every box the length of the longest way to it from an output; outputs have 0."""
    waiting = [0] * len(all)
    for box in all:
        for source in box.sources:
            waiting[source] += 1
    depth = [0] * len(all)
    ready = [n for n, count in enumerate(waiting) if count == 0]
    while ready:
        n = ready.pop()
        for source in all[n].sources:
            depth[source] = max(depth[source], depth[n] + 1)
            waiting[source] -= 1
            if waiting[source] == 0:
                ready.append(source)
    deepest = max(depth)
    for n, box in enumerate(all):
        if box.kind == "more":
            depth[n] = deepest + 1
    return depth


class _Points:
    """Boxes and bends: what has a place in a layer."""

    def __init__(self, all: list[Box]) -> None:
        depth = _layers(all)
        self.width = [max(len(line) for line in box.lines) * CHARACTER + 2 * PAD for box in all]
        self.layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
        for n, layer in enumerate(depth):
            self.layers[layer].append(n)
        self.down: dict[int, list[int]] = {n: [] for n in range(len(all))}
        self.paths: list[list[int]] = []
        for n, box in enumerate(all):
            for source in box.sources:
                path = [n]
                for layer in range(depth[n] + 1, depth[source]):
                    path.append(len(self.width))
                    self.width.append(2.0)
                    self.layers[layer].append(path[-1])
                path.append(source)
                self.paths.append(path)
                for a, b in zip(path, path[1:]):
                    self.down.setdefault(a, []).append(b)
        self.up: dict[int, list[int]] = {n: [] for n in range(len(self.width))}
        for a, below in self.down.items():
            for b in below:
                self.up[b].append(a)
        self.x = [0.0] * len(self.width)
        for _ in range(8):
            self._order(self.layers, self.up)
            self._order(self.layers[::-1], self.down)
        for _ in range(12):
            self._settle(self.layers, self.up)
            self._settle(self.layers[::-1], self.down)
        left = min(x - w / 2 for x, w in zip(self.x, self.width))
        self.x = [x - left for x in self.x]

    def _pack(self, layer: list[int]) -> None:
        at = 0.0
        for n in layer:
            self.x[n] = at + self.width[n] / 2
            at += self.width[n] + GAP

    def _order(self, layers: list[list[int]], others: dict[int, list[int]]) -> None:
        """Sort every layer by where the neighbours of its members are."""
        for layer in layers:
            means = {n: _mean([self.x[m] for m in others.get(n, ())], self.x[n]) for n in layer}
            layer.sort(key=means.__getitem__)
            self._pack(layer)

    def _settle(self, layers: list[list[int]], others: dict[int, list[int]]) -> None:
        """Move the members of every layer under their neighbours, as far as they do not push each other."""
        for layer in layers:
            wanted = [_mean([self.x[m] for m in others.get(n, ())], self.x[n]) for n in layer]
            # Groups that touch lie as near to what their members want as they can, together.
            groups: list[list[float]] = []
            offset = 0.0
            offsets = []
            for n, want in zip(layer, wanted):
                offset += self.width[n] / 2
                offsets.append(offset)
                groups.append([want - offset, 1.0])
                offset += self.width[n] / 2 + GAP
                while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
                    mean, count = groups.pop()
                    before = groups[-1]
                    before[0] = (before[0] * before[1] + mean * count) / (before[1] + count)
                    before[1] += count
            shifts = [mean for mean, count in groups for _ in range(int(count))]
            for n, shift, place in zip(layer, shifts, offsets):
                self.x[n] = shift + place


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def svg(all: list[Box]) -> str:
    """The picture of boxes: leaves at the top, outputs at the bottom."""
    points = _Points(all)
    tall = [len(box.lines) * LINE + PAD for box in all]
    # Layer 0 lies lowest.
    rows = [max([tall[n] for n in layer if n < len(all)], default=LINE) for layer in points.layers]
    y, half, at = [0.0] * len(points.width), [t / 2 for t in tall], float(PAD)
    half += [0.0] * (len(points.width) - len(tall))
    for layer, height in reversed(list(zip(points.layers, rows))):
        for n in layer:
            y[n] = at + height / 2
            half[n] = height / 2 if n >= len(tall) else half[n]
        at += height + RISE
    width = max(x + w / 2 for x, w in zip(points.x, points.width)) + 2 * PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{at - RISE + PAD:.0f}" '
        f'viewBox="{-PAD} 0 {width:.0f} {at - RISE + PAD:.0f}" font-family="monospace" font-size="11">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
    ]
    parts += [_line(points.x, y, half, path) for path in points.paths]
    for n, box in enumerate(all):
        left, top = points.x[n] - points.width[n] / 2, y[n] - tall[n] / 2
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{points.width[n]:.1f}" height="{tall[n]}" rx="4" '
            f'fill="{COLOURS[box.kind]}" stroke="#777"/>'
        )
        for row, line in enumerate(box.lines):
            weight = ' font-weight="bold"' if row == 0 else ""
            parts.append(
                f'<text x="{points.x[n]:.1f}" y="{top + PAD / 2 + LINE * row + 11:.1f}" text-anchor="middle"{weight}>'
                f"{escape(line)}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(x: list[float], y: list[float], half: list[float], path: list[int]) -> str:
    """A curve from a source down to who reads it, straight down through the layers between."""
    source = path[-1]
    text = f"M{x[source]:.1f} {y[source] + half[source]:.1f}"
    for a, b in zip(path[:0:-1], path[-2::-1]):
        top, bottom = y[a] + half[a], y[b] - half[b]
        middle = (top + bottom) / 2
        text += f"C{x[a]:.1f} {middle:.1f} {x[b]:.1f} {middle:.1f} {x[b]:.1f} {bottom:.1f}"
        if b != path[0]:
            text += f"L{x[b]:.1f} {y[b] + half[b]:.1f}"
    return f'<path d="{text}" fill="none" stroke="#555" marker-end="url(#arrow)"/>'
