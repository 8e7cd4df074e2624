"""A small network that recognises which word is said and by whom.

`wavemill evaluate` judges models with it. Training a model never uses it.
"""
