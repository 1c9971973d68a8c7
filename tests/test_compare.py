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
