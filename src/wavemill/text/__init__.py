"""Output text: made safe for terminals and logs, with secrets in URLs hidden."""
