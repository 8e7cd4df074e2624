"""Values that many open pages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavemill.settings import Settings
from wavemill_producer import Producer
from wavemill_producer.web import shared
from wavemill_producer.web.feed import Feed
from wavemill_producer.web.keyring import Keyring
from wavemill_producer.web.shared import Shared


def test_a_value_is_read_once_and_dropped_when_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Producer(Settings(home=tmp_path)) as producer:
        values = Shared(Feed(producer, Keyring(lambda: producer.database)))
        reads: list[int] = []
        for _ in range(2):
            values.get("one", lambda: reads.append(1))
        assert reads == [1]
        monkeypatch.setattr(shared, "_FRESH_S", 0.0)  # all that was read is old
        for key in range(1_000):
            values.get(key, lambda: None)
        assert len(values._entries) <= shared._MANY
