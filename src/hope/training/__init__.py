"""Training: losses, the loop, the recipe of the bundled model."""
