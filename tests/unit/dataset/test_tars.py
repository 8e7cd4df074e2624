from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.audio import tars
from wavemill.dataset.build import BuildReport, build
from wavemill.dataset.decibels import read_db
from wavemill.dataset.index import Dataset
from wavemill.dataset.survey.survey import survey
from wavemill.errors import DatasetError
from wavemill.labels import Labels
from wavemill.presets import preset

DIGITS = preset("digits")
SOUNDS = {"a": "wav", "b": "flac", "c": "ogg", "d": "mp3"}


def sound(seed: int, suffix: str = "wav") -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 4_000)
    soundfile.write(buffer, noise, 8_000, format=suffix.upper())
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        add(tar, members.items())


def add(tar: tarfile.TarFile, members: Iterable[tuple[str, bytes]]) -> None:
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def shard() -> dict[str, bytes]:
    members = {f"{key}.{suffix}": sound(ord(key), suffix) for key, suffix in SOUNDS.items()}
    fields = {"speaker": "ann", "pitch": 69, "sure": True, "points": [1, 2]}
    return members | {"a.json": json.dumps(fields).encode(), "b.cls": b"3\n", "b.txt": b"hello\n"}


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    write_tar(tmp_path / "audio/shard-000000.tar", shard())
    return tmp_path / "audio"


def built(audio: Path, name: str = "data", **options: object) -> tuple[BuildReport, dict[str, Labels]]:
    report = build(audio, audio.parent / name, DIGITS, jobs=1, **options)  # type: ignore[arg-type]
    with Dataset.open(audio.parent / name) as dataset:
        return report, {one: dataset.get(one).labels for one in dataset.ids()}


def test_members_of_tar_files_are_recordings_with_their_labels(audio: Path) -> None:
    report, labels = built(audio)
    assert labels == {
        "shard-000000.tar/a": {"speaker": "ann", "pitch": 69, "sure": "true"},
        "shard-000000.tar/b": {"cls": 3, "txt": "hello"},
        "shard-000000.tar/c": {},
        "shard-000000.tar/d": {},
    }
    assert (report.skipped, report.unreadable, report.ignored) == ([], [], 0)
    assert report.labels is not None
    assert (report.labels.without_row, report.labels.left_out_columns) == (2, ["points"])


def test_spectrograms_from_a_tar_file_are_those_of_its_unpacked_members(audio: Path, tmp_path: Path) -> None:
    built(audio)
    with tarfile.open(audio / "shard-000000.tar") as tar:
        tar.extractall(tmp_path / "plain", filter="data")
    built(tmp_path / "plain", "plain-data")
    with Dataset.open(tmp_path / "data") as packed, Dataset.open(tmp_path / "plain-data") as plain:
        for key in SOUNDS:
            expected = read_db(plain, plain.get(key))
            np.testing.assert_array_equal(read_db(packed, packed.get(f"shard-000000.tar/{key}")), expected)


def test_a_single_tar_file_is_built_from(audio: Path) -> None:
    report = build(audio / "shard-000000.tar", audio.parent / "data", DIGITS, jobs=1)
    with Dataset.open(audio.parent / "data") as dataset:
        assert list(dataset.ids()) == ["a", "b", "c", "d"]
        assert list(dataset.ids({"speaker": "ann"})) == ["a"]
    assert report.built == 4


def test_a_rebuild_reuses_unchanged_tar_files(audio: Path) -> None:
    built(audio)
    write_tar(audio / "shard-000001.tar", {"e.wav": sound(1)})
    report, labels = built(audio)
    assert (report.built, report.reused, len(labels)) == (1, 4, 5)
    write_tar(audio / "shard-000001.tar", {"f.wav": sound(1)})
    report, _ = built(audio)
    assert (report.built, report.reused, report.removed) == (1, 4, 1)


def test_hostile_members_are_named_and_skipped(audio: Path) -> None:
    with tarfile.open(audio / "bad.tar", "w") as tar:
        for name, kind in (
            ("link.wav", tarfile.SYMTYPE),
            ("hard.wav", tarfile.LNKTYPE),
            ("fifo.wav", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        names = ("/abs.wav", "../up.wav", "new\nline.wav", ".hidden.wav", "./ok.wav", "twice.wav", "twice.wav")
        add(tar, [(name, sound(1)) for name in names])
        add(tar, [("no.wav", b"no sound"), ("ok.json", b"[1]"), ("twice.cls", b"\xff"), ("twice.txt", b" " * 2**21)])
    report, labels = built(audio)
    assert {name for name in labels if name.startswith("bad.tar")} == {"bad.tar/ok", "bad.tar/twice"}
    assert {name for name, _ in report.skipped} == {
        "bad.tar//abs.wav", "bad.tar/../up.wav", "bad.tar/fifo.wav", "bad.tar/hard.wav", "bad.tar/link.wav",
        "bad.tar/new\\nline.wav", "bad.tar/ok.json", "bad.tar/twice.cls", "bad.tar/twice.txt",
    }  # fmt: skip
    assert [name for name, _ in report.unreadable] == ["bad.tar/no.wav"]


@pytest.mark.parametrize("n_bytes", [9_000, 5_000, 8_704, 300, 0])
def test_a_truncated_tar_file_keeps_what_was_built_from_it(audio: Path, n_bytes: int) -> None:
    write_tar(audio / "other.tar", {"e.wav": sound(1), "e.cls": b"4"})
    before = built(audio)[1]
    os.truncate(audio / "shard-000000.tar", n_bytes)  # a.wav with its header has 8,704 bytes
    report, labels = built(audio)
    assert labels["shard-000000.tar/b"] == before["shard-000000.tar/b"] == {"cls": 3, "txt": "hello"}
    assert (len(labels), report.removed) == (5, 0)
    assert "is damaged after" in dict(report.skipped)["shard-000000.tar"]


def test_a_damaged_header_keeps_what_was_built_after_it(audio: Path) -> None:
    built(audio)
    with (audio / "shard-000000.tar").open("r+b") as file:
        file.seek(8_704)
        file.write(b"\xff" * 512)
    report, labels = built(audio)
    assert (len(labels), report.kept) == (4, 3)
    assert "is damaged after 1 usable members" in dict(report.skipped)["shard-000000.tar"]


def test_a_member_of_negative_size_ends_the_listing(audio: Path) -> None:
    info = tarfile.TarInfo("minus.wav")
    info.size = -1024
    (audio / "minus.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    assert "negative size" in dict(built(audio)[0].skipped)["minus.tar"]


@pytest.mark.parametrize("size", [100 * 2**30, 2**62])
def test_a_member_that_claims_to_be_huge_is_not_read(audio: Path, size: int) -> None:
    info = tarfile.TarInfo("huge.wav")
    info.size = size
    (audio / "huge.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"RIFF" + bytes(10_000))
    report, labels = built(audio)
    assert len(labels) == 4
    assert "huge.tar/huge.wav" in dict(report.skipped)


def test_a_header_that_claims_to_be_huge_is_not_read(audio: Path) -> None:
    info = tarfile.TarInfo("long name")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 100 * 2**30
    with (audio / "huge.tar").open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(100 * 2**30)  # a sparse file
    report, labels = built(audio)
    assert len(labels) == 4
    assert "a header of more than" in dict(report.skipped)["huge.tar"]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_what_is_no_tar_file_is_named(audio: Path, content: bytes) -> None:
    (audio / "other.tar").write_bytes(content)
    assert "other.tar" in dict(built(audio)[0].skipped)


def test_a_compressed_tar_file_is_said_to_need_unpacking(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/shard.tar.gz").write_bytes(b"x")
    with pytest.raises(DatasetError, match="unpack it: tar -xf"):
        built(tmp_path / "audio")


def test_a_table_chooses_parts_of_members(audio: Path) -> None:
    row = {"file_name": "shard-000000.tar/a.wav", "start": 0.1, "duration": 0.2, "speaker": "bob"}
    (audio / "metadata.jsonl").write_text(json.dumps(row))
    labels = built(audio)[1]
    assert labels["shard-000000.tar/a@0.1-0.3"] == {"speaker": "bob"}
    assert labels["shard-000000.tar/b"] == {"cls": 3, "txt": "hello"}


def test_a_survey_reads_tar_files(audio: Path) -> None:
    found = survey(audio)
    assert (found.recordings, found.readable, found.unreadable) == (4, 4, [])
    assert {one.name for one in found.labels.found} == {"speaker", "pitch", "sure", "cls", "txt"}


def test_a_survey_lists_each_of_many_tar_files_once(tmp_path: Path) -> None:
    for number in range(8):
        write_tar(tmp_path / f"audio/{number}.tar", {f"{key}.wav": sound(number) for key in "abcdef"})
    index_cache = tars._index
    index_cache.cache_clear()
    survey(tmp_path / "audio")
    assert index_cache.cache_info().misses <= 4 * 8  # to find, to open, to measure and to compare them
