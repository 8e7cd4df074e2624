"""Arrays to arrays: spectrograms from a model, their levels, sound from spectrograms. Knows no jobs and no files."""
