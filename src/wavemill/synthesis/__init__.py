"""Arrays to arrays: spectrograms from a model, their levels, sound. Uses no jobs, files or SQL."""
