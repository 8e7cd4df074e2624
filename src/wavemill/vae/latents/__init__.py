"""The prior of a trained model: the distribution that new latents are drawn from. Arrays only."""
