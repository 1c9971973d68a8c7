"""Which results are views, and of what: of every operation as in torch. What an operation made on its way to a result is
nobody's base."""

import math
import warnings

import pytest
from captured import TABLE, call, captured, mapped, tensors
from test_torch_versions import flat, outcome, torchs_value
from test_torch_wrong import torchs

import ferrograd as fg

torch = pytest.importorskip("torch")


def bases(results, arguments):
    """For every result, the number of the argument whose view it is, or None. What torch has made on its way counts as none."""
    numbers = {id(t): n for n, t in enumerate(arguments)}
    return [None if t._base is None else numbers.get(id(t._base)) for t in results]


def alone(value):
    """torch's arguments on memory of their own, views of nothing."""
    return mapped_torch(value, lambda t: t.clone())


def mapped_torch(value, change):
    if isinstance(value, torch.Tensor):
        return change(value)
    return type(value)(mapped_torch(v, change) for v in value) if type(value) in (list, tuple) else value


def check_hidden(results, arguments):
    """Nothing is a view of what nobody knows."""
    known = [id(t) for t in arguments] + [id(t._base) for t in arguments]
    assert all(t._base is None or id(t._base) in known for t in results)


@pytest.mark.parametrize("mode", ["recorded", "no_grad"])
@pytest.mark.parametrize("name", sorted(n for n in TABLE if torchs(n)))
def test_results_are_views_as_in_torch(name, mode):
    arguments, named = captured(name)
    arguments, named = mapped(arguments, fg.Tensor.contiguous), {key: mapped(a, fg.Tensor.contiguous) for key, a in named.items()}
    theirs = [alone(torchs_value(a)) for a in arguments], {key: alone(torchs_value(a)) for key, a in named.items()}
    with fg.set_grad_enabled(mode == "recorded"), torch.set_grad_enabled(mode == "recorded"):
        try:
            ours = call(name, arguments, named)
        except RuntimeError:
            return
        result = outcome(name, *theirs)
    if result is None:
        return
    given = list(tensors([arguments, list(named.values())]))
    check_hidden(tensors([ours]), given)
    found = bases(tensors([ours]), given)
    assert found == bases(flat(result), flat([theirs[0], list(theirs[1].values())]))


#: Calls beside the captured ones.
CALLS = """
a @ m | v @ m | m.T @ v | v @ v | v @ c | c @ v | F.linear(v, m.T) | F.linear(a, m.T) | F.linear(v, m.T, v[:2]) | T.kron(a, m)
T.kron(v, v)
z.mT | z.mH | z.adjoint() | z.T | a.mT | a.H | v.T | z.t() | v.t() | a.t() | T.t(v) | z.squeeze() | v.squeeze() | v.squeeze(0)
T.broadcast_tensors(v, m.T)[0] | T.broadcast_tensors(v, v)[0] | T.atleast_1d(z) | T.atleast_2d(v) | T.atleast_3d(v)
T.atleast_1d(v)
a.reshape(-1) | a.t().reshape(-1) | a.t().ravel() | a.ravel() | a.t().flatten() | a.flatten() | v.flatten() | z.flatten()
z.ravel()
T.outer(v, v) | T.ger(v, v) | T.inner(v, v) | T.inner(a, a) | T.tensordot(a, m, 1) | T.tensordot(v, v, 1) | T.chain_matmul(a, m)
T.linalg.multi_dot([v, m, m.T])
T.einsum("i,ij->j", v, m) | T.einsum("ij->ji", m) | T.einsum("ij,jk->ik", a, m) | T.einsum("ii->i", a) | T.einsum("i,i->", v, v)
T.stack([v, v]) | T.cat([v, v]) | T.hstack([v, v]) | T.vstack([v, v]) | T.column_stack([v, v]) | T.block_diag(a, m)
T.cartesian_prod(v, v) | T.cartesian_prod(v) | T.combinations(v)
T.meshgrid(v, v, indexing="ij")[0] | T.meshgrid(v, indexing="ij")[0] | T.tile(v, (2,)) | v.repeat(2) | v.repeat(1)
T.repeat_interleave(v, 2) | v.expand(2, 3) | v.expand(3) | v.expand_as(m.T)
T.diag(v) | T.diag(a) | T.diagflat(v) | T.diag_embed(v) | a.diagonal() | a.trace() | T.tril(a) | v.unfold(0, 2, 1) | T.rot90(a)
T.rot90(a, 2) | T.rot90(a, 0) | T.flip(a, (0,)) | T.fliplr(a) | T.roll(v, 1) | T.roll(a, 1)
a.sum() | a.sum(0) | a.mean(0, keepdim=True) | a.max() | a.max(0)[0] | a.max(0)[1] | a.median() | a.median(0)[0] | a.mode()[0]
a.sort()[0] | a.topk(1)[0] | a.kthvalue(1)[0] | a.argmax() | a.argmax(keepdim=True) | a.argmax(0) | a.cummax(0)[0] | a.std()
a.var(0) | T.std_mean(a)[0]
a.norm() | a.norm(dim=0) | T.linalg.norm(a) | T.linalg.vector_norm(a) | T.linalg.matrix_norm(a) | T.cdist(a, a) | T.dist(v, v)
F.pairwise_distance(a, a) | F.cosine_similarity(a, a) | F.normalize(a) | T.renorm(a, 2, 0, 1.0) | T.cov(a) | T.cov(v)
T.corrcoef(a) | T.corrcoef(v)
a[0] | a[:, 0] | a[...] | a[None] | a[[0, 1]] | a[a > 0] | a[0, [0, 1]] | a[:1, [0, 1]] | v[0] | v[:2] | a[0][0] | z[None]
z[...] | z[True] | a[True] | a[False] | v[T.tensor(1)] | v[T.tensor([1])] | a[T.tensor(0), 0]
a.take(T.tensor([0])) | T.take_along_dim(a, T.tensor([[0]])) | T.take_along_dim(a, T.tensor([0])) | a.gather(0, T.tensor([[0]]))
a.index_select(0, T.tensor([0])) | a.masked_select(a > 0) | v.index_select(0, T.tensor([0])) | z.index_select(0, T.tensor([0]))
a.split(1)[0] | a.chunk(2)[1] | a.unbind()[0] | T.tensor_split(a, 2)[0] | T.hsplit(a, 3)[0] | T.vsplit(a, 3)[0]
T.dsplit(c, 3)[0] | [*a][0] | T.split(a, [1, 2])[1] | T.unsafe_split(a, 1)[0] | T.unsafe_chunk(a, 1)[0]
a.to(T.float64) | a.to(T.float32) | a.contiguous() | a.t().contiguous() | a.clone() | a.detach() | a.view(9) | a.view_as(a)
a.view(T.int32) | a.reshape_as(a) | a.unflatten(0, (3, 1)) | T.movedim(a, 0, 1) | T.swapaxes(a, 0, 1) | z.movedim(0, 0)
T.positive(a) | a.data | a.narrow(0, 0, 1) | a.select(0, 0) | a.as_strided((2,), (1,)) | a.alias() if hasattr(a, "alias") else a
F.pad(v, (1, 1)) | F.pad(v, (0, 0)) | F.pad(a, (-1, 0)) | F.pad(c, (1, 1), mode="circular") | F.pad(c, (1, 1), mode="reflect")
F.unfold(c[None], 2) | F.fold(T.ones(1, 4, 1), (2, 2), 2) | F.pixel_shuffle(T.ones(1, 4, 2, 2), 2)
F.pixel_unshuffle(T.ones(1, 1, 2, 2), 2) | F.interpolate(c[None], 4) | F.interpolate(c, 4) | F.one_hot(T.tensor([0, 1]))
F.embedding(T.tensor([0]), m) | F.embedding(T.tensor(0), m) | T.channel_shuffle(T.ones(1, 4, 2, 2), 2)
F.conv1d(T.ones(1, 3), T.ones(1, 1, 2)) | F.conv2d(T.ones(1, 3, 3), T.ones(1, 1, 2, 2))
F.conv1d(T.ones(1, 1, 3), T.ones(1, 1, 2)) | F.max_pool1d(T.ones(1, 1, 4), 2) | F.max_pool1d(T.ones(1, 4), 2)
F.avg_pool1d(T.ones(1, 1, 4), 2) | F.avg_pool1d(T.ones(1, 4), 2) | F.adaptive_avg_pool1d(T.ones(1, 1, 4), 2)
F.adaptive_avg_pool1d(T.ones(1, 4), 2) | F.adaptive_avg_pool2d(T.ones(1, 4, 4), 1) | F.adaptive_max_pool1d(T.ones(1, 4), 2)
F.max_pool2d(T.ones(1, 4, 4), 2) | F.lp_pool1d(T.ones(1, 1, 4), 2.0, 2) | F.conv_transpose1d(T.ones(1, 3), T.ones(1, 1, 2))
F.softmax(v, 0) | F.log_softmax(a, 1) | F.gumbel_softmax(a) | F.layer_norm(a, (3,)) | F.group_norm(T.ones(1, 2, 2), 1)
F.batch_norm(a, v.detach().clone(), v.detach().clone()) | F.instance_norm(T.ones(1, 2, 2))
F.local_response_norm(T.ones(1, 2, 3), 2) | F.glu(T.ones(2)) | F.dropout(v, 0.0) | F.dropout(v, 0.5, False)
F.alpha_dropout(v, 0.5, False) | F.relu(v) | F.celu(v) | F.prelu(v, T.ones(1)) | F.cross_entropy(a, T.tensor([0, 1, 2]))
F.nll_loss(a, T.tensor([0, 1, 2])) | F.mse_loss(v, v)
F.scaled_dot_product_attention(c, c, c) | T.addmv(v, a, v) | T.addr(a, v, v) | T.addmm(a, a, a) | T.bmm(c, c.mT) | T.mv(a, v)
T.mm(a, m) | T.dot(v, v) | T.vdot(v, v) | T.matmul(c, m) | T.linalg.vecdot(v, v) | T.linalg.cross(v, v) | T.trapezoid(v)
T.cumulative_trapezoid(v) | T.diff(v) | T.diff(v, n=0) | T.quantile(v, 0.5) | T.quantile(v, 0.5, keepdim=True)
T.nanquantile(a, T.tensor([0.5]), 0) | T.quantile(a, 0.5, 0) | T.histogram(v, 2)[0] | T.histc(v) | T.bincount(T.tensor([1]))
T.unique(v) | T.unique_consecutive(v) | T.searchsorted(v.detach(), v.detach()) | T.bucketize(v, v.detach()) | T.nonzero(v)
T.nonzero(v, as_tuple=True)[0] | T.argwhere(v) | T.where(v > 0)[0] | T.where(v > 0, v, v) | T.logcumsumexp(v, 0)
T.logsumexp(a, 0) | T.cumsum(v, 0) | T.cumprod(v, 0) | T.prod(a) | T.vander(v) | T.tril_indices(2, 2) | T.triu_indices(2, 2)
T.aminmax(a)[0] | T.msort(a) | T.multinomial(v.detach(), 1) | T.bernoulli(v.detach() * 0) | T.select_scatter(a, v, 0, 0)
T.slice_scatter(a, a[:1], 0, 0, 1) | T.diagonal_scatter(a, v) | T.index_add(a, 0, T.tensor([0]), a[:1])
T.scatter(a, 0, T.tensor([[0]]), a)
"""


def texts(table):
    return [text for line in table.strip().split("\n") for text in line.split(" | ")]


def known_names(T, requires_grad):
    made = {"z": T.tensor(5.0), "v": T.tensor([1.0, 2.0, 3.0])}
    shapes = {"a": (3, 3), "m": (3, 2), "c": (2, 3, 3)}
    made |= {name: T.arange(float(math.prod(shape))).reshape(shape).clone() for name, shape in shapes.items()}
    for t in made.values():
        t.requires_grad_(requires_grad)
    return made


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("text", texts(CALLS))
def test_calls_give_views_as_in_torch(text, requires_grad):
    found = []
    for T in (fg, torch):
        names = known_names(T, requires_grad)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = eval(text, {"T": T, "F": T.nn.functional, **names})
        found.append(bases([y], list(names.values())))
        if T is fg:
            check_hidden([y], list(names.values()))
    assert found[0] == found[1]


def changes(T):
    """What changes in place of such results do."""
    w = T.ones(2, requires_grad=True)
    with T.no_grad():
        r = T.ones(3) @ T.ones(3, 2)
    r.mul_(w)
    r.sum().backward()
    yield w.grad.tolist(), r.grad_fn.name()
    x = T.ones(3, requires_grad=True)
    y = x @ T.ones(3, 2)
    yield y.detach_().requires_grad, y.grad_fn
    for change in (lambda y: y.mul_(2), lambda y: y.relu_(), lambda y: y.add_(w)):
        y = change(x @ T.ones(3, 2))
        yield y.grad_fn.name(), [n.name() for n, _ in y.grad_fn.next_functions if n]
        yield T.autograd.grad(y.sum(), x)[0].tolist()


def test_products_of_vectors_and_matrices_change_as_in_torch():
    assert list(changes(fg)) == list(changes(torch))


#: Functions of `x` whose gradient comes back through a view.
THROUGH = """
x.squeeze() | x.squeeze(0) | x.squeeze((0,)) | x.reshape(-1) | x.view(x.shape) | x.view(-1) | x.unsqueeze(0) | x.expand(x.shape) | x.view_as(x) | x[...] | x[None] | x.t() if x.dim() == 2 else x.T
x.transpose(0, -1) if x.dim() else x | x.permute(tuple(range(x.dim()))) | x.flatten() | x.ravel() | x.movedim(0, 0) if x.dim() else x | x.squeeze().reshape(-1) | x.contiguous() | x.clone() | x.to(T.float64) | x + 0 | x.swapaxes(0, 0) if x.dim() else x
x.expand(2, *x.shape) | x.unsqueeze(-1) | x.unflatten(0, (1, -1)) if x.dim() else x | x.mT if x.dim() > 1 else x | x.split(1)[0] if x.dim() else x | x.unbind()[0] if x.dim() else x | x.narrow(0, 0, 1) if x.dim() else x | x.repeat(2) if x.dim() < 2 else x | x.atleast_2d() if hasattr(x, "atleast_2d") else x
"""


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (1, 3)])
@pytest.mark.parametrize("text", texts(THROUGH))
def test_gradients_can_be_changed(text, shape):
    """torch refuses it where its gradient is a view of one that nobody has."""

    def changed(T):
        x, w = T.ones(shape, requires_grad=True), T.full(shape, 3.0, requires_grad=True)
        (g,) = T.autograd.grad((eval(text, {"T": T, "x": x}) * 2).sum(), x)
        g *= w
        g.sum().backward()
        return g.tolist(), w.grad.tolist(), g._version

    found = changed(fg)
    try:
        expected = changed(torch)
    except RuntimeError as error:
        assert "view" in str(error)
    else:
        assert found == expected
