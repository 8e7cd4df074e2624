"""Datasets of spectrograms: build, index, read."""
