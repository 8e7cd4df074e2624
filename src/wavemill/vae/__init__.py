"""Variational autoencoders: `package.load_model` reads one, `model.Model` is one, `training` makes one."""
