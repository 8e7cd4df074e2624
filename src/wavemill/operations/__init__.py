"""What may be asked of wavemill: operations, their parameters, names of outputs. Standard library only."""
