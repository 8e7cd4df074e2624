from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavemill.errors import InvalidIdError
from wavemill.operations.identifiers import validate_id


@pytest.mark.parametrize(
    "good", ["7_george_12", "set a/7", "...", "a..b/.c", "ключ/音", "a" * 250, "é" * 125, "~/x", "-rf"]
)
def test_a_relative_path_is_an_id(good: str) -> None:
    assert validate_id(good) == good


@pytest.mark.parametrize(
    "bad",
    ["", ".", "..", "../x", "a/../b", "a/..", "/etc/passwd", "a//b", "a/", "a\\b", "a\0", "a\nb", "\x7f", "\x9b",
     "\ud800", 7, None, PurePosixPath("a")],
)  # fmt: skip
def test_what_could_leave_its_folder_or_is_no_name_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidIdError, match="not a spectrogram ID"):
        validate_id(bad)


@pytest.mark.parametrize("long", ["a" * 251, "é" * 126, "/".join(["ab"] * 172)])
def test_what_no_file_could_be_named_is_refused_with_its_length(long: str) -> None:
    with pytest.raises(InvalidIdError, match=r"too long for a file's name.*received \d+ and \d+"):
        validate_id(long)


@given(st.text(max_size=60) | st.text(alphabet="./\\a\0", max_size=20))
def test_whatever_passes_stays_below_its_folder(text: str) -> None:
    try:
        validate_id(text)
    except InvalidIdError:
        return
    path = PurePosixPath("root", text + ".wav")
    assert path.is_relative_to("root")
    assert ".." not in path.parts
    assert str(path) == f"root/{text}.wav"
