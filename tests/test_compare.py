"""The side-by-side harness: its arithmetic and its texts, no times."""

import importlib.util
import math
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[1] / "benches/compare/run.py"
spec = importlib.util.spec_from_file_location("compare_run", PATH)
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


def test_ratios_are_paired():
    row = run.ratios([(1.0, 2.0), (2.0, 8.0), (1.0, 3.0)])
    assert (row["ratio"], row["least"], row["greatest"]) == (3.0, 2.0, 4.0)
    assert run.geometric_mean({"a": {"ratio": 2.0}, "b": {"ratio": 8.0}, "c": {"error": "x"}}) == pytest.approx(4.0)
    assert math.isnan(run.geometric_mean({}))


def test_failures_are_shown():
    text = run.table({"torch": {"good": run.ratios([(1e-6, 2e-3)]), "bad": {"error": "ValueError: no"}}})
    assert "| good | 1 us | torch | 2 ms | 2000.00 (2000.00 to 2000.00) |" in text and "ValueError: no" in text


def test_documents_are_updated_between_their_markers(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- compare:begin -->\nold\n<!-- compare:end -->\nafter\n")
    run.update(document, "new")
    assert document.read_text() == "before\n<!-- compare:begin -->\nnew\n<!-- compare:end -->\nafter\n"
    document.write_text("no markers")
    with pytest.raises(ValueError, match="no markers"):
        run.update(document, "new")


def test_a_workload_runs_in_a_process():
    assert run.measure("ferrograd", "mul_with_grad", 0.001)["mul_with_grad"] > 0
