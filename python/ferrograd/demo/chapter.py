"""The ideas of automatic differentiation, each with a text in two languages and a program that runs as it is shown."""

import contextlib
import io
from dataclasses import dataclass

from .messages import Text

IMPORT = "import ferrograd as fg"


@dataclass(frozen=True)
class Idea:
    """One idea: its title and explanation, its program, and the name in it whose graph is worth a look."""

    title: Text
    text: Text
    code: str
    graph_of: str | None = None


IDEAS = [
    Idea(
        Text("Asking for gradients: requires_grad", "需要梯度的张量：requires_grad"),
        Text(
            "What is computed from a tensor made with requires_grad=True is recorded, "
            "so that it can be differentiated. Other tensors are constants.",
            "由 requires_grad=True 的张量算出的一切都会被记录下来，以便求导；其他张量视为常量。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
print(x.requires_grad)
y = fg.tensor([3.0])
print(y.requires_grad)""",
    ),
    Idea(
        Text("A simple example", "一个简单的例子"),
        Text(
            "y = x² has the derivative 2x, which is 4 at x = 2. backward() computes it and leaves it in x.grad.",
            "y = x² 的导数是 2x，在 x = 2 处等于 4。backward() 求出导数，并存放在 x.grad 中。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
y = x ** 2
y.backward()
print(x.grad)""",
    ),
    Idea(
        Text("The chain rule", "链式法则"),
        Text(
            "With y = x² and z = 3y + 1: dz/dx = dz/dy · dy/dx = 3 · 2x = 12. "
            "backward() walks the recorded graph from z back to x and multiplies on its way.",
            "设 y = x²，z = 3y + 1，则 dz/dx = dz/dy · dy/dx = 3 · 2x = 12。"
            "backward() 沿计算图从 z 走回 x，边走边把各步的导数相乘。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
y = x ** 2
z = 3 * y + 1
z.backward()
print(x.grad)""",
        graph_of="z",
    ),
    Idea(
        Text("Several variables", "多个变量"),
        Text(
            "y = x₀² + x₁²: each element of x gets its partial derivative, 2x₀ and 2x₁. "
            "Where two paths of the graph meet in one leaf, their gradients are added.",
            "y = x₀² + x₁²：x 的每个元素得到各自的偏导数 2x₀ 和 2x₁。"
            "两条路径汇合到同一个叶子节点时，梯度相加。",
        ),
        """\
x = fg.tensor([2.0, 3.0], requires_grad=True)
y = x[0]**2 + x[1]**2
y.backward()
print(x.grad)""",
        graph_of="y",
    ),
    Idea(
        Text("Before and after backward", "反向传播前后"),
        Text(
            "Computing y does not compute a gradient: x.grad is None until backward() has run.",
            "计算 y 时并不计算梯度：调用 backward() 之前，x.grad 是 None。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
y = x ** 2
print(x.grad)
y.backward()
print(x.grad)""",
    ),
    Idea(
        Text("Gradients accumulate", "梯度会累积"),
        Text(
            "Each backward() adds its gradient to the one that is in x.grad already.",
            "每次 backward() 都把新的梯度加到 x.grad 已有的值上，而不是覆盖它。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
for i in range(3):
    y = x ** 2
    y.backward()
    print(f"{i + 1}: {x.grad}")""",
    ),
    Idea(
        Text("Unless they are zeroed", "梯度清零"),
        Text(
            "So a training loop sets the gradients to zero in every step.",
            "因此训练时，每一步都要把梯度清零。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
for i in range(3):
    y = x ** 2
    y.backward()
    print(f"{i + 1}: {x.grad}")
    x.grad.zero_()""",
    ),
    Idea(
        Text("No gradients wanted", "不需要梯度时"),
        Text(
            "Nothing is recorded inside no_grad(); detach() cuts a result off from its graph; "
            "requires_grad_(False) makes a leaf a constant.",
            "在 no_grad() 中不作记录；detach() 把结果从计算图上分离出来；requires_grad_(False) 把叶子张量变为常量。",
        ),
        """\
x = fg.tensor([2.0], requires_grad=True)
with fg.no_grad():
    y = x ** 2
print(y.requires_grad)
z = (x ** 2).detach()
print(z.requires_grad)
x.requires_grad_(False)
print(x.requires_grad)""",
    ),
    Idea(
        Text("Training", "训练线性模型"),
        Text(
            "Gradient descent fits w·x + b to points of y = 2x, so w should become 2 and b should become 0. "
            "At the rate 0.01 that takes patience: after 100 epochs they are 1.78 and 0.50, "
            "and epoch 2014 is the first after which both are right to two decimals.",
            "用梯度下降法让 w·x + b 拟合 y = 2x 上的点，w 应趋于 2，b 应趋于 0。"
            "学习率取 0.01 时需要耐心：训练 100 轮后只到 1.78 和 0.50，到第 2014 轮，两者才首次精确到两位小数。",
        ),
        """\
w = fg.tensor([0.5], requires_grad=True)
b = fg.tensor([0.1], requires_grad=True)
x = fg.tensor([1.0, 2.0, 3.0])
y_true = fg.tensor([2.0, 4.0, 6.0])
for epoch in range(1, 2015):
    y_pred = w * x + b
    loss = ((y_pred - y_true) ** 2).mean()
    loss.backward()
    w.data -= 0.01 * w.grad
    b.data -= 0.01 * b.grad
    w.grad.zero_()
    b.grad.zero_()
    if epoch in (100, 2013, 2014):
        print(f"{epoch}: w={w.item():.2f}, b={b.item():.2f}")""",
    ),
    Idea(
        Text("Minimisation", "求函数的最小值"),
        Text(
            "The same descent finds where a function is least: x² - 4x + 3 at x = 2.",
            "同样的下降法可以求函数的最小值点：x² - 4x + 3 在 x = 2 处最小。",
        ),
        """\
x = fg.tensor([0.0], requires_grad=True)
for i in range(100):
    y = x**2 - 4*x + 3
    y.backward()
    x.data -= 0.1 * x.grad
    x.grad.zero_()
print(f"x = {x.item():.2f}")""",
    ),
    Idea(
        Text("Sensitivity", "灵敏度分析"),
        Text(
            "A gradient says how much a result changes with an input: "
            "one unit more of the price adds 50 to the revenue, one unit more of the quantity adds 100.",
            "梯度说明结果随输入变化的快慢：价格每提高一个单位，收入增加 50；数量每增加一个单位，收入增加 100。",
        ),
        """\
price = fg.tensor([100.0], requires_grad=True)
quantity = fg.tensor([50.0], requires_grad=True)
revenue = price * quantity
revenue.backward()
print(f"{price.grad}")
print(f"{quantity.grad}")""",
    ),
]


def run(idea: Idea) -> tuple[str, dict]:
    """Run an idea's program; gives what it printed and its names."""
    names: dict = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(f"{IMPORT}\n{idea.code}", idea.title.en, "exec"), names)
    return printed.getvalue(), names


def graph(result, again: str = "(the same node)") -> str:
    """The recorded graph of a result as a tree of text, from the result down to the leaves.

    A node that several paths lead to is followed once; where it comes up once more, `again` is written beside it.
    """
    lines, drawn = [], set()
    pending = [(result.grad_fn, "", "")]
    while pending:
        node, before, below = pending.pop()
        # torch writes a leaf's node with its namespace
        name = node.name().rpartition("::")[2]
        if node in drawn:
            lines.append(f"{before}{name} {again}")
            continue
        drawn.add(node)
        lines.append(f"{before}{name}" + (f" -> {node.variable!r}" if name == "AccumulateGrad" else ""))
        inputs = [following for following, _ in node.next_functions if following is not None]
        branches = [("├─ ", "│  ")] * (len(inputs) - 1) + [("└─ ", "   ")]
        for following, (fork, line) in reversed(list(zip(inputs, branches))):
            pending.append((following, below + fork, below + line))
    return "\n".join(lines)
