"""Random numbers: those with a derivative that is not zero are tested in a state that is always the same."""

#: What is drawn does not move with its parameters.
WITHOUT_DERIVATIVE = {
    "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "bernoulli", "multinomial", "poisson",
    "binomial",
}
