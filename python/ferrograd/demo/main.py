"""The demonstration's command line."""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from . import chapter, terminal
from .messages import MESSAGES

EXTRAS = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "tqdm": "tqdm"}


def language(chosen: str | None) -> str:
    """The language that was asked for, or else the locale's."""
    if chosen in ("en", "zh"):
        return chosen
    locale = next((os.environ[n] for n in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(n)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def shows_chinese() -> bool:
    """Whether standard output's encoding has the Chinese characters of all texts."""
    texts = [*MESSAGES.values(), *(text for idea in chapter.IDEAS for text in (idea.title, idea.text))]
    return terminal.encodable(terminal.spelled("".join(text.zh for text in texts)))


def walk(lang: str) -> None:
    """Show every idea with its program, what it prints, and the graph where there is one to see."""
    terminal.show(MESSAGES["title"].into(lang), "title")
    print()
    terminal.tell(MESSAGES["import"].into(lang))
    terminal.show(chapter.IMPORT, "code", "    ")
    for number, idea in enumerate(chapter.IDEAS, 1):
        print()
        terminal.show(f"{number}. {idea.title.into(lang)}", "heading")
        terminal.tell(idea.text.into(lang))
        terminal.show(idea.code, "code", "    ")
        printed, names = chapter.run(idea)
        terminal.show(printed, "result", "    => ")
        if idea.graph_of:
            terminal.tell(MESSAGES["graph"].into(lang))
            terminal.show(chapter.graph(names[idea.graph_of], MESSAGES["same_node"].into(lang)), indent="    ")


def missing() -> list[str]:
    """The packages that the training needs and that cannot be imported."""
    absent = []
    for module, package in EXTRAS.items():
        try:
            importlib.import_module(module)
        except ImportError:
            absent.append(package)
    return absent


def fail(key: str, lang: str, **facts) -> int:
    """Say on standard error why the training is not to be had; gives the exit status."""
    print(MESSAGES[key].into(lang).format(**facts), file=sys.stderr)
    return 1


def train(lang: str, fast: bool):
    """Train the classifier with a progress bar, and tell how well it does."""
    from tqdm import tqdm

    from . import digits

    epochs = 6 if fast else 60
    start = time.perf_counter()
    with tqdm(total=epochs, dynamic_ncols=True) as bar:

        def report(loss: float, accuracy: float) -> None:
            bar.set_postfix_str(MESSAGES["progress"].into(lang).format(loss=loss, accuracy=accuracy), refresh=False)
            bar.update()

        result = digits.train(epochs, report=report)
    seconds = time.perf_counter() - start
    terminal.tell(MESSAGES["done"].into(lang).format(epochs=epochs, seconds=seconds, **result.facts))
    return result


def learn(lang: str, fast: bool, folder: Path) -> int:
    """The classifier: train it, tell how well it does, draw it. Gives the exit status."""
    terminal.show(MESSAGES["train_title"].into(lang), "heading")
    absent = missing()
    if absent:
        return fail("missing", lang, names=", ".join(absent))
    from . import picture

    path = folder / "ferrograd-demo.png"
    try:
        # Before the training, so that a folder that cannot be made is known at once.
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return fail("unwritable", lang, path=folder, reason=error.strerror)
    terminal.tell(MESSAGES["train"].into(lang))
    result = train(lang, fast)
    try:
        picture.draw(result, path, lang)
    except OSError as error:
        return fail("unwritable", lang, path=path, reason=error.strerror)
    terminal.show(MESSAGES["picture"].into(lang).format(path=path))
    return 0


def spoken(chosen: str | None) -> str:
    """As `language`, where the output has its characters."""
    lang = language(chosen)
    return "en" if lang == "zh" and not shows_chinese() else lang


def command_line(lang: str) -> argparse.ArgumentParser:
    """What reads the arguments, with its help in a language."""

    class Help(argparse.HelpFormatter):
        def add_usage(self, usage, actions, groups, prefix=None):
            super().add_usage(usage, actions, groups, MESSAGES["usage"].into(lang) if prefix is None else prefix)

    def told(key: str) -> str:
        return MESSAGES[key].into(lang)

    parser = argparse.ArgumentParser(prog="python -m ferrograd", description=told("describe"), formatter_class=Help, add_help=False)
    options = parser.add_argument_group(told("options"))
    options.add_argument("-h", "--help", action="help", help=told("help"))
    options.add_argument("--lang", choices=["en", "zh"], help=told("lang"))
    options.add_argument("--fast", action="store_true", help=told("fast"))
    options.add_argument("--out", default=".", metavar="DIR", help=told("out"))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration."""
    before = argparse.ArgumentParser(add_help=False)
    before.add_argument("--lang")
    options = command_line(spoken(before.parse_known_args(arguments)[0].lang)).parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        # Lines keep their order with the progress bar's; a path may have characters that the encoding lacks.
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    lang = spoken(options.lang)
    if lang != language(options.lang):
        terminal.tell(MESSAGES["no_chinese"].into(lang))
    walk(lang)
    print()
    return learn(lang, options.fast, Path(options.out))
