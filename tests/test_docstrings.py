"""Every public function, class, method and property of the package has a docstring with an example, and the examples run."""

import builtins
import doctest
import enum
import importlib
import inspect
import pkgutil
import re
import types
import warnings

import pytest
import wrong

import ferrograd as fg
from ferrograd.utils.checkpoint import CheckpointError


def modules():
    """The modules whose names are public. The demonstration is a program."""
    yield fg
    for found in pkgutil.walk_packages(fg.__path__, "ferrograd."):
        if not any(part.startswith("_") or part == "demo" for part in found.name.split(".")[1:]):
            yield importlib.import_module(found.name)


def is_ours(value) -> bool:
    module = getattr(value, "__module__", None) or ""
    return module.split(".")[0] in ("ferrograd", "torch") or isinstance(value, types.BuiltinFunctionType)


def is_written(value) -> bool:
    """True for members with underscores that have the text we give them, such as `__array__`: methods in slots have Python's."""
    return isinstance(value, types.MethodDescriptorType) or isinstance(value, types.GetSetDescriptorType) and value.__name__ not in ("__dict__", "__weakref__")


def attributes(cls: type):
    """The public methods and properties that a class or a base of ours brings. Plain attributes, such as members of an
    enumeration and fields of a named tuple, are what the class says of them."""
    fields = getattr(cls, "_fields", ())
    for base in cls.__mro__:
        if not is_ours(base):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") and not (base is fg.Tensor and is_written(value)) or name in fields or inspect.ismemberdescriptor(value) or (issubclass(cls, enum.Enum) and name in cls.__members__):
                continue
            if callable(value) or isinstance(value, (property, staticmethod, classmethod)) or inspect.isdatadescriptor(value):
                yield name, value


def objects():
    """Every public object once, by the first name it has."""
    seen = set()
    for module in modules():
        for name in sorted(getattr(module, "__all__", None) or dir(module)):
            value = getattr(module, name)
            if name.startswith("_") or not callable(value) or not is_ours(value) or isinstance(value, types.GenericAlias):
                continue
            if id(value) not in seen:
                seen.add(id(value))
                yield f"{module.__name__}.{name}", value, module
            for member, method in attributes(value) if inspect.isclass(value) else ():
                if id(method) not in seen:
                    seen.add(id(method))
                    # What overrides a method has its docstring, where it has none of its own.
                    shown = method if isinstance(method, property) else getattr(value, member)
                    yield f"{module.__name__}.{name}.{member}", shown, module


OBJECTS = {name: (value, module) for name, value, module in objects()}


def test_the_walk_finds_what_there_is():
    named = {name.removeprefix("ferrograd.") for name in OBJECTS}
    assert {"Tensor.backward", "Tensor.exp_", "no_grad", "autograd.Function.apply", "vmap", "Tensor.grad", "nn.functional.silu"} <= named
    assert len(named) > 900


@pytest.fixture(autouse=True)
def one_after_another():
    """Operations as they are called, which is what examples of the profiler show; settings are as they were afterwards."""
    before = fg.config.fusion_elements()
    fg.config.set_fusion(False)
    yield
    fg.config.set_fusion(before is not None, before)


def run(text: str, name: str, known: dict) -> str:
    """What is wrong with the examples of a text."""
    test = doctest.DocTestParser().get_doctest(text, known, name, None, 0)
    messages = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        doctest.DocTestRunner(verbose=False).run(test, out=messages.append)
    return "".join(messages)


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_there_is_an_example_and_it_runs(name):
    value, module = OBJECTS[name]
    text = inspect.getdoc(value) or ""
    assert ">>>" in text
    # What is written in Python may use the names of its module; those of the package would hide Python's `float`.
    source = inspect.getmodule(value) or module
    known = {"ferrograd": fg} if source is fg else {**vars(source), "ferrograd": fg}
    assert run(text, name, known) == ""


#: Functions with parameters, and members of a tensor, that raise nothing of their own: what they are given they take, or Python refuses it.
SILENT = """
Node.register_hook Node.register_prehook Tensor.bfloat16 Tensor.bool Tensor.byte Tensor.char Tensor.double Tensor.float Tensor.half Tensor.int
Tensor.T Tensor.cpu Tensor.device Tensor.dim_order Tensor.dtype Tensor.element_size Tensor.get_device Tensor.is_complex Tensor.is_cuda
Tensor.is_floating_point Tensor.is_inference Tensor.is_signed Tensor.is_sparse Tensor.itemsize Tensor.layout Tensor.nbytes Tensor.ndim
Tensor.ndimension Tensor.nelement Tensor.numel Tensor.output_nr Tensor.retains_grad Tensor.shape Tensor.storage_offset
Tensor.is_contiguous Tensor.is_cpu Tensor.is_meta Tensor.is_pinned Tensor.is_set_to Tensor.is_shared Tensor.share_memory_
Tensor.is_conj Tensor.is_neg Tensor.is_ipu Tensor.is_maia Tensor.is_mkldnn Tensor.is_mps Tensor.is_mtia Tensor.is_nested
Tensor.is_quantized Tensor.is_sparse_csr Tensor.is_vulkan Tensor.is_xla Tensor.is_xpu Tensor.long Tensor.name Tensor.real Tensor.short Tensor.where autograd.Function.apply autograd.Function.forward
autograd.Function.jvp autograd.Function.setup_context autograd.Function.vmap autograd.forward_ad.unpack_dual
autograd.function.BackwardCFunction.apply autograd.Function.mark_dirty
autograd.Function.mark_shared_storage autograd.Function.mark_non_differentiable autograd.Function.register_hook
autograd.Function.register_prehook autograd.Function.save_for_backward
autograd.Function.save_for_forward autograd.Function.set_materialize_grads
autograd.function.once_differentiable autograd.graph.Node.register_hook autograd.graph.Node.register_prehook autograd.graph.to_svg
autograd.profiler.EventList.export_chrome_trace autograd.profiler.EventList.key_averages autograd.profiler.EventList.table
autograd.profiler.FunctionEvent.append_cpu_child autograd.profiler.FunctionEvent.set_cpu_parent autograd.profiler.profile.export_chrome_trace autograd.profiler.profile.key_averages
autograd.profiler.profile.table func.debug_unwrap func.functional_call func.grad_and_value is_same_size is_tensor profiler.schedule
profiler.profile.export_chrome_trace profiler.profile.key_averages profiler.tensorboard_trace_handler random.fork_rng
utils.checkpoint.CheckpointFunction.forward utils.checkpoint.check_backward_validity utils.checkpoint.detach_variable
typename utils.checkpoint.set_checkpoint_debug_enabled utils.checkpoint.set_checkpoint_early_stop profiler.profile.add_metadata
func.replace_all_batch_norm_modules_ is_storage utils.checkpoint.get_device_states
utils.hooks.unserializable_hook utils.hooks.warn_if_has_hooks
""".split()


def takes_arguments(value) -> bool:
    """True for functions and methods with parameters."""
    if isinstance(value, property) or inspect.isclass(value) or inspect.isgetsetdescriptor(value):
        return False
    try:
        return any(name not in ("self", "cls") for name in inspect.signature(value).parameters)
    except (ValueError, TypeError):
        return True


def test_functions_name_their_errors():
    # Of a tensor, also methods without arguments and properties.
    asked = lambda name, value: takes_arguments(value) or name.startswith("ferrograd.Tensor.")  # noqa: E731
    quiet = [name for name, (value, _) in OBJECTS.items() if asked(name, value) and not re.search("Raises|Error", inspect.getdoc(value))]
    assert sorted(name.removeprefix("ferrograd.") for name in quiet) == sorted(SILENT)


WRONG = dict(wrong.listed(wrong.FUNCTIONS))
ERRORS = vars(builtins) | {"GradcheckError": importlib.import_module("ferrograd.autograd.gradcheck").GradcheckError, "CheckpointError": CheckpointError}


@pytest.mark.parametrize("name", WRONG)
def test_functions_raise_what_they_say(name):
    told = inspect.getdoc(OBJECTS[f"ferrograd.{name}"][0])
    assert {error for error, _ in WRONG[name]} == set(re.findall(r"\w+Error", told))
    for error, expression in WRONG[name]:
        known = {"fg": fg, "A": fg.autograd, "C": importlib.import_module("ferrograd.utils.checkpoint"), "x": fg.ones(2, 3), "i": fg.tensor([0, 1])}
        known |= {"h": fg.ones(2, 3, requires_grad=True), "two": lambda t: (t * 2).sum()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ERRORS[error]):
                eval(expression, known)


@pytest.mark.parametrize("module", list(modules()), ids=lambda module: module.__name__)
def test_modules_say_what_they_are(module):
    assert module.__doc__
    assert run(module.__doc__, module.__name__, dict(vars(module))) == ""


def test_an_example_that_is_wrong_fails():
    assert "Expected" in run(">>> 1 + 1\n3\n", "sum", {}) and run(">>> 1 + 1\n2\n", "sum", {}) == ""
