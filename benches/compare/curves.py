"""How time grows with size, depth, width and threads, on ferrograd and on torch where it is installed, and how near
operations come to what the machine can do (the roofline: a copy's bytes and multiply-adds in registers, measured by
benches/peak.rs). Alternating fresh processes; writes curves.json and the pictures curves.png and roofline.png.

usage: python benches/compare/curves.py [--seconds 0.1] [--rounds 2] [--out build/compare]
"""

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from workloads import best_seconds, chain, element_wise, product

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLORS = {"ferrograd": "#b7410e", "torch": "#7f8c8d"}


def branches(T, width):
    x = T.sin(T.linspace(0, 99, 128 * 128)).reshape(128, 128)
    weights = [(x * (1 + i)).sin().mul(0.05).requires_grad_(True) for i in range(width)]

    def run():
        results = [((x @ w).tanh() @ w).sum() for w in weights]
        total = results[0]
        for result in results[1:]:
            total = total + result
        total.backward()
        for w in weights:
            w.grad = None

    return run


def decades(least, greatest):
    return [10**i for i in range(least, greatest + 1)]


#: A curve: what is made for each point, the points, and what one of them counts.
CURVES = {
    "size": (element_wise, decades(1, 7), "elements of a float32 chain, forward and backward", "ns an element"),
    "depth": (chain, decades(1, 6), "nodes of a chain of one number, forward, backward and freed", "ns a node"),
    "width": (branches, [1, 2, 4, 8, 16, 32, 64], "branches of two products of 128 x 128 matrices", "ns a branch"),
}

#: What runs on one thread and on more.
THREADED = {
    "chain of 1,000,000 elements": lambda T: element_wise(T, 1_000_000),
    "product of 1024 x 1024": lambda T: product(T, 1024),
    "16 branches of 128 x 128": lambda T: branches(T, 16),
}


def flops_and_bytes(T):
    """Calls without gradients with the operations that they need and the least bytes that they read and write."""
    n = 16_000_000
    x, y = T.linspace(-2, 2, n), T.linspace(1, 2, n)
    rows = {
        "x + y": (lambda: (x + y).data_ptr(), n, 12 * n),
        "sum": (lambda: x.sum().item(), n, 4 * n),
        "x*y + x - 0.5*y": (lambda: (x * y + x - 0.5 * y).data_ptr(), 4 * n, 12 * n),
        "10 multiply-adds": (lambda: multiply_adds(x).data_ptr(), 20 * n, 8 * n),
    }
    for side in (64, 256, 1024):
        a, b = (T.linspace(-1, last, side * side).reshape(side, side) for last in (1, 2))
        rows[f"{side} x {side} @"] = (lambda a=a, b=b: (a @ b).data_ptr(), 2 * side**3, 12 * side**2)
    m, v = T.linspace(-1, 1, 4096 * 4096).reshape(4096, 4096), T.linspace(-1, 1, 4096)
    rows["matrix @ vector"] = (lambda: (m @ v).data_ptr(), 2 * 4096**2, 4 * 4096**2)
    return rows


def multiply_adds(x):
    for _ in range(10):
        x = x * 0.5 + 0.25
    return x


def worker(module, what, seconds):
    """One fresh process: the points of a curve."""
    T = importlib.import_module(module)
    if what in CURVES:
        make, points, *_ = CURVES[what]
        return {point: best_seconds(make(T, point), seconds) for point in points}
    if what == "threads":
        found = {}
        for threads in range(1, (os.cpu_count() or 1) + 1):
            T.set_num_threads(threads)
            found[threads] = {name: best_seconds(make(T), seconds) for name, make in THREADED.items()}
        return found
    rows = flops_and_bytes(T)
    return {name: [best_seconds(call, seconds), flops, size] for name, (call, flops, size) in rows.items()}


def least(a, b):
    """The least of two measurements, at every place."""
    if isinstance(a, dict):
        return {key: least(a[key], b[key]) for key in a}
    return [least(x, y) for x, y in zip(a, b)] if isinstance(a, list) else min(a, b)


def measure(script, modules, what, options):
    """What the worker of a script finds for all modules in turns; the least of the rounds."""
    found = {}
    for _ in range(options.rounds):
        for module in modules:
            command = [sys.executable, script, "--worker", module, *what, "--seconds", str(options.seconds)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"{module}: {done.stderr.strip()[-500:]}")
            once = json.loads(done.stdout)
            found[module] = least(found[module], once) if module in found else once
    return found


def peaks(out):
    """What a copy and multiply-adds in registers reach, on one core and on all. The program needs nothing of the crate."""
    program = out / "peak"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, ROOT / "benches" / "peak.rs"], check=True)
    return json.loads(subprocess.run([program], capture_output=True, text=True, check=True).stdout)


def draw_curves(found, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for axis, (name, (_, _, counted, unit)) in zip(axes.flat, CURVES.items()):
        for module, points in found[name].items():
            x = [int(point) for point in points]
            axis.plot(x, [1e9 * t / n for n, t in zip(x, points.values())], "o-", color=COLORS[module], label=module)
        axis.set(xscale="log", yscale="log", xlabel=counted, ylabel=unit, title=name)
    axis = axes.flat[-1]
    marks = dict(zip(THREADED, ("o-", "s--", "^:")))
    for module, by_threads in found["threads"].items():
        for name, mark in marks.items():
            alone = by_threads["1"][name]
            speeds = [alone / times[name] for times in by_threads.values()]
            axis.plot([int(t) for t in by_threads], speeds, mark, color=COLORS[module], label=f"{module}: {name}")
    axis.set(xlabel="threads", ylabel="times one thread's speed", title="threads")
    axis.set_xticks([int(t) for t in found["threads"]["ferrograd"]])
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_roofline(found, tops, path):
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 5.5), layout="constrained")
    intensities = [2**i / 64 for i in range(0, 17)]
    for top, style in zip(tops, ("--", "-")):
        roof = [min(top["bytes"] * x, top["operations"]) / 1e9 for x in intensities]
        axis.plot(intensities, roof, style, color="black", linewidth=1, label=f"measured limit, threads: {top['threads']}")
    for module, rows in found.items():
        for name, (seconds, flops, size) in rows.items():
            axis.plot(flops / size, flops / seconds / 1e9, "o", color=COLORS[module])
            if module == "ferrograd":
                axis.annotate(name, (flops / size, flops / seconds / 1e9), xytext=(4, 4), textcoords="offset points", fontsize=8)
        axis.plot([], [], "o", color=COLORS[module], label=module)
    axis.set(xscale="log", yscale="log", xlabel="operations for each byte that has to be moved", ylabel="10⁹ operations a second")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "compare")
    parser.add_argument("--worker", nargs=2, metavar=("MODULE", "CURVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump(worker(*options.worker, options.seconds), sys.stdout)
        return
    modules = [m for m in ("ferrograd", "torch") if importlib.util.find_spec(m)]
    found = {what: measure(__file__, modules, [what], options) for what in (*CURVES, "threads", "roofline")}
    options.out.mkdir(parents=True, exist_ok=True)
    found["peaks"] = peaks(options.out)
    (options.out / "curves.json").write_text(json.dumps(found, indent=1))
    for module, rows in found["roofline"].items():
        for name, (seconds, flops, size) in rows.items():
            print(f"{module:10} {name:18} {size / seconds / 1e9:8.1f} GB/s {flops / seconds / 1e9:8.1f} Gflop/s")
    print("limits:", found["peaks"])
    if importlib.util.find_spec("matplotlib"):
        importlib.import_module("matplotlib").use("Agg")
        draw_curves(found, options.out / "curves.png")
        draw_roofline(found["roofline"], found["peaks"], options.out / "roofline.png")


if __name__ == "__main__":
    main()
