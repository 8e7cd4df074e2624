"""Phase reconstruction: magnitudes in, waveforms out. Needs nothing of wavemill but its errors."""

from wavemill.inversion.inversion import invert
from wavemill.inversion.methods import METHODS

__all__ = ["METHODS", "invert"]
