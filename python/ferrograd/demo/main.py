"""The demonstration's command line."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from . import chapter

MESSAGES = {
    "title": {"en": "Automatic differentiation in eleven ideas", "zh": "自动微分：十一个要点"},
    "graph": {"en": "The recorded graph, from the result to the leaf:", "zh": "记录下来的计算图，从结果到叶子："},
    "train": {
        "en": "A classifier of plain tensors learns handwritten digits (64 - 128 - 10):",
        "zh": "用普通张量写一个分类器，学习手写数字（64 - 128 - 10）：",
    },
    "missing": {
        "en": "The training needs {names}: pip install \"ferrograd[demo]\"",
        "zh": "训练部分需要 {names}：pip install \"ferrograd[demo]\"",
    },
    "done": {
        "en": "{accuracy:.1%} of the held-out digits are right. The picture is {path}.",
        "zh": "留出的数字中 {accuracy:.1%} 判断正确。图片保存在 {path}。",
    },
    "fallback": {
        "en": "(This terminal cannot show Chinese; the walk is in English.)",
        "zh": "(This terminal cannot show Chinese; the walk is in English.)",
    },
}
EXTRAS = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "tqdm": "tqdm"}


def language(chosen: str | None) -> str:
    """The language that was asked for, or the locale's."""
    if chosen:
        return chosen
    locale = next((os.environ[n] for n in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(n)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def shows(text: str) -> bool:
    """Whether standard output can take a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def styled(text: str, code: str) -> str:
    """Coloured on a terminal, plain in a pipe or where NO_COLOR is set."""
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def walk(lang: str) -> None:
    """Show every idea with its program and what it prints."""
    print(styled(MESSAGES["title"][lang], "1;31"), end="\n\n")
    for number, idea in enumerate(chapter.IDEAS, 1):
        print(styled(f"{number}. {idea.title[lang]}", "1"))
        print(idea.text[lang])
        for line in idea.code.splitlines():
            print(styled(f"    {line}", "36"))
        printed, names = chapter.run(idea)
        for line in printed.splitlines():
            print(styled(f"    => {line}", "32"))
        if idea.title["en"] == "The chain rule":
            print(MESSAGES["graph"][lang])
            for line in chapter.graph(names["z"]).splitlines():
                print(f"    {line}")
        print()


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m ferrograd", description=__doc__)
    parser.add_argument("--lang", choices=["en", "zh"], help="the language; the locale's where it is not given")
    parser.add_argument("--fast", action="store_true", help="train for a few epochs only")
    parser.add_argument("--out", default=".", help="the folder that the picture is written to")
    options = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    lang = language(options.lang)
    if not shows(MESSAGES["title"][lang] + "²₀└├│"):
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        if lang == "zh":
            lang = "en"
            print(MESSAGES["fallback"][lang])
    walk(lang)
    missing = [package for module, package in EXTRAS.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(MESSAGES["missing"][lang].format(names=", ".join(missing)))
        return 1
    from . import digits

    print(MESSAGES["train"][lang])
    result = digits.train(epochs=6 if options.fast else 60)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ferrograd-demo.png"
    digits.picture(result, str(path))
    print(MESSAGES["done"][lang].format(accuracy=result.accuracy, path=path))
    return 0
