"""Fixtures of all tests: real servers, a small dataset, a small model."""

from __future__ import annotations

import signal

pytest_plugins = ["support.servers", "support.material", "support.stack", "support.bench", "support.rehearsals"]

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # processes of tests inherit it, and under nohup it would be ignored
