"""Pickles that ask for more memory than their size is worth are refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from tests.support.memory import run_measured

from wavemill.dataset.course_pickle import read_ranges
from wavemill.errors import DatasetError

_FUNCTION = b"c_codecs\nencode\n"
_TEXT = b"X" + (2**20).to_bytes(4, "little") + b"x" * 2**20
_LATIN1 = b"X\x06\x00\x00\x00latin1"

HOSTILE = {
    "a memo of 3 GB": b"Nr\xff\xff\xff\x0e0N.",
    "a memo index in digits": b"Np250000000\nN.",
    "bytes of 2 GB": b"B\xff\xff\xff\x7f.",
    "bytes of an exabyte": b"\x8e" + (2**60).to_bytes(8, "little") + b".",
    "a string of an exabyte": b"\x8d" + (2**60).to_bytes(8, "little") + b".",
    "a bytearray of an exabyte": b"\x96" + (2**60).to_bytes(8, "little") + b".",
    "a frame of an exabyte": b"\x95" + (2**60).to_bytes(8, "little") + b".",
    "a number of 2 GB": b"\x8b\xff\xff\xff\x7f.",
    "millions of dicts": b"}" * 8_000_000 + b".",
    "millions of lists": b"]" * 8_000_000 + b".",
    "millions of sets": b"\x8f" * 8_000_000 + b".",
    "millions of copies": b"N" + b"2" * 8_000_000 + b".",
    "millions of memos": b"N" + b"\x94" * 8_000_000 + b".",
    "tuples a million deep as a key": b"})" + b"\x85" * 1_000_000 + b"Ns.",
    "lists a million deep": b"]" * 500_000 + b"a" * 499_999 + b".",
    "a text copied a thousand times": b"(" + _FUNCTION + b"q\x00" + _TEXT + b"q\x010" + _LATIN1 + b"q\x020"
    + b"h\x00h\x01h\x02\x86R" * 1_000 + b"t.",
    "a type whose name doubles": b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(30))
    + b"cnumpy\ndtype\nh\x1e\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_cannot_ask_for_much_memory(tmp_path: Path, name: str) -> None:
    file = tmp_path / "ranges.pkl"
    file.write_bytes(HOSTILE[name])
    said, peak_mib = run_measured(
        f"read_ranges(Path({str(file)!r}))",
        before="from pathlib import Path; from wavemill.dataset.course_pickle import read_ranges",
    )
    assert said.startswith(f"DatasetError: {file}")
    assert "\n" not in said
    assert peak_mib < 200


def test_a_vast_pickle_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    vast, pipe = tmp_path / "vast.pkl", tmp_path / "pipe.pkl"
    vast.touch()
    os.truncate(vast, 20 * 2**30)
    os.mkfifo(pipe)
    with pytest.raises(DatasetError, match=r"vast\.pkl .* expected at most \d+ bytes, received 21474836480"):
        read_ranges(vast)
    with pytest.raises(DatasetError, match=r"pipe\.pkl is not a file"):
        read_ranges(pipe)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_tens_of_thousands_of_recordings_are_read(tmp_path: Path, protocol: int) -> None:
    ranges = {f"/content/spectrograms/7_lucas_{i}.wav.npy": {"min": -60.5 - i, "max": 1.25} for i in range(30_000)}
    file = tmp_path / "ranges.pkl"
    file.write_bytes(pickle.dumps(ranges, protocol=protocol))
    assert read_ranges(file) == {path: (value["min"], value["max"]) for path, value in ranges.items()}
