"""Reading untrusted files and JSON: bounded in size and depth, never executed."""
