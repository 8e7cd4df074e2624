"""Loads recordings, computes and normalises spectrograms, and encodes WAV and FLAC."""
