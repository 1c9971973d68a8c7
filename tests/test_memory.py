"""Memory that cannot be had: an exception at whatever looks at a value that waits, and the value waits on."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

PROGRAM = """
import copy, resource, sys
import ferrograd as fg

fg.config.set_fusion(True, 1000)
x = fg.zeros(60_000_000)
(fg.ones(100_000) + 1).sum()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 100_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
USES = {
    "sum": lambda y: y.sum(),
    "item": lambda y: y[0].item(),
    "write": lambda y: y.__setitem__(3, 1.0),
    "repr": repr,
    "bool": lambda y: bool(y[1]),
    "float": lambda y: float(y[1]),
    "tolist": lambda y: y.tolist(),
    "numpy": lambda y: y.numpy(),
    "data_ptr": lambda y: y.data_ptr(),
    "add_": lambda y: y.add_(1),
    "iadd": lambda y: y.__iadd__(1),
    "matmul": lambda y: y @ y,
    "cat": lambda y: fg.cat([y, y]),
    "clone": lambda y: y.clone(),
    "iteration": lambda y: next(iter(y)),
    "format": lambda y: f"{y[3]:.2f}",
    "in": lambda y: 3.0 in y,
    "copy": copy.deepcopy,
    "dlpack": lambda y: y.__dlpack__(),
    "backward": lambda y: (y.requires_grad_() * 3).sum().backward(),
    "rows": lambda y: y.view(-1, 2).sum(0),
    "conversion": lambda y: y.long(),
    "einsum": lambda y: fg.einsum("i,i->", y, y),
}
for name, use in USES.items():
    y = x + 1
    try:
        use(y)
    except fg.OutOfMemoryError:
        continue
    except BaseException as error:
        sys.exit(f"{name}: {type(error).__name__}: {error}")
    sys.exit(f"{name}: no error")
assert x[5].item() == 0 and (x[:5] + 1).tolist() == [1.0] * 5
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of the address space is read from /proc")
def test_no_memory_is_an_exception_wherever_a_value_is_computed():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_both_kinds_of_handlers_catch_it():
    import ferrograd as fg

    for kind in (RuntimeError, MemoryError):
        with pytest.raises(kind, match="cannot allocate"):
            fg.empty(2**58)
