"""A small network that hears what is said and who says it: the ear of `wavemill evaluate`, never of a training."""
