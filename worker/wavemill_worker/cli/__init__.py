"""Commands of the heavy side; importing them stays light."""
