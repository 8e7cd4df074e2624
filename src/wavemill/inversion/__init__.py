"""Phase reconstruction: magnitudes in, waveforms out. Needs nothing of wavemill but its errors."""

from wavemill.inversion.methods import METHODS, invert

__all__ = ["METHODS", "invert"]
