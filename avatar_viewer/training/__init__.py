"""Training: losses, loop, checkpoints, one module per model."""
