"""Builds, indexes and reads datasets of spectrograms."""
