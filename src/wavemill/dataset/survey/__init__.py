"""Looks at a folder of recordings, or at a sample of a large one, before a dataset is built from it."""
