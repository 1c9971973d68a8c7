"""The ideas of automatic differentiation, each with a text in two languages and a program that is run as it is shown."""

import contextlib
import io
from dataclasses import dataclass

import ferrograd as fg


@dataclass(frozen=True)
class Idea:
    """One idea: its title and explanation by language, and its program."""

    title: dict[str, str]
    text: dict[str, str]
    code: str


IDEAS = [
    Idea(
        {"en": "Asking for gradients", "zh": "跟踪梯度：requires_grad"},
        {
            "en": "A tensor made with requires_grad=True is watched: operations on it are recorded.",
            "zh": "用 requires_grad=True 创建的张量会被跟踪：对它做的每一步运算都会记录下来。",
        },
        "x = fg.tensor([2.0], requires_grad=True)\nprint(x.requires_grad)\ny = fg.tensor([3.0])\nprint(y.requires_grad)",
    ),
    Idea(
        {"en": "A first gradient", "zh": "第一个例子"},
        {
            "en": "y = x² has the derivative 2x. backward() computes it and leaves it in x.grad.",
            "zh": "y = x² 的导数是 2x。backward() 算出导数，放在 x.grad 里。",
        },
        "x = fg.tensor([2.0], requires_grad=True)\ny = x ** 2\ny.backward()\nprint(x.grad)",
    ),
    Idea(
        {"en": "The chain rule", "zh": "链式法则"},
        {
            "en": "z = 3y + 1 and y = x²: dz/dx = dz/dy · dy/dx = 3 · 2x. The recorded graph knows the way back.",
            "zh": "z = 3y + 1，y = x²：dz/dx = dz/dy · dy/dx = 3 · 2x。记录下来的计算图知道怎样往回走。",
        },
        "x = fg.tensor([2.0], requires_grad=True)\ny = x ** 2\nz = 3 * y + 1\nz.backward()\nprint(x.grad)",
    ),
    Idea(
        {"en": "Several variables", "zh": "多个变量"},
        {
            "en": "y = x₀² + x₁²: every element gets its partial derivative.",
            "zh": "y = x₀² + x₁²：每个元素都得到自己的偏导数。",
        },
        "x = fg.tensor([2.0, 3.0], requires_grad=True)\ny = x[0]**2 + x[1]**2\ny.backward()\nprint(x.grad)",
    ),
    Idea(
        {"en": "Before and after backward", "zh": "反向传播之前和之后"},
        {"en": "There is no gradient before backward() has run.", "zh": "在 backward() 之前，梯度还不存在。"},
        "x = fg.tensor([2.0], requires_grad=True)\ny = x ** 2\nprint(x.grad)\ny.backward()\nprint(x.grad)",
    ),
    Idea(
        {"en": "Gradients accumulate", "zh": "梯度会累积"},
        {
            "en": "Each backward() adds to what is there already.",
            "zh": "每次 backward() 都把新的梯度加到已有的梯度上。",
        },
        "x = fg.tensor([2.0], requires_grad=True)\nfor i in range(3):\n    y = x ** 2\n    y.backward()\n    print(f\"{i + 1}: {x.grad}\")",
    ),
    Idea(
        {"en": "Unless they are zeroed", "zh": "清零梯度"},
        {"en": "So a training loop clears them in every step.", "zh": "所以训练循环的每一步都要清零。"},
        "x = fg.tensor([2.0], requires_grad=True)\nfor i in range(3):\n    y = x ** 2\n    y.backward()\n    print(f\"{i + 1}: {x.grad}\")\n    x.grad.zero_()",
    ),
    Idea(
        {"en": "No gradients wanted", "zh": "不需要梯度的时候"},
        {
            "en": "no_grad() records nothing, detach() cuts a result off, requires_grad_() changes a leaf.",
            "zh": "no_grad() 里不作记录，detach() 把结果从图上切下来，requires_grad_() 改变叶子张量的设置。",
        },
        "x = fg.tensor([2.0], requires_grad=True)\nwith fg.no_grad():\n    y = x ** 2\nprint(y.requires_grad)\nz = (x ** 2).detach()\nprint(z.requires_grad)\nx.requires_grad_(False)\nprint(x.requires_grad)",
    ),
    Idea(
        {"en": "Training", "zh": "训练一个线性模型"},
        {
            "en": "A line is fitted to y = 2x by gradient descent. After 100 epochs at rate 0.01 it is on its way, not there: "
            "w=1.78, b=0.50. From epoch 2014 on it prints w=2.00, b=0.00.",
            "zh": "用梯度下降拟合 y = 2x。学习率 0.01 时，100 轮之后还在路上：w=1.78，b=0.50；"
            "从第 2014 轮起才会打印出 w=2.00，b=0.00。",
        },
        "x = fg.tensor([1.0, 2.0, 3.0])\ny_true = fg.tensor([2.0, 4.0, 6.0])\nfor epochs in (100, 2014):\n"
        "    w = fg.tensor([0.5], requires_grad=True)\n    b = fg.tensor([0.1], requires_grad=True)\n"
        "    for epoch in range(epochs):\n        y_pred = w * x + b\n        loss = ((y_pred - y_true) ** 2).mean()\n"
        "        loss.backward()\n        w.data -= 0.01 * w.grad\n        b.data -= 0.01 * b.grad\n"
        "        w.grad.zero_()\n        b.grad.zero_()\n    print(f\"{epochs}: w={w.item():.2f}, b={b.item():.2f}\")",
    ),
    Idea(
        {"en": "Finding a minimum", "zh": "求最小值"},
        {"en": "x² - 4x + 3 is least at x = 2.", "zh": "x² - 4x + 3 在 x = 2 处最小。"},
        "x = fg.tensor([0.0], requires_grad=True)\nfor i in range(100):\n    y = x**2 - 4*x + 3\n    y.backward()\n    x.data -= 0.1 * x.grad\n    x.grad.zero_()\nprint(f\"x = {x.item():.2f}\")",
    ),
    Idea(
        {"en": "Sensitivity", "zh": "敏感度分析"},
        {
            "en": "How much more is earned for a little more of the price, or of the quantity?",
            "zh": "价格或数量增加一点点，收入增加多少？",
        },
        "price = fg.tensor([100.0], requires_grad=True)\nquantity = fg.tensor([50.0], requires_grad=True)\nrevenue = price * quantity\nrevenue.backward()\nprint(f\"{price.grad}\")\nprint(f\"{quantity.grad}\")",
    ),
]


def run(idea: Idea) -> tuple[str, dict]:
    """Run an idea's program; gives what it printed and its names."""
    names = {"fg": fg}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(idea.code, idea.title["en"], "exec"), names)
    return printed.getvalue(), names


def graph(result: "fg.Tensor") -> str:
    """The recorded graph of a result as a tree of text, from the result down to the leaves."""
    lines = []
    pending = [(result.grad_fn, "", "")]
    while pending:
        node, prefix, below = pending.pop()
        leaf = node.name() == "AccumulateGrad"
        lines.append(prefix + node.name() + (f" -> {node.variable!r}" if leaf else ""))
        inputs = [n for n, _ in node.next_functions if n is not None]
        for i, child in reversed(list(enumerate(inputs))):
            last = i == len(inputs) - 1
            pending.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
    return "\n".join(lines)
