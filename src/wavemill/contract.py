"""Names on the wire; both sides use these constants and neither derives one from a module's path."""

from __future__ import annotations

RENDER_CHUNK = "wavemill.render_chunk"
QUEUE = "wavemill"
