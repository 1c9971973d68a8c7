"""The side-by-side harness: its arithmetic and its texts, no times."""

import importlib.util
import math
from pathlib import Path

import pytest

import ferrograd as fg
from ferrograd import _ferrograd

PATH = Path(__file__).resolve().parents[1] / "benches/compare"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"compare_{name}", PATH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run, ops = loaded("run"), loaded("ops")
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
