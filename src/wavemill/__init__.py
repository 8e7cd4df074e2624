"""Batch sound generation on a task queue: spectrograms in, a variational autoencoder, WAVs out."""

__version__ = "0.1.0"
