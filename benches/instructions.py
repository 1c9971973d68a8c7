"""Instructions that a call takes, from Python's loop to its result, counted by valgrind: the same number on a busy machine
and on a quiet one. Valgrind runs AVX2 at most, so the counts are those of AVX2 on every x86-64.

usage: python benches/instructions.py            counts, beside what benches/instructions.json has
       python benches/instructions.py --check    fails where a count is above its limit (the version of Python that was counted)
       python benches/instructions.py --update   writes benches/instructions.json anew
       python benches/instructions.py --parts MODULE_PATH   what each part of the code has in it; MODULE_PATH holds a package
                                                 that was built with line tables (see `make costs`)
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "compare"))
from workloads import best_seconds  # noqa: E402 - the folder beside this file is no package

LIMITS = HERE / "instructions.json"
#: What a count may be above the written one: other builds of the system's libraries differ by less.
TOLERANCE = 1.1


def calls(fg):
    """What is counted, and how often: each a call of some operations on small tensors."""
    x, y, plain = fg.tensor([2.0], requires_grad=True), fg.tensor([3.0]), fg.tensor([2.0])
    rows = {
        "nothing": (lambda: None, 4000),
        "x * y, no gradient": (lambda: plain * y, 4000),
        "x * y": (lambda: x * y, 4000),
        "x * 2": (lambda: x * 2, 4000),
        "x.mul(y)": (lambda: x.mul(y), 4000),
        "x.exp()": (lambda: x.exp(), 4000),
    }

    def square():
        x.grad = None
        (x**2).backward()

    def chain():
        x.grad = None
        z = x
        for _ in range(1000):
            z = z * 1.00001
        z.backward()

    rows["x ** 2 and backward"] = square, 2000
    rows["chain of 1,000 and backward"] = chain, 4
    w, b = fg.tensor([0.5], requires_grad=True), fg.tensor([0.1], requires_grad=True)
    xs, ys = fg.tensor([1.0, 2.0, 3.0]), fg.tensor([2.0, 4.0, 6.0])

    def training():
        ((w * xs + b - ys) ** 2).mean().backward()
        w.data -= 0.01 * w.grad
        b.data -= 0.01 * b.grad
        w.grad.zero_()
        b.grad.zero_()

    rows["step of a training loop"] = training, 400
    line = fg.linspace(-2, 2, 1000).requires_grad_(True)

    def element_wise():
        line.grad = None
        (fg.sin(line) * fg.exp(-line * line) + line * line * line).tanh().sum().backward()

    rows["chain of 1,000 elements and backward"] = element_wise, 40
    p, q = (fg.linspace(-1, last, 64).reshape(8, 8).requires_grad_(True) for last in (1, 2))

    def product():
        p.grad = q.grad = None
        (p @ q).sum().backward()

    rows["product of 8 x 8 and backward"] = product, 400
    table = fg.arange(1000.0)
    rows["t[i].item()"] = (lambda: table[7].item()), 4000
    rows["t[i] = 1.0"] = (lambda: table.__setitem__(7, 1.0)), 4000
    rows["tolist of 1,000"] = table.tolist, 100
    return rows


def run(name, factor):
    """The counted program: so many times what it is counted for."""
    import ferrograd

    ferrograd.set_num_threads(1)
    call, times = calls(ferrograd)[name]
    for _ in repeat(None, times * factor):
        call()


def valgrind(name, factor, out="/dev/null", path=None):
    """Instructions of the whole program."""
    environment = os.environ | {"PYTHONHASHSEED": "0", "FERROGRAD_NUM_THREADS": "1"} | ({"PYTHONPATH": path} if path else {})
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, __file__, "--run", name, str(factor)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-800:]}")
    return int(found[1])


def count(name, times):
    """Instructions of one call: what twice as many calls take more."""
    return (valgrind(name, 2) - valgrind(name, 1)) / times


#: The parts of the code by where the instruction was written; the first that fits.
PARTS = {
    "Python: loop, call, memory of objects": r"/(Python|Objects|Modules|Include)/|^(Python|Objects|Modules|Include)/",
    "arguments and errors (src/python, pyo3)": r"src/python/|pyo3",
    "operation: dtypes, shapes, which kernel (src/ops)": r"src/ops/",
    "kernel (src/kernels)": r"src/kernels/",
    "node, edges, saved values (src/graph, src/engine)": r"src/graph/|src/engine/",
    "memory of elements and nodes (src/memory)": r"src/memory/|malloc|mem(set|move|cpy)",
    "tensor: layout, storage, version (src/tensor)": r"src/tensor/",
    "addresses of thread-local variables": r"tls_get_addr|dl-tls",
}


def by_part(path):
    """Instructions of a callgrind profile by part: each line of code counts where it was written, the libraries' within the
    function that it became part of."""
    files, current, home, found, is_call = {}, "", "", dict.fromkeys([*PARTS, "other"], 0), False
    for line in Path(path).read_text().splitlines():
        if match := re.match(r"(c?f[lie])=\((\d+)\)(?: (.*))?$", line):
            kind, number, name = match.groups()
            name = files.setdefault(number, name or "")
            current, home = (current if kind.startswith("c") else name), (name if kind == "fl" else home)
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[+\-*\d]", line):
            if not is_call:  # What follows a call is the cost of what it called.
                found[part(current, home)] += int(line.split()[-1])
            is_call = False
    return found


def part(*places):
    """The part that the first place which belongs to one belongs to."""
    return next((name for place in places for name, form in PARTS.items() if re.search(form, place)), "other")


def nanoseconds(name, path):
    """The least time of a call, in a process of its own."""
    command, environment = [sys.executable, __file__, "--time", name], os.environ | {"PYTHONPATH": path}
    return 1e9 * float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def parts(path):
    """A table in Markdown: instructions of each part for some calls, and the time of the whole."""
    names = ["nothing", "x * y, no gradient", "x * y", "x.mul(y)", "x ** 2 and backward", "chain of 1,000 and backward"]
    columns = []
    sys.path.insert(0, path)
    with tempfile.TemporaryDirectory() as folder:
        import ferrograd

        for name in names:
            once, twice = (f"{folder}/{factor}" for factor in (1, 2))
            valgrind(name, 1, once, path), valgrind(name, 2, twice, path)
            times, base, more = calls(ferrograd)[name][1], by_part(once), by_part(twice)
            columns.append({part: (more[part] - base[part]) / times for part in base})
    print(f"| instructions of | {' | '.join(names)} |\n|---{'|---:' * len(names)}|")
    for part in [*PARTS, "other"]:
        print(f"| {part} | {' | '.join(f'{column[part]:,.0f}' for column in columns)} |")
    print(f"| together | {' | '.join(f'{sum(column.values()):,.0f}' for column in columns)} |")
    print(f"| nanoseconds | {' | '.join(f'{nanoseconds(name, path):,.0f}' for name in names)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--parts", metavar="MODULE_PATH")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "FACTOR"), help=argparse.SUPPRESS)
    parser.add_argument("--time", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time:
        import ferrograd

        print(best_seconds(calls(ferrograd)[options.time][0]))
        return 0
    if options.run:
        run(options.run[0], int(options.run[1]))
        return 0
    if not shutil.which("valgrind") or platform.machine() != "x86_64":
        print("instructions are counted by valgrind on x86-64, which is not here")
        return 1
    if options.parts:
        parts(options.parts)
        return 0
    import ferrograd

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    written = json.loads(LIMITS.read_text()) if LIMITS.exists() else {"python": "", "rows": {}}
    found = {name: round(count(name, times)) for name, (_, times) in calls(ferrograd).items()}
    above = []
    for name, instructions in found.items():
        limit = written["rows"].get(name)
        print(f"{name:40} {instructions:>10,}" + (f"   {instructions / limit:.3f} of {limit:,}" if limit else "   not written"))
        if limit is None or instructions > TOLERANCE * limit:
            above.append(name)
    if options.update:
        LIMITS.write_text(json.dumps({"python": python, "date": time.strftime("%Y-%m-%d"), "rows": found}, indent=1) + "\n")
    if options.check and python != written["python"]:
        print(f"written for Python {written['python']}: not compared")
        return 0
    if options.check and above:
        print(f"more instructions than {TOLERANCE} times what was written, or not written: {', '.join(above)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
