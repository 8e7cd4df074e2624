"""The commands of the producer. Each imports heavy modules only when it runs."""
