"""The picture of a training run: its loss and accuracy, and held-out digits with what they were taken for."""

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from .digits import Result
from .messages import MESSAGES

RUST, INK, RED = "#b7410e", "#2c3e50", "#d0021b"
ROWS, COLUMNS, WRONG = 4, 6, 6

CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Hiragino Sans GB",
    "Heiti SC", "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "Arial Unicode MS", "Noto Sans CJK JP",
)  # fmt: skip


def chinese_font() -> str | None:
    """A font with Chinese characters that matplotlib knows of."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in known), None)


def curves(figure, result: Result, lang: str) -> None:
    """Loss above, held-out accuracy below, over epochs."""
    loss, accuracy = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1])
    epochs = range(1, len(result.losses) + 1)
    loss.plot(epochs, result.losses, color=RUST, linewidth=2)
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter("{x:g}")
    loss.yaxis.set_minor_formatter(NullFormatter())
    loss.set_title(MESSAGES["plot_loss"].into(lang), loc="left", fontsize=11, color=INK)
    accuracy.plot(epochs, result.accuracies, color=INK, linewidth=2)
    accuracy.set_title(MESSAGES["plot_accuracy"].into(lang), loc="left", fontsize=11, color=INK)
    accuracy.set_xlabel(MESSAGES["plot_epoch"].into(lang))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for axes in (loss, accuracy):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def digits(figure, result: Result, lang: str) -> None:
    """Held-out digits under what they were taken for; the last few are mistakes, framed in red."""
    figure.suptitle(MESSAGES["plot_digits"].into(lang).format(**result.facts), fontsize=11, color=INK)
    mistaken = result.predicted != result.labels
    wrong = np.flatnonzero(mistaken)[:WRONG]
    right = np.flatnonzero(~mistaken)[: ROWS * COLUMNS - len(wrong)]
    for axes, i in zip(figure.subplots(ROWS, COLUMNS).flat, np.concatenate([right, wrong])):
        axes.imshow(result.images[i], cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        label = MESSAGES["plot_wrong"].into(lang) if mistaken[i] else "{predicted}"
        colour = RED if mistaken[i] else INK
        label = label.format(predicted=result.predicted[i], label=result.labels[i])
        axes.set_title(label, fontsize=10, color=colour, pad=4)
        axes.spines[:].set(color=RED if mistaken[i] else "#d5d8dc", linewidth=2 if mistaken[i] else 0.8)


def draw(result: Result, path, lang: str) -> None:
    """Write the picture as PNG, in Chinese where that is wanted and a font is there."""
    font = chinese_font() if lang == "zh" else None
    with rc_context({"font.family": [font, "DejaVu Sans"] if font else ["DejaVu Sans"]}):
        figure = Figure(figsize=(11.5, 5.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.2], wspace=0.04)
        curves(left, result, lang if font else "en")
        digits(right, result, lang if font else "en")
        figure.savefig(path, dpi=130)
