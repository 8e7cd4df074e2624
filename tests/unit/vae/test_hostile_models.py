"""Model folders that would take more memory than they are worth are refused before anything is read or built."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.memory import run_measured

from wavemill.errors import ModelError
from wavemill.vae.folder.archive import MisfitError, read_archive
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.record import read_record
from wavemill.vae.network.architectures import ARCHITECTURES
from wavemill.vae.network.building import build_network
from wavemill.vae.network.sizes import count_weights
from wavemill.vae.package import load_model
from wavemill.vae.training.checkpoint import Checkpoint, Progress, read_checkpoint, write_checkpoint
from wavemill_producer.cli.main import run

VAST = 20 * 2**30
MOST_MIB = 200

BUILT = """
from pathlib import Path
from wavemill.vae.package import load_model
from wavemill.vae.network.building import build_network
build_network("residual", kind="ae", shape=(16, 16), latent_dim=5)
"""


def relist(folder: Path) -> None:
    """Write the digests anew, as whoever forges a model does."""
    names = sorted(file.name for file in folder.iterdir() if file.name != "SHA256")
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    (folder / "SHA256").write_text("".join(f"{d}  {n}\n" for d, n in zip(digests, names, strict=True)))


def npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def write_bomb(file: Path, names: list[str], n_bytes: int) -> None:
    """Write an .npz of zeros, `n_bytes` in each array."""
    zeros = bytes(2**24)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(npy_header((n_bytes // 4,)))
                for _ in range(n_bytes // len(zeros)):
                    member.write(zeros)


def change(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **changes}))
    relist(folder)


def refused(folder: Path) -> str:
    """Load a model in a process of its own; return the sentence it is refused with."""
    said, peak_mib = run_measured(f"load_model({str(folder)!r})", before=BUILT)
    assert said.startswith("ModelError: ")
    assert "\n" not in said
    assert peak_mib < MOST_MIB
    return said


def test_weights_that_unzip_to_gigabytes_are_refused(model_dir: Path) -> None:
    with np.load(model_dir / "weights.npz") as arrays:
        names = list(arrays)
    write_bomb(model_dir / "weights.npz", names[:4], 2**29)
    relist(model_dir)
    assert (model_dir / "weights.npz").stat().st_size < 2**22
    assert "cannot be read as arrays: expected arrays of at most" in refused(model_dir)


def test_latents_that_unzip_to_gigabytes_are_refused(model_dir: Path) -> None:
    write_bomb(model_dir / "latents.npz", ["prior/points"], 2**31)
    relist(model_dir)
    assert "latents.npz: cannot be read as arrays: expected" in refused(model_dir)


def test_an_array_larger_than_the_networks_is_not_read(model_dir: Path) -> None:
    with np.load(model_dir / "weights.npz") as arrays:
        weights = dict(arrays)
    name = next(iter(weights))
    weights[name] = np.zeros(2**23, np.float32)
    np.savez_compressed(model_dir / "weights.npz", **weights)
    relist(model_dir)
    assert f"weight {name}: expected shape" in refused(model_dir)


FORGED = {
    "a billion latents": ({"latent_dim": 10**9}, "latent_dim: expected"),
    "a million latents": ({"latent_dim": 10**6}, "weights, expected at most"),
    "endless refinement": ({"refine": 10**9}, "refine 1000000000: expected a whole number from 0 to 100"),
    "refinement in words": ({"refine": "much"}, "refine much: expected a whole number"),
    "latents in words": ({"latent_dim": "many"}, "latent_dim: expected"),
    "huge filters": ({"architecture_config": {"fine": 10**9}}, "fine: expected a whole number"),
    "many filters": ({"architecture_config": {"fine": 8_000, "coarse": 8_000}}, "weights, expected at most"),
    "endless depth": ({"architecture_config": {"frame_depth": 10**9}}, "frame_depth: expected a whole number"),
    "filters of another kind": ({"architecture_config": {"fine": [1]}}, "fine: expected a whole number"),
    "the course's filters": (
        {"architecture": "course", "architecture_config": {"filters": [10_000] * 5}},
        "weights, expected at most",
    ),
    "no lists": ({"architecture": "course", "architecture_config": {"strides": 5}}, "strides: expected a list"),
    "uneven lists": ({"architecture": "course", "architecture_config": {"kernels": [3]}}, "lists of one length"),
    "no pairs": ({"architecture": "course", "architecture_config": {"strides": [2] * 5}}, "strides: expected pairs"),
    "labels that are a number": ({"labels": 5}, "labels: expected an object"),
    "a name that is a list": ({"name": []}, "name: expected a string"),
    "features of a number": ({"features": 5}, "incomplete"),
}


@pytest.mark.parametrize("name", FORGED)
def test_absurd_sizes_are_refused_before_a_network_is_built(model_dir: Path, name: str) -> None:
    changes, message = FORGED[name]
    change(model_dir, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(model_dir)


def test_a_forged_network_takes_no_memory(model_dir: Path) -> None:
    change(model_dir, architecture_config={"fine": 8_000, "coarse": 8_000})
    refused(model_dir)
    change(model_dir, architecture_config={}, latent_dim=10**9)
    refused(model_dir)


@pytest.mark.parametrize("size", ["n_bins", "n_frames", "n_fft", "hop_length", "n_samples", "sample_rate_hz"])
@pytest.mark.parametrize("value", [10**12, 0, 1.5, "x"])
def test_absurd_features_are_refused(model_dir: Path, size: str, value: object) -> None:
    features = json.loads((model_dir / "model.json").read_text())["features"]
    change(model_dir, features={**features, size: value})
    with pytest.raises(ModelError, match=f"{size}: expected a whole number"):
        read_record(model_dir)


DEEP = {
    "lists": "[" * 100_000,
    "closed lists": "[" * 900 + "]" * 900,
    "objects": '{"a":' * 100_000,
    "a long number": "1" * 10_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_records_are_refused_in_a_sentence(model_dir: Path, name: str) -> None:
    (model_dir / "model.json").write_text('{"format": 1, "training": ' + DEEP[name] + "}")
    with pytest.raises(ModelError, match=r"model\.json: cannot be read as JSON"):
        read_record(model_dir)


@pytest.mark.parametrize("name", ["model.json", "SHA256", "weights.npz"])
def test_vast_files_and_pipes_of_a_model_are_not_read(model_dir: Path, name: str) -> None:
    os.truncate(model_dir / name, VAST)
    said, peak_mib = run_measured(f"verify({str(model_dir)!r}); read_record({str(model_dir)!r})", before=RECORD)
    assert said.startswith("ModelError: ")
    assert f"received {VAST}" in said
    assert peak_mib < MOST_MIB
    (model_dir / name).unlink()
    os.mkfifo(model_dir / name)
    with pytest.raises(ModelError, match="is no file"):
        verify(model_dir), read_record(model_dir)


RECORD = "from wavemill.vae.folder.digests import verify; from wavemill.vae.folder.record import read_record"


def forge_directory(data: bytes) -> bytes:
    """Let the end of a zip file claim a directory of 3 GiB."""
    end = data.rindex(b"PK\x05\x06")
    return data[: end + 12] + struct.pack("<II", 3 * 2**30, 0) + data[end + 20 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "no zip": lambda data: b"x" * 1_000,
    "a vast directory": forge_directory,
    "a changed number": lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_archive_is_one_error(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, a=np.arange(100))
    file.write_bytes(DAMAGES[name](file.read_bytes()))
    with pytest.raises(ValueError, match=r".") as caught:
        read_archive(file, most_bytes=2**30)
    assert not isinstance(caught.value, MisfitError)


@pytest.mark.parametrize("kind", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compressions_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", kind) as archive:
        archive.writestr("a.npy", npy_header((2,)) + bytes(8))
    with pytest.raises(ValueError, match="compressed in another way"):
        read_archive(tmp_path / "a.npz", most_bytes=2**30)


def test_arrays_come_back_as_they_were_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "large": rng.normal(size=(300, 700)).astype(np.float32),
        "half": rng.normal(size=(3, 5)).astype(np.float16),
        "columns": np.asfortranarray(rng.normal(size=(40, 50))),
        "big_endian": np.arange(7, dtype=">i4"),
        "scalar": np.array(5, np.int64),
        "none": np.zeros((0, 3), np.float32),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        read = read_archive(tmp_path / "a.npz", most_bytes=2**30, shapes={n: a.shape for n, a in arrays.items()})
        assert all(
            np.array_equal(read[name], array) and read[name].dtype == array.dtype for name, array in arrays.items()
        )


SIZES = [
    ("course", (256, 64), 128, {}),
    ("course", (50, 33), 5, {"filters": [3, 5], "kernels": [3, 2], "strides": [[2, 2], [3, 1]]}),
    ("course", (50, 33), 5, {"filters": [3], "kernels": [3], "strides": [[2, 2]]}),
    ("residual", (30, 19), 7, {"fine": 5, "coarse": 6, "frame": 7, "neck": 3, "frame_depth": 3, "encoder_depth": 0}),
    ("spatial", (30, 19), 24, {"coarse": 5, "decoder_depth": 1}),
]


@pytest.mark.parametrize("kind", ["vae", "ae"])
@pytest.mark.parametrize("sizes", SIZES)
def test_weights_are_counted_as_the_network_has_them(sizes: tuple, kind: str) -> None:
    architecture, shape, latent_dim, config = sizes
    network = build_network(architecture, kind=kind, shape=shape, latent_dim=latent_dim, config=config)
    whole = {**ARCHITECTURES[architecture].defaults, **config}
    counted = count_weights(architecture, kind=kind, shape=shape, latent_dim=latent_dim, config=whole)
    assert counted == sum(math.prod(variable.shape) for variable in network.variables().values())


def checkpoint() -> Checkpoint:
    weights = {"a": np.ones(3, np.float32)}
    return Checkpoint(progress=Progress(epoch=2), state=weights, best=weights, config={"seed": 1}, features={"n": 2})


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c.npz", checkpoint())
    read = read_checkpoint(tmp_path / "c.npz")
    assert (read.progress, read.config, read.features) == (Progress(epoch=2), {"seed": 1}, {"n": 2})
    assert np.array_equal(read.best["a"], [1, 1, 1])


def test_a_checkpoint_that_unzips_to_gigabytes_is_refused(tmp_path: Path) -> None:
    write_bomb(tmp_path / "c.npz", ["meta", "state/a"], 2**30)
    said, peak_mib = run_measured(
        f"read_checkpoint(Path({str(tmp_path / 'c.npz')!r}))",
        before="from pathlib import Path; from wavemill.vae.training.checkpoint import read_checkpoint",
    )
    assert said.startswith("ModelError: ")
    assert "the checkpoint cannot be read: expected arrays of at most" in said
    assert peak_mib < MOST_MIB


@pytest.mark.parametrize("meta", [b"[" * 100_000, b"[]", b'{"progress": 5}', b" " * 2**21])
def test_a_checkpoint_of_odd_json_is_one_sentence(tmp_path: Path, meta: bytes) -> None:
    np.savez(tmp_path / "c.npz", meta=np.frombuffer(meta, np.uint8))
    with pytest.raises(ModelError, match="the checkpoint cannot be read"):
        read_checkpoint(tmp_path / "c.npz")


def test_every_command_about_models_says_one_sentence(model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(model_dir, model_dir.parent / "deep")
    (model_dir.parent / "deep/model.json").write_text("[" * 100_000)
    assert run(["model", "list", "--models", str(model_dir.parent), "--json"]) == 0
    listed = {row["model"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "cannot be read as JSON" in listed["deep"]["error"]
    assert listed["tiny"]["latent_dim"] == 6
    os.truncate(model_dir.parent / "deep/model.json", VAST)
    for command in ("show", "verify"):
        assert run(["model", command, "deep", "--models", str(model_dir.parent)]) in (1, 2)
        said = capsys.readouterr().err
        assert f"received {VAST}" in said
        assert len(said.strip().splitlines()) == 1
