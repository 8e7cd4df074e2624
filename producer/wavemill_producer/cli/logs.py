"""Where the producer's commands write the library's warnings."""

from __future__ import annotations

import logging


def warn_on_stderr() -> None:
    """Write the library's warnings to standard error, one line each."""
    from wavemill.settings import Settings
    from wavemill.text.log_lines import log_to_stderr

    log_to_stderr(Settings.from_env().log_format, "wavemill: %(message)s", level=logging.WARNING)
