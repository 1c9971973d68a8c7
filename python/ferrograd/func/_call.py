"""Modules as functions of their parameters: `functional_call`, `stack_module_state`, `replace_all_batch_norm_modules_`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor

_MISSING: Any = object()


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call `module` with other tensors in the place of its parameters and buffers: `{"layer.weight": tensor, ...}`, or
    several such dicts. A module is anything that can be called and has `named_parameters()`; its tensors are attributes.

    What the module assigns to these attributes meanwhile is written to the dicts. `args` is a tuple of arguments, or the
    only one. Where `tie_weights`, a tensor that the module has under several names is replaced under all of them. Where
    `strict`, the names must be all that there are.

    >>> import ferrograd
    >>> class Scale:
    ...     def __init__(self):
    ...         self.factor = ferrograd.tensor(2.0)
    ...     def named_parameters(self):
    ...         return [("factor", self.factor)]
    ...     def __call__(self, x):
    ...         return self.factor * x
    >>> functional_call(Scale(), {"factor": ferrograd.tensor(5.0)}, ferrograd.ones(2))
    tensor([5., 5.])
    """
    given = _one_dict(parameter_and_buffer_dicts)
    tensors = _tied(module, given) if tie_weights else given
    if strict:
        _check_names(module, tensors)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    before: dict[str, Any] = {}
    try:
        for name, tensor in tensors.items():
            before[name] = _swap(module, name, tensor)
        return module(*args, **(kwargs or {}))
    finally:
        for name, tensor in reversed(before.items()):
            after = _swap(module, name, tensor)
            if name in given and after is not _MISSING:
                _write_back(parameter_and_buffer_dicts, name, after)


def _one_dict(dicts: Any) -> dict[str, Tensor]:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, Sequence):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(dicts)}"
        )
    if not all(isinstance(d, dict) for d in dicts):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    repeated = [name for name, count in Counter(name for d in dicts for name in d).items() if count > 1]
    if repeated:
        raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
    return {name: tensor for d in dicts for name, tensor in d.items()}


def _write_back(dicts: Any, name: str, tensor: Any) -> None:
    for d in (dicts,) if isinstance(dicts, dict) else dicts:
        if name in d:
            d[name] = tensor


def _named(module: Any) -> dict[str, Tensor]:
    """All parameters and buffers, also those that have several names."""
    tensors: dict[str, Tensor] = {}
    for listing in ("named_parameters", "named_buffers"):
        if (names := getattr(module, listing, None)) is not None:
            try:
                tensors.update(names(remove_duplicate=False))
            except TypeError:
                tensors.update(names())
    return tensors


def _tied(module: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The given tensors under all names that the module has each of them under."""
    groups: dict[int, list[str]] = {}
    for name, tensor in _named(module).items():
        groups.setdefault(id(tensor), []).append(name)
    tied = dict(given)
    for names in groups.values():
        values = {id(given[name]): given[name] for name in names if name in given}
        if len(values) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. "
                f"Consider using tie_weights=False"
            )
        for value in values.values():
            tied.update(dict.fromkeys(names, value))
    return tied


def _check_names(module: Any, tensors: Mapping[str, Tensor]) -> None:
    names = _named(module)
    unexpected = [repr(name) for name in tensors if name not in names]
    missing = [repr(name) for name in names if name not in tensors]
    problems = [f"Unexpected key(s): {', '.join(unexpected)}."] if unexpected else []
    problems += [f"Missing key(s): {', '.join(missing)}."] if missing else []
    if problems:
        raise RuntimeError("\n\t".join([f"Error(s) in reparametrizing for {type(module).__name__}:", *problems]))


def _swap(module: Any, path: str, tensor: Any) -> Any:
    """Put a tensor in the place of a path of attributes; gives what was there. `_MISSING` stands for nothing."""
    *parents, name = path.split(".")
    for parent in parents:
        module = module[int(parent)] if parent.isdigit() and not hasattr(module, parent) else getattr(module, parent)
    if tensor is not _MISSING and tensor is not None and not isinstance(tensor, Tensor):
        raise TypeError(f"{tensor} is not an instance of torch.Tensor")
    for registry in ("_parameters", "_buffers"):
        entries = getattr(module, registry, None)
        if isinstance(entries, dict) and name in entries:
            before = entries[name]
            if tensor is _MISSING:
                del entries[name]
            else:
                entries[name] = tensor
            return before
    before = getattr(module, name, _MISSING)
    if before is not _MISSING and before is not None and not isinstance(before, Tensor):
        raise TypeError(f"attribute `{name}`: {before} is not an instance of torch.Tensor")
    if tensor is not _MISSING:
        setattr(module, name, tensor)
    elif before is not _MISSING:
        delattr(module, name)
    return before


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules of one class, each stacked along a new first dimension: for a
    `vmap` over the modules by `functional_call` of one of them. Stacked parameters are leaves of their own.
    RuntimeError for no modules, for modules of several classes, and where some train and others do not.

    >>> import ferrograd
    >>> class Scale:
    ...     def __init__(self, factor):
    ...         self.factor = ferrograd.tensor(factor)
    ...     def named_parameters(self):
    ...         return [("factor", self.factor)]
    >>> stack_module_state([Scale(2.0), Scale(3.0)])
    ({'factor': tensor([2., 3.])}, {})
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({bool(getattr(m, "training", True)) for m in models}) != 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    stacked = []
    for listing in ("named_parameters", "named_buffers"):
        all_names = [dict(getattr(m, listing, tuple)()) for m in models]
        stacked.append({name: _stacked([names[name] for names in all_names], name) for name in all_names[0]})
    return stacked[0], stacked[1]


def _stacked(tensors: list[Tensor], name: str) -> Tensor:
    requires = {t.requires_grad for t in tensors}
    if len(requires) != 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    stacked = _ferrograd.stack(tensors)
    return stacked.detach().requires_grad_() if requires.pop() else stacked


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Takes their running statistics from all normalisations of batches within a module, which is given back: under `vmap` they
    could not be written to. `root` is anything with `modules()`; a normalisation of batches has a class named so among its own
    (`BatchNorm`), and `track_running_stats`.

    >>> class BatchNorm:
    ...     def __init__(self):
    ...         self.track_running_stats, self.running_mean = True, 0.5
    ...     def modules(self):
    ...         return [self]
    >>> norm = replace_all_batch_norm_modules_(BatchNorm())
    >>> norm.track_running_stats, norm.running_mean
    (False, None)
    """
    for module in (root, *root.modules()):
        is_norm = any("BatchNorm" in kind.__name__ for kind in type(module).__mro__)
        if is_norm and getattr(module, "track_running_stats", False):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
