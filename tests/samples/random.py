"""Random numbers: those with a derivative that is not zero are drawn from the same state each time."""

import ferrograd as fg
import ferrograd.nn.functional as F

#: What is drawn does not move with its parameters.
WITHOUT_DERIVATIVE = {
    "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "bernoulli", "multinomial", "poisson",
    "binomial",
}


def _seeded(call):
    def run(x):
        fg.manual_seed(0)
        return call(x) ** 2

    return run


FUNCTIONS = {
    name: _seeded(call)
    for name, call in {
        "dropout": lambda x: fg.dropout(x, 0.4, True),
        "feature_dropout": lambda x: fg.feature_dropout(x[None], 0.4, True),
        "alpha_dropout": lambda x: fg.alpha_dropout(x, 0.4, True),
        "feature_alpha_dropout": lambda x: fg.feature_alpha_dropout(x[None], 0.4, True),
        "native_dropout": lambda x: fg.native_dropout(x, 0.4, True)[0],
        "rrelu": lambda x: fg.rrelu(x, 0.2, 0.5),
        "nn.dropout": F.dropout,
        "nn.alpha_dropout": lambda x: F.alpha_dropout(x, training=True),
        "nn.feature_alpha_dropout": lambda x: F.feature_alpha_dropout(x[None], training=True),
        "nn.dropout1d": F.dropout1d,
        "nn.dropout2d": lambda x: F.dropout2d(x[None, :, None]),
        "nn.dropout3d": lambda x: F.dropout3d(x[:, None, None]),
        "nn.rrelu": F.rrelu,
        "nn.gumbel_softmax": F.gumbel_softmax,
    }.items()
}
#: Two calls draw two times: the forms in place are compared with torch.
DRAWN = WITHOUT_DERIVATIVE | set(FUNCTIONS)
