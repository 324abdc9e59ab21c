"""Training as numerics: the step, its state, engines and optimizers."""
