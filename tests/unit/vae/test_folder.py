from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from wavemill.errors import ModelError, OutputError
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.finding import find_model
from wavemill.vae.folder.record import RECOGNISER_FILE, RECORD_FILE
from wavemill.vae.folder.replacement import read_steadily
from wavemill.vae.folder.writing import require_writable, write_folder


def write(folder: Path, text: str, *, record_file: str = RECORD_FILE, more: tuple[str, ...] = ()) -> None:
    def write_files(written: Path) -> None:
        for name in (record_file, "weights.npz", *more):
            (written / name).write_text(text)

    write_folder(folder, write_files, record_file=record_file)


def content(folder: Path) -> set[str]:
    verify(folder)
    return {(folder / name).read_text() for name in (RECORD_FILE, "weights.npz")}


def test_a_folder_that_is_written_again_holds_the_new_files_and_what_was_somebodys(tmp_path: Path) -> None:
    write(tmp_path / "m", "old", more=("latents.npz",))
    (tmp_path / "m" / ".training").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("mine")
    write(tmp_path / "m", "new")
    assert content(tmp_path / "m") == {"new"}
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == [
        ".training",
        "SHA256",
        "model.json",
        "notes.txt",
        "weights.npz",
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o777 & ~_umask(), "for others too"


def _umask() -> int:
    import os

    os.umask(mask := os.umask(0))
    return mask


def test_what_fails_half_way_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    write(tmp_path / "m", "old")

    def fail(written: Path) -> None:
        (written / RECORD_FILE).write_text("new")
        raise OSError("no space left on device")

    with pytest.raises(OutputError, match="no space"):
        write_folder(tmp_path / "m", fail)
    assert content(tmp_path / "m") == {"old"}
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "m", "model")
    with pytest.raises(OutputError, match="holds a model"):
        write(tmp_path / "m", "ear", record_file=RECOGNISER_FILE)
    assert content(tmp_path / "m") == {"model"}
    write(tmp_path / "ear", "ear", record_file=RECOGNISER_FILE)
    with pytest.raises(OutputError, match="holds a recogniser"):
        require_writable(tmp_path / "ear")


def test_that_a_folder_cannot_be_written_is_noticed_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "m"):
        with pytest.raises(OutputError, match="cannot be written"):
            require_writable(folder)
    require_writable(tmp_path / "new" / "m")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real", "old")
    (tmp_path / "m").symlink_to("real")
    write(tmp_path / "m", "new")
    assert (tmp_path / "m").is_symlink()
    assert content(tmp_path / "real") == {"new"}


def test_readers_find_one_whole_folder_however_often_it_is_replaced(tmp_path: Path) -> None:
    folder, done = tmp_path / "m", threading.Event()
    write(folder, "0")
    seen, failures = set(), []

    def read() -> None:
        while not done.is_set():
            try:
                texts = read_steadily(find_model("m", tmp_path), content)
            except Exception as exc:
                failures.append(exc)
                return
            assert len(texts) == 1, "files of two folders"
            seen.update(texts)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(150):
        write(folder, str(number))
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(seen) > 1


def test_a_folder_that_is_not_there_and_stays_away_is_said_so_at_once(tmp_path: Path) -> None:
    reads = []

    def read(folder: Path) -> None:
        reads.append(folder)
        raise ModelError("nothing there")

    with pytest.raises(ModelError, match="nothing there"):
        read_steadily(tmp_path / "m", read)
    assert len(reads) == 1


def test_a_folder_in_the_moment_between_two_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path / ".m-abc" / "new", "new")
    reads = []

    def read(folder: Path) -> str:
        reads.append(folder)
        if not folder.exists():
            (tmp_path / ".m-abc" / "new").rename(folder)  # as the writer does a moment later
            raise ModelError("nothing there")
        return json.dumps(sorted(content(folder)))

    assert read_steadily(tmp_path / "m", read) == '["new"]'
    assert len(reads) == 2
