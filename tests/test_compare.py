"""The side-by-side harness: its arithmetic and its texts, no times."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

import ferrograd as fg
from ferrograd import _ferrograd

PATH = Path(__file__).resolve().parents[1] / "benches/compare"


def loaded(name, folder=PATH):
    spec = importlib.util.spec_from_file_location(f"compare_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sys.path.insert(0, str(PATH))
run, ops, curves, instructions = loaded("run"), loaded("ops"), loaded("curves"), loaded("instructions", PATH.parent)
sys.path.remove(str(PATH))
calls = ops.calls
OPERATIONS = [o for o in _ferrograd._operations() if not o["name"].endswith("_")]


def test_ratios_are_paired():
    row = run.ratios([(1.0, 2.0), (2.0, 8.0), (1.0, 3.0)])
    assert (row["ratio"], row["least"], row["greatest"]) == (3.0, 2.0, 4.0)
    assert run.geometric_mean({"a": {"ratio": 2.0}, "b": {"ratio": 8.0}, "c": {"error": "x"}}) == pytest.approx(4.0)
    assert math.isnan(run.geometric_mean({}))


def test_ratios_have_three_digits():
    assert [run.times(r) for r in (0.5, 1.0, 9.994, 21.68, 100.4, 40123.4)] == ["0.50", "1.00", "9.99", "21.7", "100", "40123"]


def test_the_table_has_a_column_for_each_peer():
    fine = run.ratios([(1e-6, 2e-3)])
    text = run.table({"torch": {"good": fine, "bad": {"error": "ValueError: no"}}, "numpy": {"good": fine, "own": fine}})
    assert text.split("\n") == [
        "| workload | ferrograd | torch | numpy |",
        "|---|---|---|---|",
        "| good | 1 us | 2 ms, **2000** (2000 to 2000) | 2 ms, **2000** (2000 to 2000) |",
        "| bad |  | ValueError: no |  |",
        "| own | 1 us |  | 2 ms, **2000** (2000 to 2000) |",
    ]


def test_documents_are_updated_between_their_markers(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- compare:begin -->\nold\n<!-- compare:end -->\nafter\n")
    run.update(document, "new")
    assert document.read_text() == "before\n<!-- compare:begin -->\nnew\n<!-- compare:end -->\nafter\n"
    document.write_text("no markers")
    with pytest.raises(ValueError, match="no markers"):
        run.update(document, "new")


@pytest.mark.parametrize("module", ["ferrograd", *run.PEERS])
def test_a_workload_runs_in_a_process(module):
    if importlib.util.find_spec(run.PEERS.get(module, module)) is None:
        pytest.skip(f"{module} is not installed")
    assert run.measure(module, "mul_no_grad", 0.001)["mul_no_grad"] > 0


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o["name"])
def test_every_operation_of_the_table_is_called_for_its_time(operation):
    assert calls.expression(operation) is not None
    for n in (1, 1000):
        for transposed in (False, True):
            times = ops.timed(fg, operation, n, transposed, 1e-9)
            assert all(seconds > 0 for seconds in times.values())


def test_no_call_stays_without_its_operation():
    assert set(calls.CALLS) <= {calls.plain(o["name"]) for o in OPERATIONS}


def test_the_best_times_of_the_rounds_count():
    assert ops.summary([(1.0, 3.0), (2.0, 2.0)]) == {"ratio": 2.0, "ferrograd": 1.0, "torch": 2.0}
    assert ops.summary([(1.0, "TypeError: no")]) == {"refused": "TypeError: no"}


def test_slow_calls_are_printed_first():
    fast, slow = {"ratio": 4.0, "ferrograd": 1e-6, "torch": 4e-6}, {"ratio": 0.5, "ferrograd": 2e-6, "torch": 1e-6}
    assert ops.report({"add 1": fast, "exp 1": slow, "sin 1": {"refused": "x"}}).split("\n") == [
        " 0.50  exp 1  (2.00 us, torch 1.00 us)",
        "2 calls, torch over ferrograd 1.41 in the geometric mean; 1 slower than torch, 1 of them beyond 1.25; 1 refused by one of the two",
    ]


CURVES = {**{name: (make, points[0]) for name, (make, points, *_) in curves.CURVES.items()}, "products": (curves.product, 4)}


@pytest.mark.parametrize("name", CURVES)
def test_what_curves_measure_runs(name):
    make, point = CURVES[name]
    make(fg, point)()


def test_the_least_of_rounds_is_taken_at_every_place():
    a, b = {"1": {"x": 2.0}, "2": [3.0, 8]}, {"1": {"x": 1.0}, "2": [4.0, 8]}
    assert curves.least(a, b) == {"1": {"x": 1.0}, "2": [3.0, 8]}


PROFILE = """events: Ir
fl=(1) /x/src/python/operators.rs
fn=(1) binary
10 5
fi=(2) /cargo/smallvec-1.15/src/lib.rs
+3 7
fe=(1)
cfi=(3) /x/src/ops/pointwise.rs
cfn=(2) apply
calls=1 20
* 100
* 2
fl=(3)
fn=(2)
20 60
fi=(4) /x/src/kernels/small.rs
21 40
fl=(5) ./string/memmove-vec.S
fn=(3) memcpy
1 9
"""


def test_instructions_count_where_they_were_written(tmp_path):
    (tmp_path / "profile").write_text(PROFILE)
    found = {name.split(" (")[-1].rstrip(")"): n for name, n in instructions.by_part(tmp_path / "profile").items() if n}
    assert found == {"src/python, pyo3": 14, "src/ops": 60, "src/kernels": 40, "src/memory": 9}


def test_every_counted_call_runs_and_has_a_limit():
    rows = instructions.calls(fg)
    for call, _ in rows.values():
        call()
    assert list(rows) == list(json.loads(instructions.LIMITS.read_text())["rows"])
