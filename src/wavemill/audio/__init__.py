"""Sound in and out: load, STFT features, normalise, WAV."""
