"""Training: optimizers, the step, the loop and its checkpoints."""
