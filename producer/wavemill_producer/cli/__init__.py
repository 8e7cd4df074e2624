"""The command line: thin commands over the core and the producer; heavy modules are imported when a command runs."""
