"""Fixtures of all tests: real servers, a small dataset, a small model."""

from __future__ import annotations

pytest_plugins = ["support.servers", "support.material", "support.stack", "support.bench", "support.rehearsals"]
