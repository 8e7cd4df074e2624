"""What a rebuild does about recordings of which it cannot know whether they are there."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.folders import when_listed

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import BuildReport, build
from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError
from wavemill.presets import preset

from .conftest import RATE_HZ, write_noise

DIGITS = preset("digits")


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Thirty recordings, a third of them in a folder of their own."""
    folder = tmp_path / "audio"
    for seed in range(20):
        write_noise(folder / f"{seed:02}.wav", seed=seed)
    for seed in range(10):
        write_noise(folder / "sub" / f"{seed:02}.wav", seed=100 + seed)
    return folder


def ids_of(folder: Path) -> set[str]:
    """Return the IDs, after having read every spectrogram."""
    with Dataset.open(folder) as opened:
        for entry in opened.get_many(list(opened.ids())).values():
            read_spectrogram(opened, entry)
        return set(opened.ids())


def counts(report: BuildReport) -> tuple[int, int, int, int]:
    return report.built, report.reused, report.removed, report.kept


def self_link(path: Path) -> None:
    path.symlink_to(path.name)


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def no_sound(path: Path) -> None:
    path.write_text("no sound")


def empty_file(path: Path) -> None:
    path.touch()


def read_error(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # a regular file; to read it from its start is EIO


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("become", [self_link, dangling_link, no_sound, empty_file, read_error])
def test_what_was_built_from_a_file_that_cannot_be_read_now_is_kept(
    audio: Path, target: Path, become: Callable[[Path], None], packed: bool
) -> None:
    build(audio, target, DIGITS, packed=packed)
    before = ids_of(target)
    for name in ("05.wav", "sub/03.wav"):
        (audio / name).unlink()
        become(audio / name)
    report = build(audio, target, DIGITS)
    assert counts(report) == (0, 28, 0, 2)
    assert [path for path, _ in report.skipped + report.unreadable] == ["05.wav", "sub/03.wav"]
    assert ids_of(target) == before


def test_links_to_themselves_are_skipped_one_by_one(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS)
    for k in range(50):
        self_link(audio / f"loop-{k}")
    self_link(audio / "sub/loop.wav")
    report = build(audio, target, DIGITS)
    assert counts(report) == (0, 30, 0, 0)
    assert len(report.skipped) == 51
    assert report.skipped[0] == ("loop-0", "cannot be examined: Too many levels of symbolic links")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG])
def test_a_folder_that_cannot_be_listed_keeps_what_was_built_from_it(audio: Path, target: Path, number: int) -> None:
    build(audio, target, DIGITS)
    (audio / "sub/00.wav").unlink()  # nobody can see it

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    with when_listed(audio / "sub", fail):
        report = build(audio, target, DIGITS, prune=True)
    assert counts(report) == (0, 20, 0, 10)
    assert report.skipped == [("sub", f"cannot be listed: {os.strerror(number)}")]
    assert counts(build(audio, target, DIGITS)) == (0, 29, 1, 0)


def test_a_folder_that_vanishes_before_it_is_listed_keeps_what_was_built_from_it(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS)
    with when_listed(audio / "sub", lambda: shutil.rmtree(audio / "sub")):
        report = build(audio, target, DIGITS)
    assert counts(report) == (0, 20, 0, 10)
    assert report.skipped == [("sub", "cannot be listed: No such file or directory")]
    assert counts(build(audio, target, DIGITS, prune=True)) == (0, 20, 10, 0)


def test_a_path_that_has_become_too_long_is_no_sign_that_its_file_is_gone(
    audio: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = Path(*["d" * 200] * 2)
    write_noise(audio / deep / "x.wav", seed=7)
    build(audio, target, DIGITS)
    monkeypatch.chdir(audio)
    for _ in range(19):  # away from here, 3,800 characters down
        Path("e" * 200).mkdir()
        os.chdir("e" * 200)
    for entry in audio.iterdir():
        if entry.name[0] != "e":
            entry.rename(entry.name)
    root = audio.joinpath(*["e" * 200] * 19)
    report = build(root, target, DIGITS)
    assert counts(report) == (0, 30, 0, 1)
    assert report.skipped[0][1].endswith(": File name too long")


def test_a_folder_that_cannot_be_looked_at_is_an_error_in_a_sentence(tmp_path: Path, target: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot be read: File name too long$"):
        build(tmp_path / ("n" * 300), target, DIGITS)
    assert not target.exists()


def test_a_folder_that_is_empty_may_be_a_disk_that_is_not_mounted(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS)
    shutil.rmtree(audio / "sub")
    (audio / "sub").mkdir()
    report = build(audio, target, DIGITS)
    assert counts(report) == (0, 20, 0, 10)
    assert report.skipped[0][0] == "sub"
    assert "is empty, as if its disk were not mounted; 10 spectrograms" in report.skipped[0][1]
    assert counts(build(audio, target, DIGITS, prune=True)) == (0, 20, 10, 0)


def test_a_link_in_the_place_of_a_folder_keeps_what_was_built_from_it(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS)
    (audio / "sub").rename(audio.parent / "elsewhere")
    (audio / "sub").symlink_to(audio.parent / "elsewhere")
    assert counts(build(audio, target, DIGITS)) == (0, 20, 0, 10)


def test_what_is_no_file_any_more_is_gone(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS)
    for name in ("00.wav", "01.wav", "02.wav"):
        (audio / name).unlink()
    (audio / "00.wav").mkdir()
    os.mkfifo(audio / "01.wav")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(audio / "02.wav"))
        report = build(audio, target, DIGITS)
    assert counts(report) == (0, 27, 3, 0)
    assert report.skipped == [("01.wav", "is not a regular file"), ("02.wav", "is not a regular file")]


def test_a_rebuild_that_would_remove_a_fifth_changes_nothing_and_wants_prune(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    for k in range(6):
        (audio / f"{k:02}.wav").unlink()
    write_noise(audio / "new.wav")
    with pytest.raises(DatasetError, match=r"^6 of the 30 spectrograms in .*, such as '00': .* add --prune") as refused:
        build(audio, target, DIGITS)
    assert "\n" not in str(refused.value)
    after = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert {path for path in before if before[path] != after.get(path)} <= {target / "index.sqlite"}
    assert len(ids_of(target)) == 30
    assert counts(build(audio, target, DIGITS, prune=True)) == (1, 24, 6, 0)


@pytest.mark.parametrize("n_gone", [1, 5])
def test_a_few_recordings_that_are_gone_need_no_prune(audio: Path, target: Path, n_gone: int) -> None:
    build(audio, target, DIGITS)
    for k in range(n_gone):
        (audio / f"{k:02}.wav").unlink()
    assert counts(build(audio, target, DIGITS)) == (0, 30 - n_gone, n_gone, 0)


def test_another_folder_of_recordings_does_not_replace_the_first(audio: Path, target: Path, tmp_path: Path) -> None:
    build(audio, target, DIGITS)
    write_noise(tmp_path / "other/a.wav")
    with pytest.raises(DatasetError, match="30 of the 30 spectrograms"):
        build(tmp_path / "other", target, DIGITS)
    assert len(ids_of(target)) == 30


@pytest.mark.parametrize("bad", [no_sound, empty_file, self_link, dangling_link, read_error])
def test_a_file_that_cannot_be_read_does_not_hide_a_good_one_of_the_same_id(
    audio: Path, target: Path, bad: Callable[[Path], None]
) -> None:
    bad(audio / "05.flac")
    bad(audio / "06.aiff")
    bad(audio / "06.flac")
    report = build(audio, target, DIGITS)
    assert (report.built, len(report.skipped) + len(report.unreadable)) == (30, 3)
    assert counts(build(audio, target, DIGITS)) == (0, 30, 0, 0)
    assert ids_of(target) >= {"05", "06"}


def test_of_two_good_files_of_one_id_the_second_is_named_beside_a_bad_one(audio: Path, target: Path) -> None:
    no_sound(audio / "05.aiff")
    shutil.copy(audio / "06.wav", audio / "05.ogg")
    report = build(audio, target, DIGITS)
    assert [path for path, _ in report.unreadable] == ["05.aiff"]
    assert report.skipped == [("05.wav", "would have the same ID '05' as 05.ogg; rename one of them")]


@pytest.mark.parametrize("become", [self_link, dangling_link, no_sound, empty_file, read_error])
def test_what_was_built_from_a_file_is_not_replaced_by_another_of_its_id(
    audio: Path, target: Path, become: Callable[[Path], None]
) -> None:
    write_noise(audio / "05.flac", seed=77)
    build(audio, target, DIGITS)
    with Dataset.open(target) as opened:
        before = opened.get("05")
    (audio / "05.flac").unlink()
    become(audio / "05.flac")
    assert counts(build(audio, target, DIGITS)) == (0, 29, 0, 1)
    with Dataset.open(target) as opened:
        assert opened.get("05") == before
    (audio / "05.flac").unlink()
    assert counts(build(audio, target, DIGITS)) == (1, 29, 0, 0)


def test_a_spectrogram_without_numbers_is_not_kept_for_a_recording_that_cannot_be_read(
    audio: Path, target: Path
) -> None:
    build(audio, target, DIGITS)
    (target / "spectrograms/05.npy").unlink()
    no_sound(audio / "05.wav")
    assert counts(build(audio, target, DIGITS)) == (0, 29, 0, 0)
    assert "05" not in ids_of(target)


def test_junk_of_systems_is_ignored_and_real_problems_are_named(audio: Path, target: Path) -> None:
    apple = b"\0\5\26\7\0\2\0\0Mac OS X        "
    for name in ("._00.wav", "sub/._00.wav", ".DS_Store", ".hidden.wav", ".trash/x.wav", "__MACOSX/x.wav", "Thumbs.db"):
        (audio / name).parent.mkdir(exist_ok=True)
        (audio / name).write_bytes(apple)
    (audio / "@eaDir/00.wav").mkdir(parents=True)
    empty_file(audio / "z.wav")
    report = build(audio, target, DIGITS)
    assert (report.built, report.ignored, report.skipped) == (30, 8, [])
    assert [path for path, _ in report.unreadable] == ["z.wav"]


def test_nothing_infinite_enters_the_index(audio: Path, target: Path) -> None:
    for name, value in (("a", 1e30), ("b", -3e38), ("c", np.inf), ("d", np.nan)):
        signal = np.full((1_000, 2), 0.1, dtype=np.float32)
        signal[500] = value
        soundfile.write(audio / f"{name}.wav", signal, RATE_HZ, subtype="FLOAT")
    report = build(audio, target, DIGITS)
    assert (report.built, [path for path, _ in report.unreadable]) == (30, ["a.wav", "b.wav", "c.wav", "d.wav"])
    with Dataset.open(target) as opened:
        entries = opened.get_many(list(opened.ids())).values()
    assert np.isfinite([entry.scale for entry in entries]).all()


@pytest.mark.parametrize("packed", [False, True])
def test_what_stands_in_the_place_of_an_array_ends_no_rebuild(audio: Path, target: Path, packed: bool) -> None:
    build(audio, target, DIGITS, packed=packed)
    (target / "spectrograms/05.npy").unlink(missing_ok=True)
    (target / "spectrograms/05.npy").mkdir()
    (audio / "05.wav").unlink()
    assert counts(build(audio, target, DIGITS)) == (0, 29, 1, 0)
