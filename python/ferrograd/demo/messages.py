"""What the demonstration says, both languages side by side."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A text in English and in Chinese; neither can be left out."""

    en: str
    zh: str

    def into(self, lang: str) -> str:
        """The text in a language, "en" or "zh"."""
        return {"en": self.en, "zh": self.zh}[lang]


MESSAGES = {
    "usage": Text("usage: ", "用法："),
    "options": Text("options", "选项"),
    "describe": Text(
        "Walks through automatic differentiation, then trains a small classifier and draws the result.",
        "逐步讲解自动微分，然后训练一个小分类器并画出结果。",
    ),
    "help": Text("show this help message and exit", "显示此帮助并退出"),
    "lang": Text("the language (default: the locale's)", "语言（默认取自系统区域设置）"),
    "fast": Text("train for a few epochs only", "只训练几轮"),
    "out": Text("where ferrograd-demo.png is written (default: here)", "ferrograd-demo.png 的保存目录（默认：当前目录）"),
    "title": Text("Automatic differentiation in eleven ideas", "自动微分：十一个要点"),
    "import": Text("All programs below begin with this line:", "下面的程序都以这一行开头："),
    "graph": Text("The recorded graph, from the result to the leaves:", "记录下来的计算图，从结果到叶子节点："),
    "same_node": Text("(the same node)", "（同一个节点）"),
    "no_chinese": Text(
        "(The encoding of this output has no Chinese characters; the walk is in English.)",
        "（此输出的编码不含汉字，改用英文显示。）",
    ),
    "train_title": Text("Handwritten digits", "手写数字识别"),
    "train": Text(
        "A network of plain tensors, 64 - 128 - 10, learns to tell images of 8 x 8 pixels apart. "
        "A quarter of them is held out: the network is never trained on it.",
        "用普通张量写成的 64 - 128 - 10 网络学习分辨 8 x 8 像素的图像。四分之一的图像留作测试，不参与训练。",
    ),
    "progress": Text("loss {loss:.4f}, held out {accuracy:.1%} right", "损失 {loss:.4f}，测试准确率 {accuracy:.1%}"),
    "done": Text(
        "{right} of {count} held-out digits are recognised: {accuracy:.1%}, after {epochs} epochs in {seconds:.1f} s.",
        "{count} 个测试数字中正确识别 {right} 个，准确率 {accuracy:.1%}。训练 {epochs} 轮，用时 {seconds:.1f} 秒。",
    ),
    "picture": Text("The picture is {path}.", "图片保存在 {path}。"),
    "missing": Text(
        'The training needs {names}. Install with: pip install "ferrograd[demo]"',
        '训练部分需要 {names}，请先安装：pip install "ferrograd[demo]"',
    ),
    "unwritable": Text("Nothing can be written to {path}: {reason}", "无法写入 {path}：{reason}"),
    "plot_loss": Text("training loss (mean cross-entropy)", "训练损失（平均交叉熵）"),
    "plot_accuracy": Text("held-out accuracy", "测试准确率"),
    "plot_epoch": Text("epoch", "训练轮数"),
    "plot_digits": Text(
        "Held-out digits: {right} of {count} recognised ({accuracy:.1%})",
        "测试数字：{count} 个中正确识别 {right} 个（{accuracy:.1%}）",
    ),
    "plot_wrong": Text("{label} read as {predicted}", "{label} 误作 {predicted}"),
}
