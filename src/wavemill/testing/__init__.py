"""Fakes to test your own code with, without a trained model, TensorFlow or a GPU.

`sine_model.SineModel` stands in for a model, `rehearsal` for a device of `wavemill worker`. No
other part of wavemill imports this folder.
"""
