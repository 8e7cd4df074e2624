"""Arrays to arrays: spectrograms from a model, their levels, sound. Knows no jobs, files or SQL."""
