"""The variational autoencoder: network, training, package."""
