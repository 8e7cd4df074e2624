"""Reading files that nobody has vouched for: bounded in size and depth, never executed."""
