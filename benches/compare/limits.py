"""How near workloads that move much memory, or multiply much, come to what the machine can do at most: the time that the
least bytes take at a copy's rate, or the multiply-adds at that of registers (benches/peak.rs), beside the times of
ferrograd and of torch. What torch takes, divided by the time at the limit, is the most that anything can be faster.

usage: python benches/compare/limits.py [--seconds 0.3] [--rounds 3] [--out build/compare]
"""

import argparse
import importlib
import importlib.util
import json
import sys
from pathlib import Path

from curves import measure, peaks
from workloads import best_seconds, product

HERE = Path(__file__).resolve().parent


def differentiated(T, f, *shapes):
    """A call that makes the gradients of the sum of `f`, of leaves of these shapes."""
    leaves = [T.ones(*shape, requires_grad=True) for shape in shapes]

    def run():
        for leaf in leaves:
            leaf.grad = None
        f(*leaves).sum().backward()

    return run


def classified(T, side):
    logits = T.linspace(-3, 3, side * side).reshape(side, side).requires_grad_(True)
    targets = T.arange(side)

    def run():
        logits.grad = None
        of_log = logits - T.logsumexp(logits, 1, keepdim=True)
        (-of_log[targets, targets].mean()).backward()

    return run


#: What is run, and the bytes that are read and written at least, and the operations: the leaves are read once forward and, where a
#: derivative asks for them, once backward; each gradient is written once.
ROWS = {
    "a * b + a, 4,000,000, and backward": (lambda T: differentiated(T, lambda a, b: a * b + a, (4_000_000,), (4_000_000,)), 24 * 4_000_000, 0),
    "(a.t() * a).sum(0), 2048 x 2048, and backward": (lambda T: differentiated(T, lambda a: (a.t() * a).sum(0), (2048, 2048)), 12 * 2048**2, 0),
    "(a + row).relu(), 1000 x 1000, and backward": (lambda T: differentiated(T, lambda a, b: (a + b).relu(), (1000, 1000), (1000,)), 12 * 1000**2, 0),
    "log-softmax and mean, 1000 x 1000, and backward": (lambda T: classified(T, 1000), 12 * 1000**2, 0),
    "a @ b, 1024 x 1024, and backward": (lambda T: product(T, 1024), 0, 6 * 1024**3),
}


def worker(module, seconds):
    T = importlib.import_module(module)
    return {name: best_seconds(make(T), seconds) for name, (make, *_) in ROWS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "build" / "compare")
    parser.add_argument("--worker", metavar="MODULE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump(worker(options.worker, options.seconds), sys.stdout)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    modules = [m for m in ("ferrograd", "torch") if importlib.util.find_spec(m)]
    found = measure(__file__, modules, [], options)
    *_, of_all = peaks(options.out)
    print(f"a copy: {of_all['bytes'] / 1e9:.1f} GB/s; multiply-adds: {of_all['operations'] / 1e9:.0f} Gflop/s\n")
    print("| workload | at the limit | ferrograd | torch | torch / ferrograd | torch / limit |\n|---|---:|---:|---:|---:|---:|")
    for name, (_, size, flops) in ROWS.items():
        limit = max(size / of_all["bytes"], flops / of_all["operations"])
        own, peer = found["ferrograd"][name], found.get("torch", {}).get(name, float("nan"))
        times = " | ".join(f"{1e3 * t:.2f} ms" for t in (limit, own, peer))
        print(f"| `{name}` | {times} | {peer / own:.2f} | {peer / limit:.2f} |")


if __name__ == "__main__":
    main()
