"""What the terminal can show: its width, its colours and its characters."""

import os
import re
import shutil
import sys
import unicodedata

# What stands for a symbol where the output's encoding lacks it.
SYMBOLS = {"²": "^2", "₀": "0", "₁": "1", "·": "*", "└─": "`-", "├─": "|-", "│": "|"}

# A piece that a line may end after: one wide character or one word, with the punctuation that must stay beside it.
PIECE = re.compile(r"\s+|[（“]*(?:[^\s\u2e80-\uffff“”]+|[\u2e80-\uffff])[，。；：、）”！？]*|.", re.S)

STYLES = {"title": "1;31", "heading": "1", "code": "36", "result": "32", "plain": ""}


def encodable(text: str) -> bool:
    """Whether standard output's encoding has all characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def spelled(text: str) -> str:
    """A text with those symbols spelled out that standard output's encoding lacks."""
    for symbol, spelling in SYMBOLS.items():
        if symbol in text and not encodable(symbol):
            text = text.replace(symbol, spelling)
    return text


def columns(text: str) -> int:
    """The columns that a text takes up: Chinese characters are two wide."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def width() -> int:
    """The terminal's width, at most what is read with ease."""
    return min(shutil.get_terminal_size((80, 24)).columns, 88)


def wrap(text: str, limit: int) -> list[str]:
    """The lines of a text, each at most `limit` columns wide where its words allow it."""
    lines = [""]
    for piece in PIECE.findall(text):
        if lines[-1] and columns(lines[-1] + piece) > limit:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return [line.rstrip() for line in lines if line.strip()]


def show(text: str, style: str = "plain", indent: str = "") -> None:
    """Print a text line by line as it stands; in colour on a terminal, unless NO_COLOR is set."""
    coloured = STYLES[style] and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in spelled(text).splitlines():
        print(f"{indent}\x1b[{STYLES[style]}m{line}\x1b[0m" if coloured else indent + line)


def tell(text: str) -> None:
    """Print prose, wrapped to the terminal's width."""
    show("\n".join(wrap(spelled(text), width())))
