"""Where a million spectrograms could be kept: what one costs to write, list, copy and read, in each container.

    python -m benchmarks.containers [--spectrograms 4000] [--rounds 3] [--folder DIR]

Prints one Markdown table. Every read is checked as `read_spectrogram` checks: SHA-256, then least and greatest value.
"Cold" is after the files' pages were given up and, for root, the kernel's list of names too. Zarr and Arrow are left
out unless the packages zarr and pyarrow are installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from wavemill.arrays import FloatArray

try:
    import zarr
except ImportError:
    zarr = None
try:
    import pyarrow as pa
except ImportError:
    pa = None

Read = Callable[[int], "bytes | memoryview"]

SHAPE = (128, 128)
ITEM_BYTES = 4 * SHAPE[0] * SHAPE[1]
_PACK = 64  # spectrograms in one pack
_SHARD = 1_024  # in one shard of Zarr, one batch of Arrow
_CHUNK = 64  # jobs of one message
_READS = 2_048


@dataclass(frozen=True, kw_only=True)
class Container:
    """A way to keep spectrograms in a folder."""

    name: str
    write: Callable[[Path, int], None]
    open: Callable[[Path], Read]


def spectrogram(i: int) -> FloatArray:
    """Return an array that differs by number."""
    x = np.roll(_RAMP, i)
    x[0, 0] = (i % 997) / 997
    return x


_RAMP = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)


def write_files(folder: Path, n: int) -> None:
    for i in range(n):
        with (folder / f"{i % 10}_speaker_{i}.npy").open("wb") as file:
            np.save(file, spectrogram(i), allow_pickle=False)


def open_files(folder: Path) -> Read:
    def read(i: int) -> memoryview:
        with open(f"{folder}/{i % 10}_speaker_{i}.npy", "rb", buffering=0) as file:  # noqa: PTH123  measured
            return memoryview(file.read())[128:]

    return read


def write_packs(folder: Path, n: int) -> None:
    for first in range(0, n, _PACK):
        pack = np.stack([spectrogram(i) for i in range(first, min(first + _PACK, n))])
        np.save(folder / f"{first // _PACK}.npy", pack, allow_pickle=False)


def open_packs(folder: Path) -> Read:
    def read(i: int) -> bytes:
        descriptor = os.open(f"{folder}/{i // _PACK}.npy", os.O_RDONLY)
        try:
            return os.pread(descriptor, ITEM_BYTES, 128 + i % _PACK * ITEM_BYTES)
        finally:
            os.close(descriptor)

    return read


def write_hdf5(folder: Path, n: int) -> None:
    with h5py.File(folder / "all.h5", "w") as file:
        dataset = file.create_dataset("x", (n, *SHAPE), np.float32, chunks=(1, *SHAPE))
        for first in range(0, n, _PACK):
            pack = np.stack([spectrogram(i) for i in range(first, min(first + _PACK, n))])
            dataset[first : first + len(pack)] = pack


def open_hdf5(folder: Path) -> Read:
    dataset = h5py.File(folder / "all.h5")["x"]
    return lambda i: memoryview(dataset[i]).cast("B")


def write_sqlite(folder: Path, n: int) -> None:
    connection = sqlite3.connect(folder / "all.sqlite")
    connection.execute("PRAGMA page_size = 32768")
    connection.execute("CREATE TABLE spectrograms (id INTEGER PRIMARY KEY, x BLOB)")
    for first in range(0, n, _PACK):
        with connection:
            rows = ((i, spectrogram(i).tobytes()) for i in range(first, min(first + _PACK, n)))
            connection.executemany("INSERT INTO spectrograms VALUES (?, ?)", rows)
    connection.close()


def open_sqlite(folder: Path) -> Read:
    connection = sqlite3.connect(f"{(folder / 'all.sqlite').as_uri()}?mode=ro", uri=True, check_same_thread=False)
    query = "SELECT x FROM spectrograms WHERE id = ?"
    return lambda i: connection.execute(query, (i,)).fetchone()[0]


def write_zarr(folder: Path, n: int) -> None:
    array = zarr.create_array(
        folder / "all.zarr",
        shape=(n, *SHAPE),
        dtype="f4",
        chunks=(1, *SHAPE),
        shards=(_SHARD, *SHAPE),
        compressors=None,
    )
    for first in range(0, n, _SHARD):
        array[first : first + _SHARD] = np.stack([spectrogram(i) for i in range(first, min(first + _SHARD, n))])


def open_zarr(folder: Path) -> Read:
    array = zarr.open_array(folder / "all.zarr", mode="r")
    return lambda i: memoryview(array[i]).cast("B")


def write_arrow(folder: Path, n: int) -> None:
    schema = pa.schema([("x", pa.binary(ITEM_BYTES))])
    with pa.OSFile(str(folder / "all.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for first in range(0, n, _SHARD):
            items = [spectrogram(i).tobytes() for i in range(first, min(first + _SHARD, n))]
            writer.write_batch(pa.record_batch([pa.array(items, pa.binary(ITEM_BYTES))], schema=schema))


def open_arrow(folder: Path) -> Read:
    table = pa.ipc.open_file(pa.memory_map(str(folder / "all.arrow"))).read_all()
    chunks = table.column("x").chunks
    return lambda i: memoryview(chunks[i // _SHARD][i % _SHARD].as_buffer())


CONTAINERS = [
    Container(name="one .npy each", write=write_files, open=open_files),
    Container(name=f".npy of {_PACK}", write=write_packs, open=open_packs),
    Container(name="HDF5, h5py", write=write_hdf5, open=open_hdf5),
    Container(name="SQLite blobs", write=write_sqlite, open=open_sqlite),
    *([Container(name=f"Zarr, shards of {_SHARD:,}", write=write_zarr, open=open_zarr)] if zarr else []),
    *([Container(name=f"Arrow, batches of {_SHARD:,}", write=write_arrow, open=open_arrow)] if pa else []),
]


def measure(container: Container, folder: Path, n: int) -> dict[str, float]:
    """Return what one spectrogram costs, by step, in microseconds; and how many files there are for each 1,000.

    All of it is this process's time on a core, which others on the machine disturb little, but for "cold": that is
    waiting for the disk, by the clock.
    """
    folder.mkdir(parents=True)
    costs = {"write": _cpu_s(lambda: container.write(folder, n)) / n}
    os.sync()
    starts = np.random.default_rng(1).permutation(n // _CHUNK)[: _READS // _CHUNK] * _CHUNK
    order = [int(start) + i for start in starts for i in range(_CHUNK)]  # as workers read: chunk after chunk
    _give_up_pages(folder)
    costs["list"] = _cpu_s(lambda: sum(1 for _ in _files(folder))) / n
    _give_up_pages(folder)
    costs["cold"] = _seconds(lambda: _read_all(container, folder, order)) / len(order)
    costs["warm"] = min(_cpu_s(lambda: _read_all(container, folder, order)) for _ in range(3)) / len(order)
    _give_up_pages(folder)
    copy = folder.with_name(f"{folder.name}-copy")
    costs["copy"] = _cpu_s(lambda: shutil.copytree(folder, copy)) / n
    costs["remove"] = _cpu_s(lambda: shutil.rmtree(copy)) / n
    return {step: 1e6 * seconds for step, seconds in costs.items()} | {
        "files": 1_000 * sum(1 for _ in _files(folder)) / n
    }


def _read_all(container: Container, folder: Path, order: list[int]) -> None:
    read = container.open(folder)
    for i in order:
        _check(read(i))


def _check(data: bytes | memoryview) -> None:
    hashlib.sha256(data).digest()
    x = np.frombuffer(data, np.float32)
    if len(data) != ITEM_BYTES or not 0 <= x.min() < x.max() <= 1:
        raise ValueError("what was read is not what was written")


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _cpu_s(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(Path(entry.path))
            else:
                entry.stat()
                yield entry


def _give_up_pages(folder: Path) -> None:
    for entry in _files(folder):
        descriptor = os.open(entry.path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        Path("/proc/sys/vm/drop_caches").write_text("2")  # names and inodes, nobody's pages


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectrograms", type=int, default=4_000)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; a temporary one by default")
    parser.add_argument("--rounds", type=int, default=3, help="the least of so many counts")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {container.name: [] for container in CONTAINERS}
    for container in CONTAINERS * arguments.rounds:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="wavemill-bench-") as work:
            found[container.name].append(measure(container, Path(work) / "dataset", arguments.spectrograms))
    steps = ["write", "list", "cold", "warm", "copy", "remove", "files"]
    print("| container | write | list | read cold | read warm | copy | remove | files per 1,000 |")
    print("|---|" + "---:|" * len(steps))
    for name, costs in found.items():
        least = [min(round_costs[step] for round_costs in costs) for step in steps]
        print(f"| {name} | " + " | ".join(f"{cost:,.1f}" for cost in least) + " |")


if __name__ == "__main__":
    main()
