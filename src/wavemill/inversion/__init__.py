"""Phase reconstruction: turn STFT magnitudes into waveforms."""

from wavemill.inversion.inversion import invert
from wavemill.inversion.methods import METHODS

__all__ = ["METHODS", "invert"]
