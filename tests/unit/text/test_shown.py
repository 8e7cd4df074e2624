from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavemill.text.log_lines import LineFormatter
from wavemill.text.shown import is_plain_text, json_text, shown, shown_lines
from wavemill.text.terminal import GuardedStream

ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # surrogates too
MOVES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_that_moves_hides_or_reorders_is_escaped() -> None:
    left = [hex(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in MOVES
            and shown(chr(code)) == chr(code)]  # fmt: skip
    assert left == []


@pytest.mark.parametrize("text", ["Straße", "日本語", "🎵", "naïve é", "العربية", "a\\b", " ", ""])
def test_letters_of_any_script_stay(text: str) -> None:
    assert shown(text) == text
    assert is_plain_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mRED", r"\u001b[31mRED"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x9b31m", r"\u009b31m"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
)
def test_unsafe_characters_are_written_as_json_writes_them(text: str, expected: str) -> None:
    assert shown(text) == expected


@given(ANY_TEXT)
def test_json_reads_back_exactly_and_is_safe(text: str) -> None:
    line = json_text({text: [text]})
    assert json.loads(line) == {text: [text]}
    assert shown(line) == line
    line.encode()


@given(ANY_TEXT)
def test_showing_again_changes_nothing(text: str) -> None:
    assert shown(shown(text)) == shown(text)
    assert shown_lines(shown(text)) == shown(text)


@given(ANY_TEXT)
def test_a_log_record_is_one_line_whatever_is_in_it(text: str) -> None:
    lines = LineFormatter("%(levelname)s %(message)s").format(_record("%s", text)).split("\n")
    assert len(lines) == 1
    assert lines[0].isprintable() or lines[0] == shown(lines[0])


def test_no_line_of_a_traceback_looks_like_a_record() -> None:
    try:
        _fail()
    except ValueError:
        record = _record("failed")
        record.exc_info = sys.exc_info()
    first, *others = LineFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == "ERROR failed"
    assert others
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in "".join(others)
    assert "sesame" not in "".join(others)


def test_a_stream_for_people_hides_secrets_and_one_for_programs_is_exact() -> None:
    for for_people in (True, False):
        raw = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        stream = GuardedStream(raw, for_people=for_people)
        stream.write("a\x1b]0;title\x07 s3://key:sesame@bucket/x\n")
        stream.flush()
        written = raw.buffer.getvalue().decode()
        assert written.startswith("a\\u001b]0;title\\u0007 s3://")
        assert ("sesame" in written) is not for_people


def _fail() -> None:
    raise ValueError("x\nERROR forged \x1b[2J redis://:sesame@host/0")


def _record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.ERROR, "file", 1, message, arguments, None)
