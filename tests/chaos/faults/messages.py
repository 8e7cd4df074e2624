"""What may stand in the broker's lists: messages that came before, and anything else."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import redis
from chaos.arena import Arena

from wavemill import contract

_NOBODY = "19700101-000000-00000000"  # a batch that there is not


def repeat(arena: Arena, chance: random.Random) -> str:
    """Send messages that were sent before, whatever became of them, each twice."""
    batch = arena.batch
    assert batch is not None
    total, size = batch.status()["total"], arena.producer.settings.chunk_size
    starts = chance.choices(range(0, total, size), k=10)
    raws = [encode(message([batch.id, start, min(start + size, total) - 1])) for start in starts for _ in range(2)]
    return f"{len(starts)}, twice each" if _push(arena, chance, raws) else "the broker was gone"


def send_bad_ones(arena: Arena, chance: random.Random) -> str:
    """Send one of each bad kind, to every list."""
    raws = list(bad_messages())
    return f"{len(raws)} kinds" if _push(arena, chance, raws) else "the broker was gone"


def _push(arena: Arena, chance: random.Random, raws: list[bytes]) -> bool:
    client = arena.redis()
    try:
        for raw in raws:
            client.lpush(chance.choice(lists()), raw)
    except redis.RedisError:
        return False
    finally:
        client.close()
    return True


def lists() -> list[str]:
    """Return the names of the lists in which messages wait: Kombu has one for each priority but the first."""
    return [contract.QUEUE, *(f"{contract.QUEUE}\x06\x16{priority}" for priority in range(1, 10))]


def message(args: Any, *, headers: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    """Return a message as Celery sends them, but for what is given."""
    tag = str(uuid.uuid4())
    body = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": contract.RENDER_CHUNK,
            "id": tag,
            "root_id": tag,
            "parent_id": None,
            "group": None,
            "argsrepr": "",
            "kwargsrepr": "",
            "ignore_result": True,
            "retries": 0,
            "timelimit": [None, None],
            "eta": None,
            "expires": None,
            **(headers or {}),
        },
        "properties": {
            "correlation_id": tag,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": contract.QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": tag,
            **properties,
        },
    }


def encode(content: Any) -> bytes:
    """Return what stands in the list."""
    return json.dumps(content).encode()


def bad_messages() -> Iterator[bytes]:
    """Yield one message of each bad kind: no JSON, no envelope, bad headers, bad properties, bad arguments."""
    yield from (b"", b"\xff\xfe\x00garbage", b"not json", b"null", b"17", b"[]", b"{}", b'"text"', b"[" * 5_000)
    good = [_NOBODY, 0, 1]
    for name, value in _BAD_HEADERS:
        yield encode(message(good, headers={name: value}))
    for name, value in _BAD_PROPERTIES:
        yield encode(message(good, **{name: value}))
    for args in _BAD_ARGUMENTS:
        yield encode(message(args))
    for key in ("body", "headers", "properties", "content-type", "content-encoding"):
        whole = message(good)
        yield encode({name: value for name, value in whole.items() if name != key})
        yield encode({**whole, key: 5})
    yield encode({**message(good), "body": "!" * 50})
    yield encode({**message(good), "content-type": "application/x-python-serialize"})
    yield encode({**message(good), "content-encoding": "no-such-coding"})
    yield encode({**message(good), "body": base64.b64encode(b"[" * 5_000).decode()})


_BAD_HEADERS: tuple[tuple[str, Any], ...] = (
    ("timelimit", "abc"),
    ("timelimit", ["x", "y"]),
    ("timelimit", 5),
    ("eta", "yesterday"),
    ("eta", {"a": 1}),
    ("eta", "2999-01-01T00:00:00"),
    ("expires", "never"),
    ("expires", [1]),
    ("retries", "many"),
    ("task", None),
    ("task", "no.such.task"),
    ("task", {"a": 1}),
    ("id", None),
    ("id", ["a"]),
    ("lang", 3),
    ("argsrepr", {"a": 1}),
    ("group", 17),
    ("compression", "no-such-compression"),
    ("stamps", "x"),
)
_BAD_PROPERTIES: tuple[tuple[str, Any], ...] = (
    ("delivery_tag", None),
    ("delivery_tag", {"a": 1}),
    ("delivery_info", None),
    ("delivery_info", "x"),
    ("priority", "high"),
    ("body_encoding", "rot13"),
    ("body_encoding", 7),
    ("reply_to", 7),
    ("correlation_id", [1]),
)
_BAD_ARGUMENTS: tuple[Any, ...] = (
    None,
    "text",
    {},
    [],
    [_NOBODY],
    [_NOBODY, "0", "1"],
    [_NOBODY, None, None],
    [None, 0, 1],
    [_NOBODY, 0, 10**30],
    [_NOBODY, -(10**30), 1],
    [_NOBODY, 0.5, 1.5],
    [["x"], 0, 1],
    ["\x00", 0, 1],
    ["x" * 100_000, 0, 1],
    [_NOBODY, 0, 1, 2],
    [_NOBODY, 5, 1],
)

EVENTS = {
    "repeat messages": repeat,
    "send bad messages": send_bad_ones,
}
