"""Text on its way out: made safe for terminals and logs, without the secrets of URLs."""
