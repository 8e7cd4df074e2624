"""Training: spectrograms in batches, the optimiser's steps, checkpoints, and the figures at the end."""
