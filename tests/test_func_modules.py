"""Modules as functions of their parameters, and the containers that transforms look into."""

import collections

import numpy as np
import pytest
from test_func import BATCH, X
from test_func_maps import Pair
from trees import same

import ferrograd as fg
from ferrograd import func as fgf
from ferrograd.utils import _pytree


class Layer:
    def __init__(self, T, seed):
        rng = np.random.default_rng(seed)
        self.weight, self.scale = T.tensor(rng.normal(size=(2, 5)), requires_grad=True), T.tensor(rng.normal(size=2))
        self.tied = self.weight

    def named_parameters(self, remove_duplicate=True):
        return [("weight", self.weight)] + ([] if remove_duplicate else [("tied", self.tied)])

    def named_buffers(self, remove_duplicate=True):
        return [("scale", self.scale)]

    def __call__(self, x, power=1):
        self.scale = self.scale + 1
        return (self.weight @ x) ** power * self.scale + self.tied.sum()


class Model:
    training = True

    def __init__(self, T=fg, seed=0):
        self.layers, self.T = [Layer(T, seed), Layer(T, seed + 1)], T

    def _all(self, listing, **options):
        return [(f"layers.{n}.{name}", t) for n, l in enumerate(self.layers) for name, t in getattr(l, listing)(**options)]

    def named_parameters(self, **options):
        return self._all("named_parameters", **options)

    def named_buffers(self, **options):
        return self._all("named_buffers", **options)

    def __call__(self, x, power=1):
        return self.layers[0](x, power) + self.T.tanh(self.layers[1](x))


def test_modules_as_functions():
    model, x = Model(), fg.tensor(X)
    before = dict(model.named_parameters()), dict(model.named_buffers())
    params = {name: t.detach() * 2 for name, t in model.named_parameters()}
    found = fgf.functional_call(model, params, x)
    assert dict(model.named_parameters()) == before[0]
    for layer in model.layers:
        layer.weight = layer.tied = layer.weight.detach() * 2
        layer.scale = layer.scale - 1
    same(found, model(x))


def test_the_attributes_of_modules_as_functions():
    x = fg.tensor(X)
    model = Model()
    buffers = {"layers.0.scale": fg.zeros(2, dtype=fg.float64)}
    params = {"layers.0.weight": fg.ones(2, 5, dtype=fg.float64)}
    scale = model.layers[0].scale
    fgf.functional_call(model, (params, buffers), (x,), {"power": 2})
    assert buffers["layers.0.scale"].tolist() == [1.0, 1.0] and model.layers[0].scale is scale
    one = lambda **options: fgf.functional_call(model, {"layers.0.weight": fg.ones(2, 5), "layers.0.tied": fg.zeros(2, 5)}, x.to(fg.float32), **options)
    with pytest.raises(ValueError, match="which are tied"):
        one()
    with pytest.raises(RuntimeError, match="Missing key"):
        one(tie_weights=False, strict=True)
    with pytest.raises(RuntimeError, match="Unexpected key.*'other'"):
        fgf.functional_call(model, {"other": x}, x, strict=True)
    with pytest.raises(ValueError, match="appeared in multiple dictionaries"):
        fgf.functional_call(model, (params, params), x)
    with pytest.raises(ValueError, match="to be dictionaries"):
        fgf.functional_call(model, (params, 1), x)
    with pytest.raises(ValueError, match="to be a dict, or a list/tuple of dicts"):
        fgf.functional_call(model, 1, x)
    with pytest.raises(TypeError, match="not an instance of torch.Tensor"):
        fgf.functional_call(model, {"layers.0.weight": 1.0}, x)

    class Broken(Model):
        def __call__(self, x):
            raise KeyError("broken")

    broken = Broken()
    weight = broken.layers[0].weight
    with pytest.raises(KeyError, match="broken"):
        fgf.functional_call(broken, params, x)
    assert broken.layers[0].weight is weight


def test_gradients_of_modules_for_each_example_and_of_several_modules():
    model = Model()
    params = {name: t.detach() for name, t in model.named_parameters()}
    f = lambda params, x: fgf.functional_call(model, dict(params), x).pow(2).sum()
    x = fg.tensor(BATCH)
    scale = [layer.scale for layer in model.layers]
    found = fgf.vmap(fgf.grad(f), (None, 0))(params, x)
    for n, one in enumerate(x):
        for layer, s in zip(model.layers, scale):
            layer.scale = s
        same([found[name][n] for name in params], list(fgf.grad(f)(params, one).values()))
    models = [Model(seed=s) for s in (0, 5)]
    stacked = fgf.stack_module_state(models)
    assert all(t.requires_grad and t.is_leaf for t in stacked[0].values()) and not any(t.requires_grad for t in stacked[1].values())
    together = fgf.vmap(lambda p, b: fgf.functional_call(models[0], (dict(p), dict(b)), x[0]))(*stacked)
    same(together, fg.stack([m(x[0]) for m in models]))
    with pytest.raises(RuntimeError, match="at least one model"):
        fgf.stack_module_state([])
    with pytest.raises(RuntimeError, match="of the same class"):
        fgf.stack_module_state([Model(), Layer(fg, 0)])
    models[1].training = False
    with pytest.raises(RuntimeError, match="same training/eval mode"):
        fgf.stack_module_state(models)


def test_trees():
    tree = {"a": 1, "b": (2, [3, Pair(4, {})]), "c": collections.deque([5], maxlen=3), "d": None}
    found, spec = _pytree.tree_flatten(tree)
    assert found == [1, 2, 3, 4, 5, None] and spec.unflatten(found) == tree and spec == _pytree.tree_structure(tree)
    assert spec.unflatten(found)["c"].maxlen == 3
    assert spec != _pytree.tree_structure({**tree, "b": [2]})
    assert _pytree.tree_map(lambda x: x, collections.defaultdict(list, x=[1])).default_factory is list
    assert _pytree.tree_map_only(int, lambda x: -x, (1, "a")) == (-1, "a")
    assert _pytree.tree_all(lambda x: x, (1, 1)) and not _pytree.tree_any(lambda x: x, (0, 0))
    assert repr(_pytree.tree_structure((1, {"a": 2}))) == "TreeSpec(tuple, None, [*, TreeSpec(dict, ['a'], [*])])"
    assert _pytree.treespec_pprint(_pytree.tree_structure((1, {"a": 2}))) == "(*, {'a': *})"
    with pytest.raises(ValueError, match="holds 2 items"):
        _pytree.tree_structure((1, 2)).unflatten([1])
    for other in ((1,), [1, 2], 3):
        with pytest.raises(ValueError, match="mismatch"):
            _pytree.tree_map(max, (1, 2), other)

    class Box:
        def __init__(self, inside):
            self.inside = inside

    _pytree.register_pytree_node(Box, lambda b: ([b.inside], None), lambda parts, _: Box(*parts))
    assert fgf.vmap(lambda b: Box(b.inside.sum()))(Box(fg.ones(2, 3))).inside.tolist() == [3.0, 3.0]
    with pytest.raises(ValueError, match="already registered"):
        _pytree.register_pytree_node(Box, None, None)


class _BatchNorm:
    def __init__(self, tracks=True):
        self.track_running_stats, self.running_mean, self.running_var, self.num_batches_tracked = tracks, fg.zeros(2), fg.ones(2), fg.tensor(0)


class BatchNorm1d(_BatchNorm):
    pass


class InstanceNorm1d:
    track_running_stats, running_mean = True, 3


def test_containers_are_nodes_until_taken_back():
    class Box:
        def __init__(self, value):
            self.value = value

    _pytree.register_pytree_node(Box, lambda box: ([box.value], None), lambda children, _: Box(*children))
    assert fg.vmap(lambda box: box.value * 2)(Box(fg.ones(2))).tolist() == [2.0, 2.0]
    _pytree._deregister_pytree_node(Box)
    with pytest.raises(ValueError, match="the input is of type"):
        fg.vmap(lambda box: box.value * 2)(Box(fg.ones(2)))
    with pytest.raises(KeyError):
        _pytree._deregister_pytree_node(Box)


def test_normalisations_of_batches_lose_their_statistics():
    class Net:
        def __init__(self):
            self.parts = [BatchNorm1d(), BatchNorm1d(tracks=False), InstanceNorm1d()]

        def modules(self):
            return [self, *self.parts]

    net = Net()
    assert fgf.replace_all_batch_norm_modules_(net) is net
    norm, untracked, other = net.parts
    assert norm.track_running_stats is False and norm.running_mean is norm.running_var is norm.num_batches_tracked is None
    assert untracked.running_mean is not None and other.track_running_stats and other.running_mean == 3
