"""The variational autoencoder: its network, its training and the model folder it is saved in."""
