"""The stubs say what the package has: every name, both ways, with the parameters that Python can tell, in types that mean what
they say where `int`, `float` and `bool` are names of element types."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ferrograd as fg
from ferrograd import _ferrograd

ROOT = Path(__file__).resolve().parents[1]
STUBS = {
    "ferrograd": fg,
    "ferrograd.linalg": fg.linalg,
    "ferrograd.nn.functional": fg.nn.functional,
    "ferrograd.special": fg.special,
}
#: What Python gives every class and stubs leave out.
OF_EVERY_CLASS = {"__dict__", "__doc__", "__module__", "__new__", "__weakref__"}


def tree(module: str) -> ast.Module:
    path = ROOT / "python" / module.replace(".", "/") / "__init__.pyi"
    return ast.parse(path.read_text())


def declared(body: list) -> dict[str, list]:
    """What a stub declares, each with its definitions; what it imports for itself alone is not seen from outside."""
    found: dict[str, list] = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign):
            found.setdefault(node.target.id, []).append(node)
        elif isinstance(node, ast.Assign):
            found.setdefault(node.targets[0].id, []).append(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {a.asname: [node] for a in node.names if a.asname}
    return found


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def class_of(module: ast.Module, name: str) -> dict[str, list]:
    return declared(next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == name).body)


def fresh(name: str) -> set[str]:
    """The public names of a module before anything else was loaded."""
    code = f"import importlib, json; print(json.dumps(dir(importlib.import_module({name!r}))))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return public(json.loads(run.stdout))


@pytest.mark.parametrize("name", STUBS)
def test_stubs_have_the_names_of_the_package(name):
    in_package, in_stub = fresh(name), public(declared(tree(name).body))
    assert in_package - in_stub == set(), "not in the stub"
    assert in_stub - in_package == set(), "not in the package"
    for found in in_stub:
        getattr(STUBS[name], found)


CLASSES = ["Generator", "Tensor", "Node", "RemovableHandle", "device", "dtype"]


@pytest.mark.parametrize("name", CLASSES)
def test_stubs_have_the_members_of_classes(name):
    in_package, in_stub = vars(getattr(fg, name)).keys() - OF_EVERY_CLASS, set(class_of(tree("ferrograd"), name))
    if name != "Tensor":
        in_package = public(in_package)
        in_stub = public(in_stub)
    assert in_package - in_stub == set(), "not in the stub"
    assert in_stub - in_package - {"__init__"} == set(), "not in the package"


def told(value) -> tuple[list[str], dict[str, object]] | None:
    """The names of the parameters of a function and their defaults, where Python can tell them by name."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    if {p.name for p in parameters} - {"self"} == {"args", "kwargs"}:
        return None
    return [p.name for p in parameters if p.name != "self"], {p.name: p.default for p in parameters if p.default is not p.empty}


def written(nodes: list) -> tuple[list[str], dict[str, object]]:
    """The names of the parameters in a stub's definitions, and the defaults that all definitions give."""
    names: dict[str, None] = {}
    defaults: dict[str, object] = {}
    for node in nodes:
        a = node.args
        positional = [*a.posonlyargs, *a.args]
        own = [*positional, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
        names |= dict.fromkeys(one.arg for one in own if one.arg != "self")
        given = [*zip(positional[len(positional) - len(a.defaults) :], a.defaults), *zip(a.kwonlyargs, a.kw_defaults)]
        defaults |= {one.arg: ast.literal_eval(value) for one, value in given if value is not None}
    return list(names), defaults


def functions():
    """The functions and methods of the stub and of the package."""
    module = tree("ferrograd")
    for name, nodes in declared(module.body).items():
        if isinstance(nodes[0], ast.FunctionDef):
            yield pytest.param(getattr(fg, name), nodes, id=name)
    for owner in CLASSES:
        for name, nodes in class_of(module, owner).items():
            if isinstance(nodes[0], ast.FunctionDef) and not inspect.isdatadescriptor(getattr(getattr(fg, owner), name)):
                value = getattr(fg, owner) if name == "__init__" else getattr(getattr(fg, owner), name)
                yield pytest.param(value, nodes, id=f"{owner}.{name}")


FUNCTIONS = list(functions())


@pytest.mark.parametrize("value, nodes", FUNCTIONS)
def test_stubs_have_the_parameters(value, nodes):
    known = told(value)
    if known is not None:
        names, defaults = written(nodes)
        # Forms of one function have orders of their own.
        assert sorted(names) == sorted(known[0])
        assert {n: d for n, d in known[1].items() if n in defaults} == defaults


def test_python_tells_the_parameters_of_what_is_no_operation():
    known = [one.id for one in FUNCTIONS if told(one.values[0]) is not None]
    operations = {row["name"] for row in _ferrograd._operations()}
    assert {"tensor", "result_type", "can_cast", "Tensor.backward", "Tensor.new_tensor", "Tensor.__add__"} <= set(known)
    blind = {one.id.removeprefix("Tensor.") for one in FUNCTIONS} - {name.removeprefix("Tensor.") for name in known}
    # `to` takes anything in Python and says itself what it cannot take; a call is known by its class.
    assert public(blind) - operations <= {"to", "Node.__call__", *ALIASED}


#: Operations under another name in the package.
ALIASED = {a.removeprefix("package.") for row in _ferrograd._operations() for a in row["aliases"]}


def annotations(module: ast.Module):
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.arg, ast.AnnAssign)):
            annotation = node.returns if isinstance(node, ast.FunctionDef) else node.annotation
            if annotation is not None:
                yield node, annotation


@pytest.mark.parametrize("name", STUBS)
def test_types_are_types(name):
    """An annotation `int` would name the element type of the package, and `dtype` in the class of tensors the property."""
    module = tree(name)
    dtypes = {n for n, value in vars(fg).items() if isinstance(value, fg.dtype)}
    for node, annotation in annotations(module):
        used = {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}
        assert used & dtypes == set(), ast.unparse(node)
    if name == "ferrograd":
        body = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
        members = set(declared(body.body))
        for node, annotation in annotations(body):
            used = {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}
            assert used & members == set(), ast.unparse(node)


def test_no_member_takes_anything():
    for name, nodes in class_of(tree("ferrograd"), "Tensor").items():
        for node in nodes:
            if isinstance(node, ast.FunctionDef) and name not in ("__init__", "cuda", "new"):
                assert node.args.vararg is None or ast.unparse(node.args.vararg.annotation) != "Any", name


def test_stubs_and_the_reference_are_those_of_the_table():
    subprocess.run([sys.executable, ROOT / "tools/stubs.py", "--check"], check=True)
