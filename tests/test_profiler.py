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
        ("SumBackward0", [[]], 0), ("SinBackward0", [[4, 5]], 80), ("MulBackward0", [[4, 5]], 80), ("torch::autograd::AccumulateGrad", [], 0),
    ]
    mine, mul = p.function_events[:2]
    assert [e.fwd_thread for e in p.function_events] == [0] * 4 + [mul.thread] * 3 + [0]
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


def test_lines_of_the_program(tmp_path):
    """The innermost first, of operations and of their derivatives; a frame of the package itself says nothing."""

    def inner(x):
        return x @ x

    with profile(with_stack=True) as p:
        y = inner(fg.ones(200, 200, requires_grad=True)).sum()
        y.backward()
    by_name = {e.name: e for e in p.function_events}
    line = inner.__code__.co_firstlineno + 1
    assert by_name["aten::matmul"].stack[0] == f"{__file__}({line}): inner"
    assert by_name["aten::matmul"].stack[1].endswith("test_lines_of_the_program")
    assert by_name["MmBackward0"].stack == by_name["aten::matmul"].stack
    assert by_name["MmBackward0"].fwd_thread == by_name["aten::matmul"].thread
    grouped = p.key_averages(group_by_stack_n=2)
    assert next(e for e in grouped if e.key == "aten::matmul").stack == by_name["aten::matmul"].stack[:2]
    assert "Source Location" in grouped.table(max_src_column_width=None) and f"test_profiler.py({line}): inner" in grouped.table()
    p.export_stacks(tmp_path / "stacks.txt")
    lines = (tmp_path / "stacks.txt").read_text().splitlines()
    assert any(f";{__file__}({line}):_inner " in text and int(text.rsplit(" ", 1)[1]) > 0 for text in lines)
    with pytest.raises(ValueError, match="metric should be one of"):
        p.export_stacks(tmp_path / "stacks.txt", "colour")
    with pytest.raises(AssertionError, match="requires with_stack=True"):
        recorded().export_stacks(tmp_path / "stacks.txt")
    assert all(e.stack == [] for e in recorded().function_events)


def test_additions_and_multiplications():
    """As torch counts them: of products, convolutions, `add` and `mul`."""
    a, b, bias, batch = fg.ones(3, 4), fg.ones(4, 5), fg.ones(5), fg.ones(2, 3, 4)
    image, kernel, long, row = fg.ones(2, 3, 8, 8), fg.ones(6, 3, 3, 3), fg.ones(2, 4, 9), fg.ones(1, 4)
    cases = {
        "matmul": (lambda: a @ b, 2 * 3 * 4 * 5),
        "mm": (lambda: fg.mm(a, b), 2 * 3 * 4 * 5),
        "addmm": (lambda: fg.addmm(bias, a, b), 2 * 3 * 4 * 5),
        "bmm": (lambda: fg.bmm(batch, fg.ones(2, 4, 5)), 2 * 2 * 3 * 4 * 5),
        "baddbmm": (lambda: fg.baddbmm(bias, batch, fg.ones(2, 4, 5)), 2 * 2 * 3 * 4 * 5),
        "addbmm": (lambda: fg.addbmm(bias, batch, fg.ones(2, 4, 5)), 2 * 2 * 3 * 4 * 5),
        "conv2d": (lambda: fg.conv2d(image, kernel), 2 * (2 * 6 * 6 * 6) * (3 * 3 * 3)),
        "conv_transpose1d": (lambda: fg.conv_transpose1d(long, fg.ones(4, 2, 3)), 2 * (2 * 4 * 9) * (2 * 3)),
        "add": (lambda: a + row, 12),
        "mul": (lambda: row * a, 12),
        "exp": (lambda: a.exp(), 0),
    }
    for name, (run, expected) in cases.items():
        with profile(with_flops=True) as p:
            run()
        assert {e.flops for e in p.function_events if e.name == f"aten::{name}"} == {expected}, name
    with profile(with_flops=True) as p:
        a @ b, a @ b, fg.ones(30, 40) @ fg.ones(40, 50)
    table = p.key_averages().table(sort_by="flops")
    assert "Total KFLOPs" in table and f"{(2 * 2 * 3 * 4 * 5 + 2 * 30 * 40 * 50) / 1000:.3f}" in table
    assert "FLOPs" not in recorded().key_averages().table()


def test_events_can_be_made_and_counted_by_hand():
    """Ranges of a thread hold one another; an average takes events of one name."""
    from ferrograd.autograd.profiler_util import EventList, FunctionEvent, FunctionEventAvg

    spans = [(1, 0, 10), (1, 0, 4), (1, 4, 9), (1, 5, 6), (2, 1, 3), (1, 8, 12)]
    events = EventList(FunctionEvent(id=n, name="", thread=t, start_us=a, end_us=b) for n, (t, a, b) in enumerate(spans))
    events._populate_cpu_children()
    assert [[child.id for child in e.cpu_children] for e in events] == [[1, 2], [], [3], [], [], []]
    assert [e.self_cpu_time_total for e in events] == [1, 4, 4, 1, 2, 4]
    average = FunctionEventAvg()
    for start, end in ((10, 15), (20, 30)):
        average += FunctionEvent(id=0, name="mine", thread=1, start_us=start, end_us=end)
    average.add(average)
    assert (average.key, average.count, average.cpu_time_total, average.cpu_time) == ("mine", 4, 30, 7.5)
    with pytest.raises(AssertionError, match="expected events of 'mine'"):
        average.add(events[0])
    with pytest.raises(AssertionError, match="expected a FunctionEvent"):
        average.add(3)


def test_devices_took_no_time():
    p = recorded()
    averages = p.key_averages()
    in_order = averages.table()
    for column in ("cuda_time_total", "self_cuda_time_total", "device_time", "xpu_memory_usage", "self_device_memory_usage"):
        assert averages.table(sort_by=column) == in_order
    with pytest.warns(FutureWarning, match="Use `device_time_total` instead"):
        assert averages[0].cuda_time_total == 0
    with pytest.warns(UserWarning, match="cuda is not available"):
        profile(use_cuda=True)
    with pytest.warns(UserWarning, match="CUDA is not available"):
        q = ferrograd.profiler.profile(activities=[ferrograd.profiler.ProfilerActivity.CUDA])
    with q:
        fg.ones(2)
    assert q.events() == []
    with pytest.raises(AssertionError, match="use_cpu=False"):
        profile(use_cpu=False)


def test_what_only_torchs_recorder_has_is_refused_by_name():
    for cls in (profile, ferrograd.profiler.profile):
        with pytest.raises(NotImplementedError, match="profile: experimental_config"):
            cls(experimental_config=object())
        cls(experimental_config=None)
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            cls(colour=True)
    with pytest.raises(NotImplementedError, match="emit_itt"), ferrograd.autograd.profiler.emit_itt():
        pass
    with pytest.raises(ValueError, match="more than once"):
        ferrograd.profiler.profile(activities=[ferrograd.profiler.ProfilerActivity.CPU] * 2)
    with pytest.raises(TypeError, match="activities should be ProfilerActivity"):
        ferrograd.profiler.profile(activities=["cpu"])


def test_times_in_one_unit():
    table = recorded().key_averages().table(time_unit="s")
    assert len(re.findall(r"\d\.\d{3}s", table)) == 3 * 8 + 1 and not re.search(r"\d[mu]s", table)


def test_traces_are_packed_and_say_what_they_are_told(tmp_path):
    import gzip

    handler = ferrograd.profiler.tensorboard_trace_handler(str(tmp_path), "me", use_gzip=True)
    p = ferrograd.profiler.profile(on_trace_ready=handler)
    p.preset_metadata_json("sizes", "[4, 5]")
    p.add_metadata("run", 'a "first"')
    with p:
        fg.ones(2)
    (path,) = tmp_path.iterdir()
    with gzip.open(path, "rt") as file:
        trace = json.load(file)
    assert path.name.startswith("me.") and path.name.endswith(".pt.trace.json.gz")
    assert (trace["run"], trace["sizes"]) == ('a "first"', [4, 5]) and len(trace["traceEvents"]) == 2


def test_steps_without_a_first_wait_and_records_of_all_turns():
    plan = ferrograd.profiler.schedule(wait=2, warmup=1, active=1, skip_first=1, skip_first_wait=1)
    assert [plan(n).name for n in range(8)] == ["NONE", "WARMUP", "RECORD_AND_SAVE", "NONE", "NONE", "WARMUP", "RECORD_AND_SAVE", "NONE"]
    with ferrograd.profiler.profile(schedule=plan, acc_events=True) as p:
        for _ in range(8):
            p.step()
    assert [e.name for e in p.events()] == ["ProfilerStep#2", "ProfilerStep#6"]


def test_pictures_are_of_tensors():
    for draw in (graph.to_dot, graph.to_svg):
        with pytest.raises(TypeError, match="expected a tensor or a sequence of tensors"):
            draw(3)
        with pytest.raises(TypeError, match="expected a tensor or a sequence of tensors"):
            draw([3])
        with pytest.raises(ValueError, match="at least one tensor"):
            draw([])
