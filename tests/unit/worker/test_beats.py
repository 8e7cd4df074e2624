"""Signs of life, and how long they have been missing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from wavemill_worker import beats


class Clock:
    """Stands in for the clock that the watch looks at."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(beats, "monotonic", clock)
    return clock


@pytest.fixture
def watch(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[beats.Watch]:
    watch = beats.Watch()
    monkeypatch.setenv(beats.FOLDER_VARIABLE, str(watch.folder))
    yield watch
    watch.close()


def look_for(watch: beats.Watch, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        watch.look()


def test_silence_counts_from_the_last_beat_whatever_the_files_clock_says(watch: beats.Watch, clock: Clock) -> None:
    assert watch.silent_s("a.loop") is None
    beats.beat("a.loop")
    watch.look()
    look_for(watch, clock, 5)
    assert watch.silent_s("a.loop") == 5
    os.utime(watch.folder / "a.loop", (0, 0))  # the wall clock was set back by half a century
    look_for(watch, clock, 1)
    assert watch.silent_s("a.loop") == 0


def test_time_in_which_the_watcher_itself_stood_still_counts_for_nobody(watch: beats.Watch, clock: Clock) -> None:
    beats.beat("a.loop")
    watch.look()
    clock.now += 3_600
    watch.look()
    assert watch.silent_s("a.loop") == 2


def test_only_a_process_that_still_lives_is_called_frozen(watch: beats.Watch, clock: Clock) -> None:
    for name in ("a.loop", "11", "12"):
        beats.beat(name)
    watch.look()
    look_for(watch, clock, 60)
    with (watch.folder / "12").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert list(watch.frozen_processes(61)) == []
        assert list(watch.frozen_processes(60)) == [12]
    assert not (watch.folder / "11").exists()
    assert list(watch.frozen_processes(60)) == []


def test_beats_without_a_watcher_disturb_nobody(watch: beats.Watch, clock: Clock) -> None:
    watch.close()
    beats.beat("a.loop")
    beats.keep_beating()
    watch.look()
    assert watch.silent_s("a.loop") is None


def test_the_folder_is_private_and_goes_with_the_watch(watch: beats.Watch) -> None:
    beats.beat("a.loop")
    assert watch.folder.stat().st_mode & 0o777 == 0o700
    assert (watch.folder / "a.loop").stat().st_mode & 0o777 == 0o600
    watch.close()
    assert not watch.folder.exists()
