"""Fixtures of all tests: real servers, a small dataset, a small model."""

from __future__ import annotations

import signal

pytest_plugins = ["support.servers", "support.material", "support.stack", "support.bench", "support.rehearsals"]

# Processes of tests inherit these; under nohup, or in the background of a script, they would be ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
