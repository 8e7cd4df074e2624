"""What a worker tells about its work, for whoever counts it."""

from __future__ import annotations

from collections.abc import Sequence

from wavemill.jobs.claims import Claim
from wavemill.jobs.finishing import Work


class Meter:
    """Is told what one worker does, and forgets it; `wavemill worker --metrics` has one that counts."""

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Note claims that were just made."""

    def renewed(self, n_jobs: int) -> None:
        """Note that the leases of running jobs were extended."""

    def sub_batch(self, n_jobs: int) -> None:
        """Note that a sub-batch begins."""

    def finished(self, work: Sequence[Work], seconds: float) -> None:
        """Note recorded outcomes, and how long it took from the claim to the record."""
