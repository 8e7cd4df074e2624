"""The networks: their layers, their sizes, the scaling of their input, and the forward pass of a batch."""
