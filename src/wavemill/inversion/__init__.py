"""Phase reconstruction: turn STFT magnitudes into waveforms.

From the rest of wavemill it uses only the array types, the errors and, on a GPU, the Keras seam.
"""

from wavemill.inversion.blocks import invert_blocks
from wavemill.inversion.inversion import invert
from wavemill.inversion.methods import METHODS

__all__ = ["METHODS", "invert", "invert_blocks"]
