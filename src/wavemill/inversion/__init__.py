"""Phase reconstruction: magnitudes in, waveforms out."""
