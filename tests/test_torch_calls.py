"""Calls as torch takes them: the same expression in both libraries gives the same value, or an error of the same class."""

import copy
import gc
import math
import pickle
import warnings
import weakref

import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

#: Expressions of T (the library), x (floats), i (integers), b (truths), u (uint8), m (a matrix), y (a result with history).
CALLS = {
    "alpha": """
        T.add(x,i,alpha=2); T.add(x,2,alpha=3); T.add(i,i,alpha=2); T.add(i,2,alpha=2); T.add(b,b,alpha=2)
        T.add(i,i,alpha=2.0); T.add(i,i,alpha=True); T.add(b,b,alpha=True); T.sub(x,x,alpha=2)
        T.sub(i,3,alpha=2); T.sub(b,b,alpha=1); x.add(x,alpha=0.5); x.clone().add_(x,alpha=3)
        i.clone().sub_(i,alpha=3); T.rsub(x,x,alpha=2); T.rsub(i,3,alpha=2); T.add(u,u,alpha=300)
    """,
    "rounding": """
        T.div(x,3,rounding_mode='floor'); T.div(x,3,rounding_mode='trunc'); T.div(i,3,rounding_mode='floor')
        T.div(i,-3,rounding_mode='trunc'); T.div(i,-3,rounding_mode='floor'); T.div(i,3,rounding_mode=None)
        T.div(i,0,rounding_mode='floor'); T.div(i,2.0,rounding_mode='trunc'); T.div(x,0,rounding_mode='trunc')
        T.div(x,0,rounding_mode='floor'); T.div(u,7,rounding_mode='floor')
        x.clone().div_(2,rounding_mode='floor'); T.div(x,3,rounding_mode='up')
        i.clone().div_(2,rounding_mode='trunc'); i.clone().div_(2)
    """,
    "clamp": """
        x.clamp(0,1); x.clamp(min=x); x.clamp(T.tensor(0.5)); x.clamp(max=x*2,min=x); x.clamp()
        x.clamp(min=x,max=1); i.clamp(0); i.clamp(0.5); i.clamp(max=2); i.clamp(0,2); u.clamp(max=300)
        b.clamp(0); i.clamp(min=T.tensor(2.5)); x.clone().clamp_(0,1); x.clamp(None,1); x.clamp(min=None)
    """,
    "sums": """
        x.sum(dtype=T.float64); i.sum(); b.sum(); i.sum(dtype=T.float32); i.sum(dtype=T.int32); x.sum(dim=())
        x.sum(dim=None); x.sum(dim=[0]); m.sum((0,1)); m.sum((0,-1),keepdim=True); m.sum((0,0)); m.sum(2)
        m.sum(-3); m.mean(dim=()); m.mean((0,1)); i.mean(); i.mean(dtype=T.float64); x.mean(dtype=T.int64)
        m.prod(0); m.prod(dim=0,keepdim=True); m.prod(dtype=T.float64); i.prod(); b.prod(); u.sum(); u.prod()
        m.sum(axis=0); m.sum(0,keepdims=True); m.sum(True); m.sum(1.0); m.sum(dim=0,foo=1); m.sum(0,1)
        m.prod(dim=(0,)); x.sum(dtype=T.bool)
    """,
    "spread": """
        m.var(); m.var(0); m.var(0,False); m.var(unbiased=False); m.var(False); m.var(correction=0)
        m.var(0,correction=2); m.var((0,1),correction=0,keepdim=True); m.var(correction=None)
        m.var(dim=None,unbiased=False); m.var(0,1); m.var(unbiased=True,keepdim=True); m.std()
        m.std(0,correction=0); m.std(dim=1,keepdim=True); i.var(); m.var(correction=1.5)
        m.var(0,unbiased=False,keepdim=True)
    """,
    "extremes": """
        m.max(); m.max(0); m.max(0,True); m.max(dim=1,keepdim=True)[0]; m.max(m*2); m.min(1); i.max(); b.max()
        b.any(); b.all(); m.argmax(); m.argmax(0); m.argmax(keepdim=True); m.argmax(None,True)
        m.argmax(1,keepdim=True); m.argmin(dim=0); m.amax(); m.amax((0,1)); m.amax(dim=0,keepdim=True)
        m.max(dim=(0,)); m.max(0).values; m.max(0).indices; T.max(m,0); T.max(m,m); m.any(0)
        m.all(1,keepdim=True); m.any(dim=0); x[:0].sum(); x[:0].mean(); x[:0].prod(); m[:0].max(1)
    """,
    "softmax": """
        m.softmax(0); m.softmax(-1,dtype=T.float64); T.softmax(m,1,T.float64); T.softmax(i,0,dtype=T.float32)
        T.softmax(i,0); m.softmax(2); m.log_softmax(dim=1); m.logsumexp(0); m.logsumexp((0,1),keepdim=True)
        i.logsumexp(0); m.softmax()
    """,
    "bits": """
        i&3; 3&i; i|4; i^1; ~i; ~b; ~u; b&b; b|True; b^b; True^b; b&3; i&b; u&i; i&1.0; x&x; x&1; ~x; i&i[:1]
        T.bitwise_and(i,3); T.bitwise_or(2,i); T.bitwise_not(i); T.bitwise_xor(i,i); T.logical_and(i,x)
        T.logical_or(b,i); T.logical_xor(i,x); T.logical_not(x); T.logical_and(x,1); i.clone().bitwise_and_(3)
        i.logical_not(); b.clone().logical_not_(); b.clone().logical_and_(i); x.clone().logical_and_(i)
        b.clone().bitwise_not_(); i[:1]&i.to(T.int32)[:1]; b.clone().bitwise_and_(3); u.bitwise_not(); i&'a'
        None|i
    """,
    "constructor": """
        T.Tensor(2,3).shape; T.Tensor([1,2]); T.Tensor(); T.Tensor(3.0); T.Tensor([1,2],[3]); T.Tensor(i)
        T.Tensor(x); T.Tensor((2,3)); T.Tensor(T.Size([2,3])).shape; T.Tensor(True); T.Tensor('a')
        T.Tensor(m.shape).shape; T.Tensor(0).shape; T.Tensor(-1); T.Tensor([[1],[2]]); T.Tensor(2).shape
        T.Tensor([True]); T.Tensor(x,x)
    """,
    "arange": """
        T.arange(5); T.arange(5.0); T.arange(1,6); T.arange(1,7,2); T.arange(0,1,0.25); T.arange(5,0,-2)
        T.arange(end=3); T.arange(1,end=3); T.arange(start=1,end=3,step=1); T.arange(3,dtype=T.float32)
        T.arange(0,1,0.1); T.arange(0,1,0.1,dtype=T.float64); T.arange(5,0); T.arange(0,5,0); T.arange(True)
        T.arange(2.5); T.arange(-2.5,2.5); T.arange(0,10,3,dtype=T.uint8); T.arange(3,requires_grad=True)
        T.arange(3.,requires_grad=True); T.arange(float('nan')); T.arange(float('inf')); T.arange()
        T.arange('a'); T.arange(T.tensor(3)); T.arange(1,2,0.3,dtype=T.float32); T.arange(5,device='cpu')
        T.arange(0)
    """,
    "linspace": """
        T.linspace(0,1,5); T.linspace(0,1,steps=3); T.linspace(start=0,end=1,steps=3)
        T.linspace(T.tensor(0.),1,3); T.linspace(0,1); T.linspace(0,10,5,dtype=T.int64); T.linspace(3,3,1)
        T.linspace(0,1,0); T.linspace(0,1,-1); T.linspace(1,0,4,dtype=T.float64)
        T.linspace(0,1,3,requires_grad=True); T.linspace(0,1,2.0); T.linspace(0,1,3,device='cpu')
        T.linspace(-5,5,4,dtype=T.int32); T.linspace(-1,1,7)
    """,
    "full": """
        T.full((2,),True); T.full((2,),1); T.full((2,),1.5); T.full((2,),1.5,dtype=T.int64)
        T.full([2],3,requires_grad=True); T.full((),2.0); T.full(2,3); T.full((2,3),T.tensor(3.5))
        T.full(size=(2,),fill_value=1); T.full_like(i,2.5); T.full_like(x,2); T.full_like(x,2,dtype=T.int32)
        T.full((2,),'a'); T.full((2,))
    """,
    "eye": """
        T.eye(2); T.eye(2,3); T.eye(3,2,dtype=T.int64); T.eye(n=2,m=1); T.eye(0); T.eye(-1); T.eye(2,-1)
        T.eye(2.0); T.eye(2,requires_grad=True); T.eye(2,dtype=T.bool)
    """,
    "like": """
        T.zeros_like(i); T.zeros_like(i,dtype=T.float32); T.ones_like(x,requires_grad=True); T.ones_like(b)
        T.zeros_like(m.t()).stride(); T.ones_like(m.t()).stride(); T.zeros_like(input=i); T.rand_like(x).shape
        T.rand_like(i); T.randn_like(i,dtype=T.float32).dtype; T.empty_like(m).shape
        T.zeros_like(x,device='cpu'); T.zeros_like(x,memory_format=T.preserve_format); T.zeros_like(2)
    """,
    "creation": """
        T.zeros(2,device='cpu'); T.zeros(2,device=T.device('cpu')); T.zeros(2,layout=T.strided)
        T.zeros(2,pin_memory=False); T.zeros(2,pin_memory=True); T.zeros(2,device='foo')
        T.zeros(2,device=None,layout=None,dtype=None); T.zeros(2,3,dtype=T.int64); T.zeros((2,3))
        T.zeros([2,3]); T.zeros(size=(2,)); T.zeros(()); T.zeros([]); T.zeros(2.0); T.zeros('a'); T.zeros(-1)
        T.zeros(2,'a'); T.zeros(T.Size([1])); T.zeros(2,memory_format=1); T.ones(2,dtype='a'); T.zeros()
        T.ones(i[0]); T.ones(2,requires_grad=True); T.ones(2,dtype=T.int64,requires_grad=True)
        T.rand(2,dtype=T.int64); T.empty(2,0).shape; T.zeros(True); T.ones(2,dtype=float); T.ones(2,dtype=int)
        T.ones(2,dtype=bool); T.tensor([1],device='cpu'); T.tensor([1],device='foo')
        T.as_tensor([1],device='cpu'); T.tensor([1],dtype=float)
        T.tensor([1.0],requires_grad=True,device=T.device('cpu'))
    """,
    "device": """
        x.device; T.device('cpu',0); T.device('cpu:0'); T.device('cpu')==x.device; T.device('cpu:0')==x.device
        T.device('foo'); str(T.device('cpu:1')); T.device('cpu').type; T.device('cpu').index
        T.device(type='cpu'); x.is_cuda; x.cpu() is x; x.layout; x.is_sparse; x.itemsize; x.nbytes
        x.get_device(); x.output_nr; x.ndimension(); x.is_complex(); i.is_signed(); u.is_signed()
        x.is_same_size(i); x.to('cpu') is x; x.to(T.device('cpu')) is x; x.to('foo')
        hash(T.device('cpu'))==hash(x.device); pickle.loads(pickle.dumps(T.device('cpu:0')))
        {x.device:1}[T.device('cpu')]; x.device!='cpu'; T.strided; T.contiguous_format
    """,
    "protocols": """
        complex(T.tensor(3.5)); complex(x); float(x); int(x); x.item(); round(T.tensor(3.5))
        T.tensor(3).__index__(); T.tensor(3.5).__index__(); T.tensor([True]).__index__(); [3,4][T.tensor(1)]
        list(range(T.tensor(3))); 3.0 in x; 1.0 in x; [1] in x; 'a' in x
        T.tensor([1,2]) in T.tensor([[1,2],[3,4]]); reversed(x); reversed(T.tensor(1)); list(reversed(i))
        len(x); len(T.tensor(1)); iter(T.tensor(1)); [r for r in m]; bool(x); bool(T.tensor([])); hash(x)==id(x)
        x.__delitem__(0); pow(x,2,3); x+'a'; x=='a'; x!=None; x<'a'; x@2; 2@x; [1,2]+i; i+[1,2]
        float(T.tensor([[2.5]])); int(T.tensor(float('nan'))); int(T.tensor(float('inf')))
        f'{T.tensor(2.5):.3f}'; f'{x:.3f}'; '%d'%T.tensor(3); x.__dict__; divmod(i,2); T.floor(i); T.trunc(i)
        T.floor(b); math.floor(T.tensor(2.5)); T.reciprocal(i); T.reciprocal(x)
    """,
    "indexing": """
        x[3]; x[0,0]; x['a']; x[1.0]; x[0:2:-1]; x[...,...]; x[None]; x[5:1]; x[[True,False]]; x[[5]]
        x[T.tensor([0.5])]; x[True]; x[False]; T.tensor(1)[0]; T.tensor(1)[...]; T.tensor(1)[None]
        T.tensor(1)[True]; m[0,0,0]; m[:,None,0]; m[...,0]; m[-1]; m[-3]; m[0][1]; m[T.tensor(1)]
        m[:,T.tensor(1)]; m[None,...,None].shape; m[0:1,::2]; m[1,...]; m[...,1,None]; m[[0,1],[1,0]]; m[True,0]
        m[0,True]; m[False].shape; m[:,[True,False,True]]; m[m>0].shape; m[b[:2]]; m[()]; m[slice(None)]
        m[range(2)]; m[(0,1)]; m[:, -1]; m[0:100]; m[-100:1]; m[1:0].shape; m[::0]
        m[T.tensor([0,1]),None].shape; m[i>0]
    """,
    "two numbers": """
        T.add(2.5,3); T.add(2,3); T.add(True,2,alpha=2); T.sub(2.5,3); T.mul(2,3); T.mul(2,2.5); T.div(2,3); T.div(2.5,3,rounding_mode='floor')
        T.true_divide(1,4); T.floor_divide(7,2); T.floor_divide(7.5,2); T.remainder(7,2); T.rsub(1,2); T.add('1',2); T.multiply(2,3)
    """,
    "formats": """
        T.zeros(2,3,4,5,).clone(memory_format=T.channels_last).stride(); T.zeros(2,3,4,5).contiguous(memory_format=T.channels_last).stride()
        T.zeros(2,1,4,5).contiguous(memory_format=T.channels_last).stride(); T.zeros(2,1,4,5).clone(memory_format=T.channels_last).stride()
        T.zeros(2,3,4,5,6).clone(memory_format=T.channels_last_3d).stride(); T.zeros(2,3,4,5,6).clone(memory_format=T.channels_last)
        T.zeros(2,3,4,5).to(memory_format=T.channels_last).stride(); T.zeros(2,3,4,5).permute(0,2,3,1).to(memory_format=T.contiguous_format).stride()
        T.zeros(2,4,5,3).permute(0,3,1,2).to(memory_format=T.contiguous_format).stride(); T.zeros(2,4,5,3).permute(0,3,1,2).to(memory_format=T.channels_last).stride()
        T.zeros(2,3,4,5).double().to(T.float32,memory_format=T.channels_last).stride(); T.zeros(2,3,4,5).half(memory_format=T.channels_last).stride()
        T.zeros(0,3,4,5).to(memory_format=T.channels_last).stride(); T.zeros(2,3).to(memory_format=T.channels_last); T.zeros(2,3).contiguous(memory_format=T.preserve_format)
        T.zeros_like(T.zeros(2,3,4,5),memory_format=T.channels_last).stride(); T.rand_like(T.zeros(2,3,4,5),memory_format=T.channels_last).stride()
        T.empty(2,3,4,5,memory_format=T.channels_last).stride(); T.empty(2,3,memory_format=T.channels_last); T.empty(2,3,memory_format=T.preserve_format)
        T.zeros(4).resize_(2,3,4,5,memory_format=T.channels_last).stride(); T.zeros(2,3,4,5).resize_(2,3,4,5,memory_format=T.channels_last).stride()
        T.zeros(4).resize_(2,3,memory_format=T.preserve_format); T.zeros(4).resize_as_(T.zeros(2,4,5,3).permute(0,3,1,2),memory_format=T.preserve_format).stride()
        T.cat([T.zeros(2,4,5,3).permute(0,3,1,2)]*2,1).stride(); T.cat([T.zeros(2,4,5,3).permute(0,3,1,2),T.zeros(2,3,4,5)]).stride()
        T.stack([T.zeros(2,4,5,3).permute(0,3,1,2)]*2,1).stride(); T.arange(24.).reshape(1,2,3,4).clone(memory_format=T.channels_last)
        T.add(m.t(),1,out=T.empty(0)).stride(); T.cat([m.t()],out=T.empty(0)).stride(); T.index_select(m,0,T.tensor([0,1]),out=T.zeros(3).expand(2,3))
    """,
    "complex functions": """
        T.angle(x); T.angle(i); T.angle(b); T.angle(T.tensor([float('nan'),-0.0,-3])); x.angle(); T.sgn(i); x.sgn(); x.clone().sgn_(); T.conj(x) is x; x.conj() is x
        T.conj_physical(x); x.clone().conj_physical_(); x.resolve_conj() is x; x.resolve_neg() is x; T.real(x) is x; T.real(m)
        T.mvlgamma(x.abs()+3,3); T.mvlgamma(T.tensor([5,7]),2); T.mvlgamma(x,0); (x.abs()+3).mvlgamma_(2); T.special.multigammaln(x.abs()+3,4)
    """,
    "edges": """
        T.linalg.multi_dot([T.ones(5,4),T.ones(4,0),T.ones(0,2)]); T.linalg.multi_dot([T.ones(1,1)]*4); T.linalg.multi_dot([T.ones(2,1),T.ones(1,2),T.ones(2,1),T.ones(1,3)])
        T.quantile(T.tensor(3.),T.tensor([0.2,0.7]),dim=0); T.quantile(T.tensor(3.),T.tensor([0.2,0.7]),dim=0,keepdim=True); T.nanquantile(T.tensor(3.),0.5,dim=-1)
        T.einsum('i->',u); T.einsum('ij->j',m.int()); T.einsum('i,i->',u,u); T.linspace(4.3,-3,50,dtype=T.int64); T.linspace(-2.7,9.9,7,dtype=T.uint8); T.linspace(-2.7,9.9,7,dtype=T.int32)
        T.linalg.vector_norm(T.full((5,),300.).half(),4); T.dist(T.full((5,),90.).half(),T.zeros(5).half(),6); T.linalg.vector_norm(T.full((5,),3e4).bfloat16(),9)
        T.zeros([1]*65).amax(-1); T.zeros([1]*65).sum(); T.zeros([1]*64).sum(); T.empty_permuted((2,),(3,)); T.empty_permuted((2,3),(-1,0)); T.div(2.5,y,rounding_mode='trunc').grad_fn.name()
        T.nn.functional.adaptive_avg_pool2d(m,(2,2)); T.nn.functional.adaptive_avg_pool2d(m,2); T.nn.functional.adaptive_max_pool3d(m,(2,2,2)); T.nn.functional.adaptive_max_pool2d(m[0],(1,1))
        T.autograd.grad(T.linalg.vector_norm(y,0)*y.sum(),y); x.equal(x); x.equal(x+1); x.isclose(x+1e-9); x.allclose(x*2); x.equal(1)
        T.layer_norm(m,(3,)); T.group_norm(m,1); T.special.polygamma(1,x.abs()); T.special.psi(x); T.special.expit(x); T.special.gammaln(x); T.special.logsumexp(m,0)
    """,
    "copies": """
        copy.copy(x); copy.copy(x).data_ptr()==x.data_ptr(); copy.copy(y).grad_fn; copy.copy(y)
        copy.deepcopy(x); copy.deepcopy(y); pickle.loads(pickle.dumps(y)); pickle.loads(pickle.dumps(x))
        pickle.loads(pickle.dumps(m.t())).stride(); copy.deepcopy(m.t()).stride(); pickle.loads(pickle.dumps(b))
        pickle.loads(pickle.dumps(T.tensor([float('nan'),1e-40]))); pickle.loads(pickle.dumps(T.float32))
        copy.deepcopy([x,x]); (lambda c:c[0] is c[1])(copy.deepcopy([x,x]))
    """,
}


def shown(value):
    """What a value is in words that do not name the library."""
    if isinstance(value, (fg.Tensor, torch.Tensor)):
        return tuple(value.shape), repr(value.dtype), repr(value.detach()), value.requires_grad
    if isinstance(value, (list, tuple)):
        return tuple(map(shown, value))
    return repr(value).replace("ferrograd.", "torch.")


def outcome(T, expression: str):
    names = {
        "T": T,
        "copy": copy,
        "math": math,
        "pickle": pickle,
        "x": T.tensor([1.5, -2.5]),
        "i": T.tensor([7, -7, 12]),
        "b": T.tensor([True, False, True]),
        "u": T.tensor([200, 3], dtype=T.uint8),
        "m": T.tensor([[1.0, 5.0, -2.0], [3.0, 0.5, 4.0]]),
        "y": T.tensor([1.5, -2.5], requires_grad=True) * 2,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return shown(eval(expression, names))
    except Exception as error:
        return type(error)


EXPRESSIONS = [e.strip() for text in CALLS.values() for line in text.strip().split("\n") for e in line.split("; ")]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_call(expression):
    ours, theirs = outcome(fg, expression), outcome(torch, expression)
    if isinstance(theirs, type) and isinstance(ours, type):
        # torch raises NotImplementedError, a RuntimeError, for some dtypes.
        assert issubclass(theirs, ours) or issubclass(ours, theirs)
    else:
        assert ours == theirs


def test_unknown_arguments():
    """What torch takes and this library does not is named; what neither takes is a TypeError."""
    with pytest.raises(TypeError, match="foo"):
        fg.sum(fg.ones(2), foo=1)
    with pytest.raises(NotImplementedError, match="sparse_coo"):
        fg.zeros(2, layout=fg.sparse_coo)
    with pytest.raises(RuntimeError, match="channels_last"):
        fg.zeros_like(fg.ones(2), memory_format=fg.channels_last)


@pytest.mark.parametrize("call", [lambda d: fg.zeros(2, device=d), lambda d: fg.ones(2).to(d), lambda d: fg.tensor(1, device=d)])
@pytest.mark.parametrize("name, error", [("cuda", AssertionError), ("cuda:1", AssertionError), ("mps", RuntimeError)])
def test_other_devices(call, name, error):
    """As torch that is built for the CPU alone."""
    for device in (name, fg.device(name)):
        with pytest.raises(error, match=f"computes on the CPU only, got device {name}"):
            call(device)
    with pytest.raises(AssertionError, match="computes on the CPU only"):
        fg.ones(2).cuda()


@pytest.mark.parametrize("alpha", [2, 0.5, -1.25])
@pytest.mark.parametrize("name", ["add", "sub", "rsub"])
def test_gradients_of_scaled_sums(name, alpha):
    found = []
    for T in (fg, torch):
        x = T.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = T.tensor([[0.5], [2.0]], requires_grad=True)
        result = getattr(T, name)(x, y, alpha=alpha)
        (result * result).sum().backward()
        found.append((result.tolist(), x.grad.tolist(), y.grad.tolist(), result.grad_fn.name()))
    assert found[0] == found[1]


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_gradients_of_rounded_quotients(mode):
    for T in (fg, torch):
        x = T.tensor([1.0, -7.5], requires_grad=True)
        y = T.tensor([2.0, 2.0], requires_grad=True)
        result = T.div(x, y, rounding_mode=mode)
        assert result.grad_fn.name() == "DivBackward2"
        result.sum().backward()
        assert x.grad.tolist() == y.grad.tolist() == [0.0, 0.0]


def test_attributes_travel_with_tensors():
    x = fg.tensor([1.0, 2.0], requires_grad=True)
    x.note = ["kept"]
    assert copy.copy(x).note is x.note
    assert copy.deepcopy(x).note == ["kept"] and copy.deepcopy(x).note is not x.note
    assert pickle.loads(pickle.dumps(x)).note == ["kept"]


class Derived(fg.Tensor):
    """A subclass, with a dictionary of its own."""


MAKES = [lambda: fg.ones(2), lambda: fg.ones(2, requires_grad=True), lambda: fg.ones(2, requires_grad=True) * 2, Derived]


@pytest.mark.parametrize("make", MAKES)
def test_circles_are_collected(make):
    tensor, other = make(), Derived()
    tensor.other, other.tensor, tensor.itself, tensor.result = other, tensor, tensor, tensor * 2
    watched = weakref.ref(tensor), weakref.ref(other)
    del tensor, other
    gc.collect()
    assert [w() for w in watched] == [None, None]
