"""Handwritten digits (8 x 8 pixels, Alpaydin and Kaynak 1998, as scikit-learn has them) told apart by a small network of
plain tensors: 64 inputs, 128 hidden units, 10 outputs."""

from dataclasses import dataclass, field

import numpy as np

import ferrograd as fg


@dataclass
class Result:
    """What a training run leaves behind."""

    losses: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    predicted: np.ndarray | None = None


def split(seed: int = 1):
    """Three quarters to train on and a quarter held out, each digit in the same share."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(images), dtype=np.bool_)
    for digit in range(10):
        those = rng.permutation(np.flatnonzero(digits.target == digit))
        held_out[those[: len(those) // 4]] = True
    return (images[~held_out], digits.target[~held_out]), (images[held_out], digits.target[held_out])


def network(seed: int = 1) -> list:
    """The weights, small at first (He et al. 2015)."""
    fg.manual_seed(seed)
    first = fg.randn(64, 128) * (2.0 / 64) ** 0.5
    second = fg.randn(128, 10) * (2.0 / 128) ** 0.5
    return [w.requires_grad_() for w in (first, fg.zeros(128), second, fg.zeros(10))]


def scores(weights: list, images):
    """The logarithm of each digit's probability."""
    w1, b1, w2, b2 = weights
    hidden = fg.relu(images @ w1 + b1)
    return fg.log_softmax(hidden @ w2 + b2, 1)


def train(epochs: int = 60, batch: int = 32, rate: float = 0.2, progress: bool = True, seed: int = 1) -> Result:
    """Stochastic gradient descent with a falling rate; gives the losses and what was made of the held-out digits.

    Over seeds 0 to 3 the held-out accuracy is 96 to 99 %.
    """
    (images, labels), (unseen, truth) = split(seed)
    weights, rng, result = network(seed), np.random.default_rng(seed), Result()
    bar = range(epochs)
    if progress:
        from tqdm import tqdm

        bar = tqdm(bar, unit=" epochs", ncols=78)
    unseen_tensor = fg.from_numpy(unseen)
    for epoch in bar:
        step = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        order = rng.permutation(len(images))
        total = 0.0
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            x, y = fg.from_numpy(images[chosen]), fg.from_numpy(labels[chosen])
            loss = -scores(weights, x)[fg.arange(len(chosen)), y].mean()
            loss.backward()
            with fg.no_grad():
                for w in weights:
                    w -= float(step) * w.grad
                    w.grad.zero_()
            total += loss.item() * len(chosen)
        result.losses.append(total / len(order))
        with fg.no_grad():
            result.predicted = scores(weights, unseen_tensor).argmax(1).numpy()
        result.accuracy = float((result.predicted == truth).mean())
        if progress:
            bar.set_postfix(loss=f"{result.losses[-1]:.4f}", held_out=f"{result.accuracy:.1%}")
    result.images, result.labels = unseen.reshape(-1, 8, 8), truth
    return result


def picture(result: Result, path: str) -> None:
    """The loss curve and some of the held-out digits with what they were taken for, the wrong ones in red."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.15])
    axes = left.subplots()
    axes.plot(range(1, len(result.losses) + 1), result.losses, color="#b7410e", linewidth=2)
    axes.set(xlabel="epoch", ylabel="mean cross-entropy", yscale="log", title="Training loss")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    wrong = np.flatnonzero(result.predicted != result.labels)[:6]
    right_ones = np.flatnonzero(result.predicted == result.labels)[: 24 - len(wrong)]
    right.suptitle(f"Held-out digits: {result.accuracy:.1%} right")
    for axis, i in zip(right.subplots(4, 6).flat, np.concatenate([right_ones, wrong])):
        axis.imshow(result.images[i], cmap="gray_r")
        mistaken = result.predicted[i] != result.labels[i]
        title = f"{result.predicted[i]} (is {result.labels[i]})" if mistaken else str(result.predicted[i])
        axis.set_title(title, fontsize=9, color="#c0392b" if mistaken else "#2c3e50", pad=3)
        axis.set_axis_off()
    figure.savefig(path, dpi=130)
    plt.close(figure)
