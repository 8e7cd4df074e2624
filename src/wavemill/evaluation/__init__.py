"""How good a model sounds, measured on recordings that it did not learn from, beside the truth and the inversion."""
