"""Every operation of the table beside torch: on 1, 1,000 and 1,000,000 elements, contiguous and transposed, the call alone
and with its backward pass, in alternating fresh processes. Prints the calls that take longer than torch's, the slowest first,
and what the rest gives; writes build/compare/ops.json.

usage: python benches/compare/ops.py [--only NAME,...] [--elements N,...] [--rounds 2] [--seconds 0.02]
"""

import argparse
import importlib
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import calls  # noqa: E402 - beside this file

OUT = HERE.parents[1] / "build" / "compare"


def best_seconds(call, seconds: float) -> float:
    """The best mean of three stretches of calls; calls that take that long by themselves are made three times."""
    call()
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    count = max(1, int(seconds / 3 / max(once, 1e-7)))
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    return best


def parts(result) -> tuple | list:
    return result if isinstance(result, (tuple, list)) else (result,)


def outputs(result) -> list:
    """The tensors of a result that lead to a gradient."""
    return [part for part in parts(result) if getattr(part, "requires_grad", False)]


def look(result) -> None:
    """Asks for the memory of large results: until then they may wait to be computed."""
    for part in parts(result):
        if part is not None:
            part.data_ptr()


def timed(T, operation: dict, n: int, transposed: bool, seconds: float) -> dict:
    """The seconds of a call, and of a call with its backward pass where it has one."""
    is_large = n > 1000
    call, _ = called(T, operation, n, transposed, False)
    found = {"forward": best_seconds((lambda: look(call())) if is_large else call, seconds)}
    linked, leaves = called(T, operation, n, transposed, True)
    ends = outputs(linked())
    if ends:
        gradients = [T.ones_like(end) * 0.7 for end in ends]

        def both():
            found = T.autograd.grad(outputs(linked()), leaves, gradients, allow_unused=True)
            if is_large:
                look(found)

        found["backward"] = best_seconds(both, seconds)
    return found


def called(T, operation: dict, n: int, transposed: bool, requires_grad: bool):
    """The call of an operation with its values made, and those of them that require a gradient."""
    expression = calls.expression(operation)
    values = calls.Values(T, n, transposed, requires_grad, operation.get("domain"))
    eval(expression, {}, values)
    return eval(f"lambda: {expression}", dict(values)), values.leaves


def work(options) -> None:
    """One process: every call on one module, as JSON."""
    warnings.simplefilter("ignore")
    T = importlib.import_module(options.worker)
    importlib.import_module(f"{options.worker}.nn.functional")
    found = {}
    for operation in json.loads(sys.stdin.read()):
        for n in options.elements:
            for transposed in (False, True):
                key = f"{operation['name']} {n} {'transposed' if transposed else 'contiguous'}"
                try:
                    times = timed(T, operation, n, transposed, options.seconds)
                    found |= {f"{key} {part}": seconds for part, seconds in times.items()}
                except Exception as error:  # noqa: BLE001 - what one module refuses is no comparison
                    found[f"{key} forward"] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


def measure(module: str, operations: list, options) -> dict:
    """One fresh process on a few operations."""
    command = [sys.executable, __file__, "--worker", module, "--seconds", str(options.seconds)]
    command += ["--elements", ",".join(map(str, options.elements))]
    done = subprocess.run(command, input=json.dumps(operations), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def table_of_operations(only: list) -> list:
    """The operations that are not done in place, and have a name of their own."""
    from ferrograd import _ferrograd

    kept = ("name", "signatures", "home", "arity", "domain")
    named = [o for o in _ferrograd._operations() if not o["name"].endswith("_") and not o["name"].startswith("_")]
    wanted = [o for o in named if not only or calls.plain(o["name"]) in only]
    return [{key: o[key] for key in kept if key in o} for o in wanted]


def compare(operations: list, options) -> dict:
    """The best times of both for every call; operations with a call that seems slower than torch's are measured again.
    Texts where one of the two refused."""
    pairs: dict[str, list] = {}
    for turn in range(1 + options.rounds):
        rows = {key: summary(each) for key, each in pairs.items()}
        slow = {key.split()[0] for key, row in rows.items() if row.get("ratio", 1) < 1}
        wanted = [o for o in operations if turn == 0 or o["name"] in slow]
        for start in range(0, len(wanted), options.chunk):
            some = wanted[start : start + options.chunk]
            ours, theirs = measure("ferrograd", some, options), measure("torch", some, options)
            for key in {**ours, **theirs}:
                pairs.setdefault(key, []).append((ours.get(key, "missing"), theirs.get(key, "missing")))
    return {key: summary(each) for key, each in pairs.items()}


def summary(each: list) -> dict:
    refused = [text for pair in each for text in pair if isinstance(text, str)]
    if refused:
        return {"refused": refused[0]}
    ours, theirs = (min(times) for times in zip(*each))
    return {"ratio": theirs / ours, "ferrograd": ours, "torch": theirs}


def report(rows: dict) -> str:
    """The calls that take longer than torch's, the slowest first, and a line on all."""
    measured = {key: row for key, row in rows.items() if "ratio" in row}
    losers = sorted((row["ratio"], key) for key, row in measured.items() if row["ratio"] < 1)
    lines = [f"{ratio:5.2f}  {key}  ({rows[key]['ferrograd'] * 1e6:.2f} us, torch {rows[key]['torch'] * 1e6:.2f} us)" for ratio, key in losers]
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in measured.values())) if measured else math.nan
    far = sum(ratio < 0.8 for ratio, _ in losers)
    lines.append(
        f"{len(measured)} calls, torch over ferrograd {mean:.2f} in the geometric mean; {len(losers)} slower than torch, "
        f"{far} of them beyond 1.25; {len(rows) - len(measured)} refused by one of the two"
    )
    return "\n".join(lines)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--elements", type=numbers, default=list(calls.SIZES))
    parser.add_argument("--rounds", type=int, default=2, help="how often what seems slower is measured again")
    parser.add_argument("--seconds", type=float, default=0.02)
    parser.add_argument("--chunk", type=int, default=40, help="operations of a process")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return 0
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: nothing to compare with")
        return 1
    rows = compare(table_of_operations([name for name in options.only.split(",") if name]), options)
    print(report(rows))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "ops.json").write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
