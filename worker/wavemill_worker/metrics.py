"""The figures of one supervisor and its processes, for Prometheus, and the server that hands them out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from wavemill.errors import SettingsError
from wavemill_worker.meter import FOLDER_VARIABLE, SLOT_VARIABLE

if TYPE_CHECKING:
    from wavemill_worker.supervisor import Processes

# Enough for all figures. The space is taken beforehand: in a file with holes, a full disk would kill a child.
_FILE_BYTES = 128 * 1024


class Metrics:
    """Hands out figures at `http://HOST:PORT/metrics` until closed. Anybody who reaches the port may read them."""

    def __init__(self, host: str, port: int) -> None:
        self._owned = tempfile.TemporaryDirectory(prefix="wavemill-metrics-", ignore_cleanup_errors=True)
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, self._owned.name)  # type: ignore[no-untyped-call]
        try:
            self._server, self._thread = start_http_server(port, host, self._registry)
        except OSError as exc:
            self._owned.cleanup()
            raise SettingsError(
                f"cannot serve metrics on {host} port {port}: {exc.strerror or exc}; choose another with --metrics"
            ) from exc
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def environment(self, slot: int) -> dict[str, str]:
        """Make the files of a slot, and return the variables by which its children find them."""
        for kind in ("counter", "histogram"):
            file = os.open(Path(self._owned.name, f"{kind}_{slot}.db"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, 0, _FILE_BYTES)
            finally:
                os.close(file)
        return {FOLDER_VARIABLE: self._owned.name, SLOT_VARIABLE: str(slot)}

    def watch(self, look: Callable[[], Processes]) -> None:
        """Hand out what `look` says of the processes too."""
        self._registry.register(_ProcessCollector(look))

    def close(self) -> None:
        """Stop the server and remove the files."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._owned.cleanup()


class _ProcessCollector(Collector):
    def __init__(self, look: Callable[[], Processes]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield the supervisor's own figures."""
        seen = self._look()
        alive = GaugeMetricFamily("wavemill_worker_processes", "Processes that run, by device.", labels=["device"])
        for device, count in seen.alive.items():
            alive.add_metric([device], count)
        yield alive
        yield CounterMetricFamily("wavemill_worker_deaths", "Rendering processes that died.", seen.deaths)
        yield CounterMetricFamily("wavemill_worker_restarts", "Message loops that ended by themselves.", seen.restarts)
