"""Nested tuples, lists and dicts as a flat list of their leaves and a description of the rest."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .._size import Size


class NodeDef(NamedTuple):
    """How a container is taken apart, `(children, context)`, and put together again."""

    type: type
    flatten_fn: Callable[[Any], tuple[list, Any]]
    unflatten_fn: Callable[[Iterable, Any], Any]


def _dict_like(cls: type) -> NodeDef:
    return NodeDef(cls, lambda d: (list(d.values()), list(d)), lambda values, keys: cls(zip(keys, values)))


def _sequence(cls: type) -> NodeDef:
    return NodeDef(cls, lambda s: (list(s), None), lambda values, _: cls(values))


def _defaultdict_parts(d: defaultdict) -> tuple[list, Any]:
    return list(d.values()), [d.default_factory, list(d)]


SUPPORTED_NODES: dict[type, NodeDef] = {
    tuple: _sequence(tuple),
    list: _sequence(list),
    Size: _sequence(Size),
    dict: _dict_like(dict),
    OrderedDict: _dict_like(OrderedDict),
    defaultdict: NodeDef(
        defaultdict, _defaultdict_parts, lambda values, context: defaultdict(context[0], zip(context[1], values))
    ),
    deque: NodeDef(deque, lambda d: (list(d), d.maxlen), lambda values, maxlen: deque(values, maxlen)),
}
_NAMEDTUPLE = NodeDef(tuple, lambda t: (list(t), type(t)), lambda values, cls: cls(*values))


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[list, Any]],
    unflatten_fn: Callable[[Iterable, Any], Any],
    **_: Any,
) -> None:
    """Let a class of containers be a node: `flatten_fn` gives its children and what else it is, `unflatten_fn` makes it
    of these two again. ValueError for a class that is a node already.

    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> register_pytree_node(Pair, lambda pair: ([pair.a, pair.b], None), lambda children, _: Pair(*children))
    >>> tree_leaves([Pair(1, 2), 3])
    [1, 2, 3]
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn)


def _deregister_pytree_node(cls: type) -> None:
    """Takes back what `register_pytree_node` said of a class: its objects are leaves again. KeyError for one that is no node.

    >>> class Pair: ...
    >>> register_pytree_node(Pair, lambda pair: ([], None), lambda children, _: Pair())
    >>> _deregister_pytree_node(Pair)
    >>> len(tree_leaves(Pair()))
    1
    """
    del SUPPORTED_NODES[cls]


def _node(tree: Any) -> NodeDef | None:
    """How a tree's outermost container is taken apart; None for leaves."""
    cls = type(tree)
    node = SUPPORTED_NODES.get(cls)
    if node is None and isinstance(tree, tuple) and hasattr(cls, "_fields"):
        return _NAMEDTUPLE
    return node


class TreeSpec:
    """What a tree is beside its leaves. Leaves are written as `*`."""

    __slots__ = ("type", "context", "_children", "num_leaves")

    def __init__(self, type: Any, context: Any, children: list["TreeSpec"]) -> None:
        self.type, self.context, self._children = type, context, children
        self.num_leaves: int = sum(c.num_leaves for c in children) if type is not None else 1

    def is_leaf(self) -> bool:
        """True for a tree that is a leaf."""
        return self.type is None

    def children(self) -> list["TreeSpec"]:
        """The descriptions of the parts."""
        return list(self._children)

    @property
    def num_children(self) -> int:
        """How many parts there are."""
        return len(self._children)

    def unflatten(self, leaves: Iterable) -> Any:
        """The tree with these leaves."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree "
                f"that holds {self.num_leaves} items ({self})."
            )
        return self._build(iter(leaves))

    def _build(self, leaves) -> Any:
        if self.type is None:
            return next(leaves)
        node = SUPPORTED_NODES.get(self.type, _NAMEDTUPLE)
        return node.unflatten_fn([c._build(leaves) for c in self._children], self.context)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TreeSpec):
            return NotImplemented
        return (
            self.type is other.type
            and self.num_leaves == other.num_leaves
            and self.context == other.context
            and self._children == other._children
        )

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves, len(self._children)))

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        name = "namedtuple" if self.type not in SUPPORTED_NODES else self.type.__name__
        return f"TreeSpec({name}, {self.context}, [{', '.join(map(repr, self._children))}])"


_LEAF = TreeSpec(None, None, [])


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """The leaves of a tree in order, and what is needed to build it again.

    >>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
    >>> leaves, tree_unflatten([x * 10 for x in leaves], spec)
    ([1, 2, 3], {'a': 10, 'b': (20, [30])})
    """
    leaves: list = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list, is_leaf: Callable[[Any], bool] | None) -> TreeSpec:
    node = _node(tree)
    if node is None or is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return _LEAF
    children, context = node.flatten_fn(tree)
    return TreeSpec(type(tree), context, [_flatten(c, leaves, is_leaf) for c in children])


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> Any:
    """The tree of these leaves."""
    return treespec.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves of a tree in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """What a tree is beside its leaves."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of `func(leaf, ...)` for the leaves of one tree, or of several of the same structure.

    >>> tree_map(lambda x, y: x + y, (1, {"a": 2}), (10, {"a": 20}))
    (11, {'a': 22})
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    return spec.unflatten(map(func, leaves, *(_leaves_as(rest, spec) for rest in rests)))


def _leaves_as(tree: Any, spec: TreeSpec) -> list:
    """The parts of a tree that stand where another tree has its leaves."""
    if spec.is_leaf():
        return [tree]
    node = _node(tree)
    if node is None or type(tree) is not spec.type:
        raise ValueError(f"Node type mismatch; expected {spec.type}, but got {type(tree)}.")
    children, context = node.flatten_fn(tree)
    if len(children) != spec.num_children:
        raise ValueError(f"Node arity mismatch; expected {spec.num_children}, but got {len(children)}.")
    if context != spec.context:
        raise ValueError(f"Node context mismatch; expected {spec.context}, but got {context}.")
    return [leaf for child, child_spec in zip(children, spec._children) for leaf in _leaves_as(child, child_spec)]


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Call `func` on every leaf for what it does; gives the tree itself."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for arguments in zip(leaves, *(_leaves_as(rest, spec) for rest in rests)):
        func(*arguments)
    return tree


def tree_map_only(
    type_or_types: type | tuple[type, ...], func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """As `tree_map`, for the leaves of some types; the others stay."""
    return tree_map(lambda x: func(x) if isinstance(x, type_or_types) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """True where `pred` holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """True where `pred` holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def treespec_pprint(treespec: TreeSpec) -> str:
    """The tree with stars for leaves."""
    star = type("_Star", (), {"__repr__": lambda self: "*"})()
    return repr(treespec.unflatten([star] * treespec.num_leaves))


def _broadcast_to_and_flatten(tree: Any, treespec: TreeSpec) -> list | None:
    """A value for every leaf of a structure, from a tree whose leaves stand for whole parts of it; None where it is of
    another structure.

    >>> _broadcast_to_and_flatten((0, {"a": 1}), tree_structure(([1, 2], {"a": (3, 4)})))
    [0, 0, 1, 1]
    """
    node = _node(tree)
    if node is None:
        return [tree] * treespec.num_leaves
    if type(tree) is not treespec.type:
        return None
    children, context = node.flatten_fn(tree)
    if isinstance(tree, dict) and set(tree) == set(_keys(treespec)):
        children = [tree[key] for key in _keys(treespec)]
    elif context != treespec.context or len(children) != treespec.num_children:
        return None
    values: list = []
    for child, child_spec in zip(children, treespec._children):
        part = _broadcast_to_and_flatten(child, child_spec)
        if part is None:
            return None
        values += part
    return values


def _keys(treespec: TreeSpec) -> list:
    return treespec.context[1] if treespec.type is defaultdict else treespec.context


__all__ = [
    "TreeSpec",
    "register_pytree_node",
    "tree_all",
    "tree_any",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_structure",
    "tree_unflatten",
    "treespec_pprint",
]
