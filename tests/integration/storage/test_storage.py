from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from wavemill.errors import OutputError, StorageError, StorageUnavailableError
from wavemill.storage.folder import FolderStore
from wavemill.storage.locations import is_url, opened
from wavemill.storage.objects import UrlStore
from wavemill.storage.stores import open_store


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_an_output_appears_whole_and_only_when_it_is_placed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    staged = store.stage("generated/set a/7.wav", b"sound", token="w1-1-1")
    final = tmp_path / "out/generated/set a/7.wav"
    assert staged.path == str(final)
    assert not final.exists()
    assert len(_files(tmp_path / "out/.staging")) == 1
    staged.place()
    assert final.read_bytes() == b"sound"
    assert _files(tmp_path / "out/.staging") == []


@pytest.mark.parametrize("root", ["{folder}/out", "memory://{name}"])
def test_what_is_discarded_is_gone_and_what_was_placed_stays(tmp_path: Path, root: str) -> None:
    location = root.format(folder=tmp_path, name=uuid.uuid4().hex)
    store = open_store(location)
    given_up, placed = (store.stage(f"generated/{k}.wav", b"sound", token=f"{k}.1.generated") for k in (7, 8))
    placed.place()
    for staged in (given_up, placed):
        staged.discard()
    file_system, inner = fsspec.core.url_to_fs(location)
    assert [path.rpartition("/")[2] for path in file_system.find(inner)] == ["8.wav"]


def test_a_discard_leaves_what_another_attempt_has_placed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    late, done = (store.stage("7.wav", b"sound", token=token) for token in ("a", "b"))
    done.place()
    late.discard()
    assert _files(tmp_path) == ["7.wav"]


def test_placing_is_a_rename_so_that_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.stage("7.wav", b"first", token="a").place()
    second = store.stage("7.wav", b"second", token="b")
    inode = next((tmp_path / ".staging").iterdir()).stat().st_ino
    with (tmp_path / "7.wav").open("rb") as reader:
        second.place()
        assert reader.read() == b"first"
    assert (tmp_path / "7.wav").stat().st_ino == inode
    assert (tmp_path / "7.wav").read_bytes() == b"second"


def test_placing_again_after_a_lost_commit_changes_nothing(tmp_path: Path) -> None:
    staged = FolderStore(tmp_path).stage("7.wav", b"sound", token="a")
    staged.place()
    staged.place()
    assert _files(tmp_path) == ["7.wav"]


def test_two_attempts_at_one_output_stage_apart(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first, second = (store.stage("7.wav", data, token=token) for data, token in [(b"1", "a"), (b"2", "b")])
    assert len(_files(tmp_path / ".staging")) == 2
    second.place()
    assert (tmp_path / "7.wav").read_bytes() == b"2"
    first.place()
    assert (tmp_path / "7.wav").read_bytes() == b"1"


def test_nothing_behind_a_link_is_removed(tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    for folder in (elsewhere, out / "original"):
        folder.mkdir(parents=True)
        (folder / "a.wav").write_bytes(b"sound")
    (out / "generated").symlink_to(elsewhere)
    with FolderStore(out).removing() as remove:
        remove("generated/a.wav")
        remove("original/a.wav")
    assert (elsewhere / "a.wav").read_bytes() == b"sound"
    assert not (out / "original" / "a.wav").exists()


def test_clearing_removes_what_the_dead_have_staged_and_no_output(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.stage("done.wav", b"1", token="a").place()
    store.stage("dead.wav", b"2", token="b")
    store.clear_staging()
    store.clear_staging()
    assert _files(tmp_path) == ["done.wav"]
    assert not (tmp_path / ".staging").exists()


def test_a_store_goes_on_when_another_process_has_cleared_the_staging(tmp_path: Path) -> None:
    here, elsewhere = FolderStore(tmp_path), FolderStore(tmp_path)
    here.stage("sub/1.wav", b"1", token="a").place()
    elsewhere.clear_staging()
    here.stage("sub/2.wav", b"2", token="b").place()
    (tmp_path / "sub/1.wav").unlink()
    (tmp_path / "sub/2.wav").unlink()
    staged = here.stage("sub/3.wav", b"3", token="c")
    (tmp_path / "sub").rmdir()  # somebody tidied up
    staged.place()
    assert (tmp_path / "sub/3.wav").read_bytes() == b"3"


def test_what_was_staged_and_cleared_is_a_transient_error(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    staged = store.stage("7.wav", b"1", token="a")
    FolderStore(tmp_path).clear_staging()
    with pytest.raises(StorageUnavailableError, match=r"7\.wav"):
        staged.place()


def test_an_id_as_long_as_a_file_name_may_be_can_be_staged(tmp_path: Path) -> None:
    name = f"generated/{'音' * 80}.wav"  # 244 bytes, in a token's company more than a file's name may have
    FolderStore(tmp_path).stage(name, b"1", token=f"{'host' * 20}-cpu-12345-abcdef-1-1-generated").place()
    assert (tmp_path / name).read_bytes() == b"1"


def test_a_full_disk_is_transient_and_leaves_no_half_file_behind(tiny_disk: Path) -> None:
    store = FolderStore(tiny_disk)
    store.stage("small.wav", bytes(4096), token="a").place()
    with pytest.raises(StorageUnavailableError, match="No space left"):
        store.stage("big.wav", bytes(200_000), token="b")
    assert _files(tiny_disk) == ["small.wav"]
    store.stage("fits.wav", bytes(4096), token="c").place()
    assert _files(tiny_disk) == ["fits.wav", "small.wav"]


def test_a_file_beyond_the_processs_limit_is_a_permanent_error(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path; from wavemill.storage.stores import FolderStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "FolderStore(Path(sys.argv[1])).stage('a.wav', bytes(5000), token='t')\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "OutputError: cannot write" in run.stderr
    assert "File too large" in run.stderr
    assert _files(tmp_path) == []


@pytest.mark.parametrize("path", ["generated/7.wav", "blocked"])
def test_a_file_where_a_folder_should_be_is_a_permanent_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "generated").write_text("I was here first")
    (tmp_path / "blocked").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        FolderStore(tmp_path).stage(path, b"1", token="a").place()


def test_an_output_root_that_is_a_file_is_a_permanent_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="choose another --output"):
        open_store(str(tmp_path / "out")).stage("7.wav", b"1", token="a")


@pytest.mark.parametrize("scheme", ["memory", "local"])
def test_a_url_store_puts_an_output_aside_and_moves_it_when_it_is_placed(tmp_path: Path, scheme: str) -> None:
    root = f"{scheme}://{tmp_path}/batch"
    store = open_store(root)
    staged, dead = (store.stage("generated/set/7.wav", b"sound", token=token) for token in "ab")
    assert staged.path == f"{root}/generated/set/7.wav"
    file_system, inner = fsspec.core.url_to_fs(root)
    assert len(file_system.find(f"{inner}/.staging")) == 2
    assert not file_system.exists(f"{inner}/generated/set/7.wav")
    staged.place()
    staged.place()
    store.clear_staging()
    assert [path.removeprefix(inner) for path in file_system.find(inner)] == ["/generated/set/7.wav"]
    assert file_system.cat_file(f"{inner}/generated/set/7.wav") == b"sound"
    with pytest.raises(StorageUnavailableError):
        dead.place()


def test_a_file_url_is_a_folder_and_its_outputs_are_renamed_into_place(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/out put")
    store.stage("generated/7.wav", b"1", token="a").place()
    assert (tmp_path / "out put/generated/7.wav").read_bytes() == b"1"


def test_a_url_without_its_library_or_of_no_known_kind_is_a_permanent_error() -> None:
    with pytest.raises(OutputError, match="nowhere://"):
        open_store("nowhere://bucket/x")


def test_what_nobody_knows_of_an_object_store_costs_attempts_and_is_no_outage() -> None:
    class Refusing(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "refusing"

        def pipe_file(self, *_: object, **__: object) -> None:
            raise RuntimeError("403 from the bucket")

    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(StorageError, match="403 from the bucket"):
        UrlStore("refusing://bucket").stage("7.wav", b"1", token="a")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/x", True),
        ("out/x", False),
        ("/a:b/c", False),
        ("/a://b", False),
        ("a b://c", False),
        ("simplecache::s3://b/x", True),
    ],
)
def test_urls_are_told_from_paths(location: str, expected: bool, tmp_path: Path) -> None:
    assert is_url(location) is expected


@pytest.mark.parametrize(
    ("location", "inner"),
    [
        ("memory://a::b/c.wav", "/a::b/c.wav"),
        ("memory://a/b::memory/c::d.wav", "/a/b::memory/c::d.wav"),
        ("memory://a/b c#d?e%20f.wav", "/a/b c#d?e%20f.wav"),
        ("simplecache::memory://a/b.wav", "/a/b.wav"),
        ("simplecache::memory://a/b::c.wav", "/a/b::c.wav"),
    ],
)
def test_double_colons_chain_only_before_a_scheme(location: str, inner: str) -> None:
    fsspec.filesystem("memory").pipe_file(inner, b"sound")
    with opened(location) as file:
        assert file.read() == b"sound"
    fsspec.filesystem("memory").rm_file(inner)


@pytest.mark.parametrize("name", ["a::b", "zip::memory::x", "what?", "50%41", "#1"])
def test_a_file_of_any_name_is_opened_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"sound")
    for location in (str(tmp_path / name), f"file://{tmp_path / name}"):
        with opened(location) as file:
            assert file.read() == b"sound"


def test_every_kind_of_error_is_translated_at_the_seam(tmp_path: Path) -> None:
    store: Callable[..., object] = FolderStore(tmp_path).stage
    with pytest.raises(OutputError, match="File name too long"):
        store("x" * 300 + ".wav", b"1", token="a").place()  # type: ignore[attr-defined]
