"""The table: what is queued, who works on it, what came of it."""
