"""The demonstration: its walk in both languages, what the terminal gets of it, and its training."""

import io
import string
import struct
import subprocess
import sys
import warnings

import pytest

import ferrograd as fg
from ferrograd.demo import chapter, main, terminal
from ferrograd.demo.messages import MESSAGES

PRINTED = {
    "Asking for gradients: requires_grad": "True\nFalse\n",
    "A simple example": "tensor([4.])\n",
    "The chain rule": "tensor([12.])\n",
    "Several variables": "tensor([4., 6.])\n",
    "Before and after backward": "None\ntensor([4.])\n",
    "Gradients accumulate": "1: tensor([4.])\n2: tensor([8.])\n3: tensor([12.])\n",
    "Unless they are zeroed": "1: tensor([4.])\n2: tensor([4.])\n3: tensor([4.])\n",
    "No gradients wanted": "False\nFalse\nFalse\n",
    "Training": "100: w=1.78, b=0.50\n2013: w=2.00, b=0.01\n2014: w=2.00, b=0.00\n",
    "Minimisation": "x = 2.00\n",
    "Sensitivity": "tensor([50.])\ntensor([100.])\n",
}

CHAIN = """\
AddBackward0
└─ MulBackward0
   └─ PowBackward0
      └─ AccumulateGrad -> tensor([2.], requires_grad=True)"""

FORK = """\
AddBackward0
├─ PowBackward0
│  └─ SelectBackward0
│     └─ AccumulateGrad -> tensor([2., 3.], requires_grad=True)
└─ PowBackward0
   └─ SelectBackward0
      └─ AccumulateGrad (the same node)"""


def idea(title):
    return next(i for i in chapter.IDEAS if i.title.en == title)


def test_the_ideas_come_in_the_chapters_order():
    assert [i.title.en for i in chapter.IDEAS] == list(PRINTED)


@pytest.mark.parametrize("title", PRINTED)
def test_each_program_prints_what_is_true(title):
    assert chapter.run(idea(title))[0] == PRINTED[title]


@pytest.mark.parametrize("title, tree", [("The chain rule", CHAIN), ("Several variables", FORK)])
def test_the_graph_is_drawn(title, tree):
    names = chapter.run(idea(title))[1]
    assert chapter.graph(names[idea(title).graph_of]) == tree


def test_the_graph_follows_a_shared_node_once():
    y = fg.tensor([1.0], requires_grad=True)
    for _ in range(100):
        y = y * y
    assert len(chapter.graph(y).splitlines()) == 201


def every_text():
    yield from MESSAGES.items()
    for one in chapter.IDEAS:
        yield f"{one.title.en}, title", one.title
        yield f"{one.title.en}, text", one.text


def chinese(text):
    return any("\u4e00" <= c <= "\u9fff" for c in text)


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in every_text()])
def test_every_text_is_in_both_languages(text):
    assert text.en.strip() and not chinese(text.en) and chinese(text.zh)
    if text in MESSAGES.values():
        assert fields(text.en) == fields(text.zh)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_walk_shows_programs_results_and_graphs(lang, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main.walk(lang)
    shown = capsys.readouterr().out
    for number, one in enumerate(chapter.IDEAS, 1):
        assert f"{number}. {one.title.into(lang)}\n" in shown
        program = "".join(f"    {line}\n" for line in one.code.splitlines())
        results = "".join(f"    => {line}\n" for line in PRINTED[one.title.en].splitlines())
        assert program + results in shown
    assert "".join(f"    {line}\n" for line in CHAIN.splitlines()) in shown
    assert MESSAGES["same_node"].into(lang) in shown
    assert chinese(shown) == (lang == "zh")
    assert max(map(terminal.columns, shown.splitlines())) <= 80 and "\x1b" not in shown


@pytest.mark.parametrize(
    "variables, lang",
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "en"),
    ],
)
def test_the_language_is_the_locales(variables, lang, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main.language(None) == lang
    assert main.language("zh") == "zh" and main.language("en") == "en"


class Screen(io.TextIOWrapper):
    """A terminal that keeps what it was sent."""

    def __init__(self, encoding, tty=True):
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")
        self.tty = tty

    def isatty(self):
        return self.tty

    def shown(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize("tty, no_color, coloured", [(True, "", True), (True, "1", False), (False, "", False)])
def test_colours_are_for_terminals_that_want_them(tty, no_color, coloured, monkeypatch):
    screen = Screen("utf-8", tty)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal.show("x = 1", "code", "  ")
    assert screen.shown() == ("  \x1b[36mx = 1\x1b[0m\n" if coloured else "  x = 1\n")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_symbols_are_spelled_out_where_the_encoding_lacks_them(lang, monkeypatch):
    screen = Screen("gbk" if lang == "zh" else "ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main.shows_chinese() == (lang == "zh")
    main.walk(lang)
    assert "x0^2 + x1^2" in screen.shown()


def without_training(monkeypatch):
    for module in main.EXTRAS:
        monkeypatch.setitem(sys.modules, module, None)


def test_without_the_extras_a_message_says_what_to_install(monkeypatch, capsys, tmp_path):
    without_training(monkeypatch)
    assert main.main(["--lang", "en", "--out", str(tmp_path / "made")]) == 1
    said = capsys.readouterr().err
    assert "scikit-learn, matplotlib, tqdm" in said and 'pip install "ferrograd[demo]"' in said
    assert not (tmp_path / "made").exists()


def test_an_encoding_without_chinese_gets_english_and_is_told(monkeypatch):
    without_training(monkeypatch)
    screen = Screen("latin-1", tty=False)
    monkeypatch.setattr(sys, "stdout", screen)
    main.main(["--lang", "zh"])
    assert screen.shown().startswith("(The encoding of this output has no Chinese characters")
    assert "1. Asking for gradients" in screen.shown() and "?" not in screen.shown()


@pytest.mark.parametrize("limit", [10, 24, 80])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_prose_is_wrapped_without_loss(lang, limit):
    closing = "，。；：、）”！？"
    for _, text in every_text():
        lines = terminal.wrap(text.into(lang), limit)
        assert "".join("".join(lines).split()) == "".join(text.into(lang).split())
        assert not any(line[0] in closing for line in lines)
        for line in lines:
            assert terminal.columns(line) <= limit or len(terminal.PIECE.findall(line)) == 1


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "ferrograd", "--lang", "en"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        demo.stdout.readline()
        demo.stdout.close()
        assert b"Traceback" not in demo.stderr.read()


@pytest.fixture
def extras():
    for module in main.EXTRAS:
        pytest.importorskip(module)


@pytest.mark.usefixtures("extras")
@pytest.mark.parametrize("lang, done", [("en", "held-out digits are recognised"), ("zh", "个测试数字中正确识别")])
def test_the_fast_training(lang, done, tmp_path, capsys):
    assert main.main(["--fast", "--lang", lang, "--out", str(tmp_path / "made")]) == 0
    assert (tmp_path / "made" / "ferrograd-demo.png").read_bytes().startswith(b"\x89PNG")
    assert done in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained():
    for module in main.EXTRAS:
        pytest.importorskip(module)
    from ferrograd.demo import digits

    return digits.train(epochs=6)


def size_of(png):
    return struct.unpack(">II", png.read_bytes()[16:24])


@pytest.mark.parametrize("has_font", [True, False])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_picture_has_no_boxes_for_characters(lang, has_font, trained, tmp_path, monkeypatch):
    """matplotlib warns of characters that no font has; without a Chinese font the picture is in English."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from ferrograd.demo import picture

    if not has_font:
        monkeypatch.setattr(picture, "chinese_font", lambda: None)
    written, save = [], Figure.savefig

    def watched(figure, *args, **kwargs):
        written.extend(text.get_text() for text in figure.findobj(Text))
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture.draw(trained, tmp_path / "made.png", lang)
    assert chinese("".join(written)) == (lang == "zh" and picture.chinese_font() is not None)
    assert size_of(tmp_path / "made.png") == (1495, 702)


@pytest.mark.usefixtures("extras")
def test_the_training_learns():
    from ferrograd.demo import digits

    reports = []
    fast = digits.train(epochs=6, report=lambda *numbers: reports.append(numbers))
    assert fast.accuracies[-1] > 0.9
    assert reports == list(zip(fast.losses, fast.accuracies, strict=True)) and len(reports) == 6
    assert digits.train().accuracies[-1] >= 0.97


@pytest.mark.usefixtures("extras")
def test_the_split_holds_out_a_quarter_of_each_digit():
    from ferrograd.demo import digits

    (_, labels), (_, held_out) = digits.split(seed=1)
    for digit in range(10):
        share = (held_out == digit).sum() / ((labels == digit).sum() + (held_out == digit).sum())
        assert 0.24 < share <= 0.25


@pytest.mark.usefixtures("extras")
def test_a_folder_that_cannot_be_made_is_a_message(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert main.main(["--fast", "--lang", "en", "--out", str(taken)]) == 1
    assert f"Nothing can be written to {taken}" in capsys.readouterr().err


@pytest.mark.parametrize("asked, variable, lang", [([], "zh_CN.UTF-8", "zh"), ([], "C", "en"), (["--lang", "zh"], "C", "zh"), (["--lang=en"], "zh_CN.UTF-8", "en")])
def test_the_help_is_in_the_language(asked, variable, lang, capsys, monkeypatch):
    monkeypatch.setattr(main, "shows_chinese", lambda: True)
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", variable)
    with pytest.raises(SystemExit) as ended:
        main.main([*asked, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and chinese(shown) == (lang == "zh")
    for key in ("usage", "options", "help", "lang", "fast"):
        assert MESSAGES[key].into(lang) in shown
    assert all(word not in shown for word in ("usage", "options", "show this", "positional")) or lang == "en"
