"""The record of what runs, its tables and traces; the graph as a picture."""

import json
import re
import threading
import xml.etree.ElementTree as ElementTree

import pytest

import ferrograd as fg
import ferrograd.profiler
from ferrograd.autograd import graph
from ferrograd.autograd.profiler import profile, record_function


@pytest.fixture(autouse=True)
def each_operation_by_itself():
    """Fused programs are rows of their own, and hide the operations that these tests name."""
    before = fg.config.fusion_elements()
    fg.config.set_fusion(False)
    yield
    fg.config.set_fusion(before is not None, before)


def recorded(**options):
    x = fg.ones(4, 5, requires_grad=True)
    with profile(**options) as p:
        with record_function("mine"):
            y = (x * 2).sin().sum()
        y.backward()
    return p


def test_operations_and_derivatives_with_shapes_and_bytes():
    p = recorded(record_shapes=True, profile_memory=True)
    rows = [(e.name, e.input_shapes, e.cpu_memory_usage) for e in p.function_events]
    assert rows == [
        ("mine", [], 164), ("aten::mul", [[4, 5]], 80), ("aten::sin", [[4, 5]], 80), ("aten::sum", [[4, 5]], 4),
        ("SumBackward0", [[]], 0), ("SinBackward0", [[4, 5]], 80), ("MulBackward0", [[4, 5]], 80), ("AccumulateGrad", [], 0),
    ]
    mine, mul = p.function_events[:2]
    assert mul.cpu_parent is mine and [e.name for e in mine.cpu_children] == ["aten::mul", "aten::sin", "aten::sum"]
    assert mine.time_range.start <= mul.time_range.start <= mul.time_range.end <= mine.time_range.end
    assert mine.self_cpu_time_total == pytest.approx(mine.cpu_time_total - sum(e.cpu_time_total for e in mine.cpu_children))
    forward = {e.sequence_nr: e.name for e in p.function_events if e.kind == "operation"}
    assert {forward[e.sequence_nr]: e.name for e in p.function_events if e.kind == "derivative"} == {
        "aten::mul": "MulBackward0", "aten::sin": "SinBackward0", "aten::sum": "SumBackward0"
    }


def test_tables_have_torchs_columns():
    torch = pytest.importorskip("torch")
    x = torch.ones(4, 5, requires_grad=True)
    with torch.autograd.profiler.profile(record_shapes=True, profile_memory=True) as theirs:
        (x * 2).sin().sum().backward()
    ours = recorded(record_shapes=True, profile_memory=True)
    for options in ({}, {"group_by_input_shape": True}):
        tables = [p.key_averages(**options).table(sort_by="self_cpu_time_total") for p in (ours, theirs)]
        titles = [re.split(r"\s{2,}", table.splitlines()[1].strip()) for table in tables]
        assert titles[0] == titles[1]
        assert all(table.splitlines()[-1].startswith("Self CPU time total: ") for table in tables)
    average = next(e for e in ours.key_averages() if e.key == "aten::mul")
    assert (average.count, average.cpu_time) == (1, average.cpu_time_total)
    assert ours.total_average().count == 8
    with pytest.raises(AttributeError):
        ours.table(sort_by="colour")


def test_rows_are_sorted_and_limited():
    p = recorded()
    names = [line.split()[0] for line in p.key_averages().table(sort_by="cpu_time_total", row_limit=3).splitlines()[3:6]]
    expected = sorted(p.key_averages(), key=lambda e: -e.cpu_time_total)
    assert names == [e.key for e in expected[:3]]
    assert "aten::mul" not in p.table(top_level_events_only=True)


def test_a_chrome_trace(tmp_path):
    p = recorded(record_shapes=True)
    p.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert [e["name"] for e in spans] == [e.name for e in p.function_events]
    assert spans[1]["args"]["Input Dims"] == [[4, 5]] and spans[1]["dur"] > 0
    arrows = [e["id"] for e in events if e["ph"] == "s"]
    assert len(arrows) == 3 and sorted(arrows) == sorted(e["id"] for e in events if e["ph"] == "f")


def test_nothing_is_recorded_outside():
    assert recorded().function_events != []
    fg.ones(3).exp()
    with profile() as p:
        pass
    assert p.function_events == []
    with profile(enabled=False) as off:
        fg.ones(2)
    with pytest.raises(RuntimeError, match="didn't finish"):
        off.table()
    with profile() as p, pytest.raises(RuntimeError, match="not reentrant"):
        p.__enter__()


def test_threads_have_numbers_of_their_own():
    def work():
        with record_function("there"):
            fg.ones(2).exp()

    with profile() as p:
        fg.ones(2).exp()
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert len({e.thread for e in p.function_events}) == 2
    there = next(e for e in p.function_events if e.name == "there")
    assert there.cpu_parent is None and "aten::exp" in [e.name for e in there.cpu_children]


def test_fused_programs_stand_where_they_run():
    fg.config.set_fusion(True)
    x = fg.ones(1000, 1000)
    with profile() as p:
        (x * 2).sin().exp().sum().item()
    program = next(e for e in p.function_events if e.name.startswith("fused program"))
    assert program.name == "fused program (mul, sin, exp)" and program.cpu_parent.name == "aten::sum"


def test_steps(tmp_path):
    done = []
    plan = ferrograd.profiler.schedule(wait=1, warmup=1, active=2, repeat=2)
    with ferrograd.profiler.profile(schedule=plan, on_trace_ready=done.append) as p:
        names = []
        for n in range(9):
            fg.ones(n + 1)
            p.step()
            if len(done) > len(names):
                names.append([e.name for e in p.events() if e.kind == "range"])
    assert names == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]
    with ferrograd.profiler.profile(on_trace_ready=ferrograd.profiler.tensorboard_trace_handler(str(tmp_path))) as p:
        fg.ones(2)
    assert len(list(tmp_path.iterdir())) == 1 and p.key_averages()[0].key == "aten::ones"


def network():
    w, b = fg.ones(4, 3, requires_grad=True), fg.zeros(3, requires_grad=True)
    h = (fg.ones(2, 4) @ w + b).tanh()
    return (h * h).sum() + w.sum(), w, b


def test_graph_as_text():
    loss, w, b = network()
    text = graph.to_dot(loss, {"weight": w, "bias": b})
    labels = dict(re.findall(r'(n\d+) \[label="(.*?)"', text))
    named = {label.split("\\n")[0] for label in labels.values()}
    assert {"output", "weight", "bias", "MulBackward0", "TanhBackward0", "MmBackward0"} <= named
    arrows = {(labels[a].split("\\n")[0], labels[b].split("\\n")[0]) for a, b in re.findall(r"(n\d+) -> (n\d+)", text)}
    assert {("weight", "MmBackward0"), ("weight", "SumBackward0"), ("bias", "AddBackward0")} <= arrows
    tanh = next(label for label in labels.values() if label.startswith("Tanh"))
    assert "(2, 3)" in tanh and "24 B" in tanh
    assert '"w\\n(4, 3)' in graph.to_dot(loss)


def test_graph_as_picture():
    loss, w, b = network()
    for picture in (graph.to_svg(loss, {"weight": w}), graph.to_dot([loss, loss * 2])._repr_svg_()):
        root = ElementTree.fromstring(picture)
        boxes = [tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in root.iter("{http://www.w3.org/2000/svg}rect")]
        wide, high = float(root.get("width")), float(root.get("height"))
        for n, (x, y, width, height) in enumerate(boxes):
            assert -8 <= x and x + width <= wide and 0 <= y and y + height <= high
            for ox, oy, other_width, other_height in boxes[:n]:
                assert x >= ox + other_width or ox >= x + width or y >= oy + other_height or oy >= y + height
    assert ">weight<" in graph.to_svg(loss, {"weight": w}) and "goes on" in graph.to_svg(loss, limit=4)
    with pytest.raises(RuntimeError, match="no graph"):
        graph.to_dot(fg.ones(2))


def test_a_long_chain_is_drawn_in_constant_stack():
    y = fg.ones(1, requires_grad=True)
    for _ in range(20000):
        y = y * 1
    assert graph.to_dot(y, {}).count("MulBackward0") == 20000
    assert "goes on" in graph.to_svg(y, {})


def test_blocks_within_blocks():
    """Each records what runs in it, whichever way they end."""
    names = lambda p: [e.name for e in p.function_events]
    with profile(record_shapes=True) as outer:
        x = fg.ones(2)
        with profile() as inner:
            x.sin()
        with ferrograd.profiler.profile() as other, record_function("mine"):
            x.exp()
        x.cos()
    assert names(outer) == ["aten::ones", "aten::sin", "mine", "aten::exp", "aten::cos"]
    assert names(inner) == ["aten::sin"] and [e.name for e in other.events()] == ["mine", "aten::exp"]
    assert 0 <= inner.function_events[0].time_range.start < inner.function_events[0].time_range.end
    first, second = profile(), profile()
    first.__enter__()
    fg.ones(2)
    second.__enter__()
    fg.zeros(2)
    first.__exit__()
    fg.empty(2)
    second.__exit__()
    fg.ones(2)
    assert (names(first), names(second)) == (["aten::ones", "aten::zeros"], ["aten::zeros", "aten::empty"])
    with profile() as after:
        pass
    assert names(after) == []


def test_what_is_shown_of_a_profiler_without_a_record():
    p = profile(enabled=False)
    with p:
        fg.ones(2)
    assert str(p) == repr(p) == "<unfinished ferrograd.autograd.profile>"
    with pytest.raises(RuntimeError, match="Profiler didn't finish running"):
        p.key_averages()
    with profile() as p:
        assert str(p) == "<unfinished ferrograd.autograd.profile>"
        fg.ones(2)
    assert "aten::ones" in str(p)
