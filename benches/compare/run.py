"""Side by side with torch, NumPy and JAX where they are installed: every workload on ferrograd and on each peer, in
alternating fresh processes. Prints a table; writes build/compare/results.json and build/compare/chart.png. JAX runs as it
stands and compiled (`jax_jit`).

usage: python benches/compare/run.py [--only NAME,...] [--rounds 3] [--seconds 0.4] [--update-readme FILE ...]
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "build" / "compare"
#: What is compared with, and the module that it needs.
PEERS = {"torch": "torch", "numpy": "numpy", "jax": "jax", "jax_jit": "jax"}


def measure(module: str, only: str, seconds: float) -> dict:
    """One fresh process."""
    command = [sys.executable, str(HERE / "workloads.py"), module, "--only", only, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def import_seconds(module: str, rounds: int = 5) -> float:
    """What an import adds to a bare start of Python."""

    # The package's bytecode is written once, as an installation does.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def start(code: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - begun

    start(f"import {module}")
    return min(start(f"import {module}") for _ in range(rounds)) - min(start("pass") for _ in range(rounds))


def ratios(pairs: list[tuple[float, float]]) -> dict:
    """The peer's time over ours, pair by pair: the median, the least and the greatest."""
    each = [peer / ours for ours, peer in pairs]
    return {
        "ferrograd": min(ours for ours, _ in pairs),
        "peer": min(peer for _, peer in pairs),
        "ratio": statistics.median(each),
        "least": min(each),
        "greatest": max(each),
    }


def compare(peer: str, options) -> dict:
    """All workloads on both, A B A B."""
    samples: dict[str, list] = {}
    for _ in range(options.rounds):
        ours, theirs = measure("ferrograd", options.only, options.seconds), measure(peer, options.only, options.seconds)
        for name in theirs:
            samples.setdefault(name, []).append((ours[name], theirs[name]))
    rows = {}
    for name, pairs in samples.items():
        errors = [v for pair in pairs for v in pair if isinstance(v, str)]
        rows[name] = {"error": errors[0]} if errors else ratios(pairs)
    return rows


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def times(ratio: float) -> str:
    """Three digits of a ratio, or its whole part where that is longer."""
    return f"{ratio:.{max(0, 2 - int(math.log10(ratio)))}f}" if ratio >= 1 else f"{ratio:.2f}"


def cell(row: dict | None) -> str:
    """A peer's time and ratio."""
    if row is None:
        return ""
    if "error" in row:
        return row["error"]
    return f"{duration(row['peer'])}, **{times(row['ratio'])}** ({times(row['least'])} to {times(row['greatest'])})"


#: What is said of a table, by the language of the document: its first column, what an import takes, where it was measured.
WORDS = {
    "en": (
        "workload",
        "Import over bare Python (ferrograd loads NumPy when it is first needed): {imports}.",
        "Measured on {cpu}, {cores} cores, Python {python}, {versions}, {date}.",
    ),
    "zh": (
        "测试项",
        "比空的 Python 多用的导入时间（ferrograd 到用时才载入 NumPy）：{imports}。",
        "测于 {cpu}，{cores} 核，Python {python}，{versions}，{date}。",
    ),
}


def report(results: dict, imports: dict, about: dict, language: str) -> str:
    """The table and what is said of it."""
    first, importing, measured = WORDS[language]
    shown = {**about, "versions": ", ".join(f"{m} {v}" for m, v in about["versions"].items())}
    times = ", ".join(f"{m} {duration(s)}" for m, s in imports.items())
    return f"{table(results, first)}\n\n{importing.format(imports=times)}\n{measured.format(**shown)}"


def table(results: dict, first: str = "workload") -> str:
    """The results as a Markdown table: a line for each workload, a column for each peer."""
    names = list(dict.fromkeys(name for rows in results.values() for name in rows))
    lines = [f"| {first} | ferrograd | {' | '.join(results)} |", "|---" * (2 + len(results)) + "|"]
    for name in names:
        ours = [rows[name]["ferrograd"] for rows in results.values() if "ferrograd" in rows.get(name, {})]
        cells = [duration(min(ours)) if ours else "", *(cell(rows.get(name)) for rows in results.values())]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def geometric_mean(rows: dict) -> float:
    logs = [math.log(r["ratio"]) for r in rows.values() if "ratio" in r]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def update(path: Path, text: str) -> None:
    """Put a text between the markers of a document."""
    document = path.read_text()
    block = f"<!-- compare:begin -->\n{text}\n<!-- compare:end -->"
    replaced, count = re.subn(r"<!-- compare:begin -->.*?<!-- compare:end -->", lambda _: block, document, flags=re.S)
    if count != 1:
        raise ValueError(f"{path} has no markers <!-- compare:begin --> and <!-- compare:end -->")
    path.write_text(replaced)


def chart(results: dict, path: Path) -> None:
    """Ratios as bars on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    bars = [(f"{name} / {peer}", r["ratio"]) for peer, rows in results.items() for name, r in rows.items() if "ratio" in r]
    if not bars:
        return
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(bars) + 1), layout="constrained")
    names, values = zip(*reversed(bars))
    colors = ["#b7410e" if v >= 1 else "#7f8c8d" for v in values]
    drawn = axes.barh(names, [v - 1 for v in values], left=1, color=colors)
    axes.bar_label(drawn, [f"{v:.2g}" for v in values], padding=3, fontsize=8)
    axes.set(xscale="log", xlabel="times as fast as the peer", title="ferrograd side by side")
    axes.axvline(1, color="black", linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def machine() -> dict:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.*)", info.read_text())
        cpu = found.group(1) if found else cpu
    versions = {m: importlib.metadata.version(m) for m in ("ferrograd", *dict.fromkeys(PEERS.values())) if importlib.util.find_spec(m)}
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(), "versions": versions, "date": time.strftime("%Y-%m-%d")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--update-readme", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    installed = [peer for peer, module in PEERS.items() if importlib.util.find_spec(module)]
    for module in sorted(set(PEERS.values()) - {PEERS[peer] for peer in installed}):
        print(f"{module} is not installed: left out")
    about, results = machine(), {}
    for peer in installed:
        results[peer] = compare(peer, options)
    imports = {m: import_seconds(m) for m in about["versions"]}
    print(report(results, imports, about, "en"))
    for peer, rows in results.items():
        print(f"geometric mean over {peer}: {geometric_mean(rows):.2f}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(json.dumps({"machine": about, "imports": imports, "results": results}, indent=1))
    if importlib.util.find_spec("matplotlib"):
        chart(results, OUT / "chart.png")
    for path in options.update_readme:
        update(path, report(results, imports, about, "zh" if path.suffixes[:1] == [".zh"] else "en"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
