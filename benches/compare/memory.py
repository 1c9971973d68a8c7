"""The most memory that training steps take beside what is there before the first, of ferrograd and of torch: pages of the process as
the system counts them, each workload in a process of its own, in turns.

usage: python benches/compare/memory.py [--rounds 3] [--steps 4]
"""

import argparse
import importlib
import importlib.util
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

MEGABYTE = 1e6


def weights(T, *shapes):
    """Leaves with numbers drawn for layers of these shapes."""
    return [(T.randn(*shape) / math.sqrt(shape[-1])).requires_grad_() for shape in shapes]


def elementwise(T, F):
    """Sixty element-wise layers in a row on a million numbers."""
    parameters = weights(T, *[(1_000_000,)] * 3)
    x = T.randn(1_000_000)

    def loss():
        h = x
        for layer in range(20):
            h = T.tanh(h * parameters[layer % 3] + 0.1)
        return h.mean()

    return parameters, loss


def transformer(T, F, attend, size=256, heads=8):
    """A block of a transformer: attention of 8 sequences of 256 words, and two layers."""
    inner, out, wide, narrow = weights(T, (3 * size, size), (size, size), (4 * size, size), (size, 4 * size))
    scales = [T.ones(size, requires_grad=True) for _ in range(2)]
    shifts = [T.zeros(n, requires_grad=True) for n in (size, size, 3 * size, size, 4 * size, size)]
    x = T.randn(8, 256, size)

    def heads_of(t):
        return t.reshape(8, 256, heads, size // heads).transpose(1, 2)

    def loss():
        h = F.layer_norm(x, (size,), scales[0], shifts[0])
        attended = attend(*map(heads_of, F.linear(h, inner, shifts[2]).chunk(3, -1)))
        h = x + F.linear(attended.transpose(1, 2).reshape(8, 256, size), out, shifts[3])
        rest = F.linear(F.layer_norm(h, (size,), scales[1], shifts[1]), wide, shifts[4])
        return (h + F.linear(F.gelu(rest), narrow, shifts[5])).square().mean()

    return [inner, out, wide, narrow, *scales, *shifts], loss


def by_hand(F):
    return lambda q, k, v: F.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1) @ v


def recurrent(T, F, hidden=128):
    """A GRU over 100 steps of 64 sequences."""
    of_input, of_state = weights(T, (3 * hidden, 64), (3 * hidden, hidden))
    x = T.randn(100, 64, 64)

    def loss():
        h = T.zeros(64, hidden)
        for step in x:
            (ir, iz, i), (hr, hz, n) = F.linear(step, of_input).chunk(3, 1), F.linear(h, of_state).chunk(3, 1)
            r, z = T.sigmoid(ir + hr), T.sigmoid(iz + hz)
            n = T.tanh(i + r * n)
            h = n + z * (h - n)
        return h.square().mean()

    return [of_input, of_state], loss


def layers(T, F):
    """Six layers of 256 on 4,096 examples."""
    parameters = weights(T, *[(256, 256)] * 6)
    x = T.randn(4096, 256)

    def loss():
        h = x
        for w in parameters:
            h = F.relu(F.linear(h, w))
        return h.square().mean()

    return parameters, loss


def convolutions(T, F):
    """Three convolutions of 3 x 3 on 32 images of 32 x 32."""
    parameters = weights(T, (32, 3, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3))
    x = T.randn(32, 3, 32, 32)

    def loss():
        h = F.relu(F.conv2d(x, parameters[0], padding=1))
        h = F.max_pool2d(F.relu(F.conv2d(h, parameters[1], padding=1)), 2)
        return F.relu(F.conv2d(h, parameters[2], padding=1)).square().mean()

    return parameters, loss


WORKLOADS = {
    "60 element-wise layers, 1,000,000": elementwise,
    "transformer block, attention by hand": lambda T, F: transformer(T, F, by_hand(F)),
    "transformer block, `scaled_dot_product_attention`": lambda T, F: transformer(T, F, F.scaled_dot_product_attention),
    "GRU, 100 steps": recurrent,
    "6 linear layers": layers,
    "3 convolutions": convolutions,
}


def resident(field):
    """Bytes of the process: those that are there now (`VmRSS`), or the most since they were counted anew (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def worker(module, name, steps):
    """The most bytes beside those before the first step."""
    T, F = importlib.import_module(module), importlib.import_module(f"{module}.nn.functional")
    T.manual_seed(0)
    parameters, loss = WORKLOADS[name](T, F)
    before = resident("VmRSS")
    # Counts the most anew (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(steps):
        loss().backward()
        with T.no_grad():
            for p in parameters:
                p -= 0.01 * p.grad
                p.grad = None
    return resident("VmHWM") - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--worker", nargs=2, metavar=("MODULE", "WORKLOAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump(worker(*options.worker, options.steps), sys.stdout)
        return
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("The most memory of a process is counted anew by Linux alone.")
    modules = [m for m in ("ferrograd", "torch") if importlib.util.find_spec(m)]
    print(f"| training step of | {' | '.join(modules)} | ferrograd / torch |\n|---|{'---:|' * (len(modules) + 1)}")
    for name in WORKLOADS:
        found = {m: [] for m in modules}
        for _ in range(options.rounds):
            for m in modules:
                command = [sys.executable, __file__, "--steps", str(options.steps), "--worker", m, name]
                found[m].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        medians = {m: statistics.median(values) / MEGABYTE for m, values in found.items()}
        ratio = medians["ferrograd"] / medians.get("torch", math.nan)
        print(f"| {name} | {' | '.join(f'{medians[m]:.0f} MB' for m in modules)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
