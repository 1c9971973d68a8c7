"""The demonstration: its walk in both languages, and its training."""

import pytest

from ferrograd.demo import chapter
from ferrograd.demo.main import MESSAGES, language, main, walk

PRINTED = [
    "True\nFalse\n",
    "tensor([4.])\n",
    "tensor([12.])\n",
    "tensor([4., 6.])\n",
    "None\ntensor([4.])\n",
    "1: tensor([4.])\n2: tensor([8.])\n3: tensor([12.])\n",
    "1: tensor([4.])\n2: tensor([4.])\n3: tensor([4.])\n",
    "False\nFalse\nFalse\n",
    "100: w=1.78, b=0.50\n2014: w=2.00, b=0.00\n",
    "x = 2.00\n",
    "tensor([50.])\ntensor([100.])\n",
]


@pytest.mark.parametrize("idea, printed", list(zip(chapter.IDEAS, PRINTED, strict=True)), ids=range(1, 12))
def test_each_idea_prints_what_is_true(idea, printed):
    assert chapter.run(idea)[0] == printed


def test_every_text_is_in_both_languages():
    for table in [*MESSAGES.values(), *(i.title for i in chapter.IDEAS), *(i.text for i in chapter.IDEAS)]:
        assert set(table) == {"en", "zh"} and all(table.values())


@pytest.mark.parametrize("lang, title", [("en", "The chain rule"), ("zh", "链式法则")])
def test_the_walk(lang, title, capsys):
    walk(lang)
    shown = capsys.readouterr().out
    assert title in shown and "└─ MulBackward0" in shown and "AccumulateGrad -> tensor([2.], requires_grad=True)" in shown


def test_the_language_is_the_locales(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert language(None) == "en" and language("zh") == "zh"
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert language(None) == "zh"


def test_the_training(tmp_path, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    from ferrograd.demo import digits

    assert digits.train(epochs=6, progress=False).accuracy > 0.9
    assert main(["--fast", "--lang", "en", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "ferrograd-demo.png").stat().st_size > 10_000
    assert "held-out digits are right" in capsys.readouterr().out
