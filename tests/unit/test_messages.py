"""What is taken for a message, and what is not: anybody may put anything into the broker."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavemill import contract
from wavemill.errors import MessageError
from wavemill.messages import checked_chunk, chunk_in


def raw(*, task: Any = contract.RENDER_CHUNK, args: Any = ("b", 0, 1), kwargs: Any = None, **headers: Any) -> bytes:
    body = base64.b64encode(json.dumps([args, kwargs or {}, {}]).encode()).decode()
    return json.dumps({"body": body, "headers": {"task": task, **headers}}).encode()


def test_a_message_is_read_whatever_its_headers_ask_for() -> None:
    assert chunk_in(raw()) == ("b", 0, 1)
    odd = {"timelimit": "abc", "id": 5, "eta": "no date", "compression": "bzip2", "retries": None, "chord": [[]]}
    assert chunk_in(raw(**odd)) == ("b", 0, 1)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"noise",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b'"wavemill.render_chunk"',
        b"[" * 50_000,
        b"1" * 50_000,
        b'{"headers": {}}',
        b'{"headers": []}',
        b'{"headers": {"task": "wavemill.render_chunk"}}',
        b'{"headers": {"task": "wavemill.render_chunk"}, "body": 7}',
        b'{"headers": {"task": "wavemill.render_chunk"}, "body": "no base64!"}',
        b'{"headers": {"task": "wavemill.render_chunk"}, "body": "bm8="}',
        b'{"headers": {"task": "wavemill.render_chunk"}, "body": "\\ud800"}',
        raw(task="celery.backend_cleanup"),
        raw(task=["wavemill.render_chunk"]),
        raw(kwargs={"first": 1}),
        raw(args=[]),
        raw(args="abc"),
        raw(args={"a": 1, "b": 2, "c": 3}),
        raw(argsrepr="x" * 200_000),
    ],
)
def test_what_is_no_message_is_refused_in_one_short_line(message: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        chunk_in(message)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "arguments",
    [
        ("b", 0),
        ("b", 0, 1, 2),
        (None, 0, 1),
        (7, 0, 1),
        ("", 0, 1),
        ("../b", 0, 1),
        ("b\x00", 0, 1),
        ("b\x1b[2J", 0, 1),
        ("b" * 41, 0, 1),
        ("b", "0", "1"),
        ("b", 0.0, 1.0),
        ("b", False, True),
        ("b", None, 1),
        ("b", -1, 1),
        ("b", 2, 1),
        ("b", 0, contract.MAX_JOBS_IN_CHUNK),
        ("b", 2**31 - 1, 2**31),
        ("b", 0, 10**30),
        ("b", 10**5_000, 10**5_000),
        ("b", float("nan"), 1),
    ],
)
def test_arguments_that_are_no_chunk_never_reach_the_table(arguments: Any) -> None:
    with pytest.raises(MessageError) as caught:
        checked_chunk(arguments)
    assert str(caught.value).isprintable()


def test_the_widest_chunk_that_a_setting_allows_is_taken() -> None:
    widest = ("20260101-120000-deadbeef", 0, contract.MAX_JOBS_IN_CHUNK - 1)
    assert checked_chunk(list(widest)) == widest


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.binary() | _json.map(lambda value: json.dumps(value).encode()) | _json.map(lambda value: raw(args=value)))
def test_nothing_but_a_chunk_or_a_message_error_ever_comes_of_it(message: bytes) -> None:
    try:
        batch_id, first, last = chunk_in(message)
    except MessageError:
        return
    assert isinstance(batch_id, str)
    assert 0 <= first <= last < first + contract.MAX_JOBS_IN_CHUNK
