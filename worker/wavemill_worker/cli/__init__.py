"""The commands of the worker and of models. Each imports heavy modules only when it runs."""
