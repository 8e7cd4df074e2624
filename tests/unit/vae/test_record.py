from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from wavemill.errors import ModelChangedError, ModelError
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.finding import find_model, list_models
from wavemill.vae.folder.record import read_record


def test_the_digest_is_that_of_the_listing_and_sha256sum_agrees(model_dir: Path) -> None:
    assert verify(model_dir) == hashlib.sha256((model_dir / "SHA256").read_bytes()).hexdigest()
    checked = subprocess.run(["sha256sum", "-c", "SHA256"], cwd=model_dir, capture_output=True, text=True, check=True)
    assert checked.stdout.count(": OK") == 4


@pytest.mark.parametrize("name", ["weights.npz", "model.json", "latents.npz", "README.md"])
def test_a_changed_file_is_named(model_dir: Path, name: str) -> None:
    data = bytearray((model_dir / name).read_bytes())
    data[len(data) // 2] ^= 1
    (model_dir / name).write_bytes(data)
    with pytest.raises(ModelChangedError, match=name):
        verify(model_dir)


def test_another_listing_is_another_digest(model_dir: Path) -> None:
    before = verify(model_dir)
    (model_dir / "README.md").write_text("mine now")
    digest = hashlib.sha256(b"mine now").hexdigest()
    lines = (model_dir / "SHA256").read_text().splitlines()
    (model_dir / "SHA256").write_text(
        "\n".join(f"{digest}  README.md" if "README" in line else line for line in lines) + "\n"
    )
    assert verify(model_dir) != before


@pytest.mark.parametrize("name", ["SHA256", "weights.npz", "README.md"])
def test_a_missing_file_is_a_model_error_that_names_it(model_dir: Path, name: str) -> None:
    (model_dir / name).unlink()
    with pytest.raises(ModelError, match=name):
        verify(model_dir)


@pytest.mark.parametrize("line", ["nonsense", f"{'0' * 64}  ../outside", f"{'0' * 64}  sub/file", "0  x", "\x80"])
def test_a_malformed_listing_is_refused_before_anything_is_opened(model_dir: Path, line: str) -> None:
    (model_dir / "SHA256").write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(ModelError, match="sha256sum"):
        verify(model_dir)


def test_a_listing_without_the_weights_is_refused(model_dir: Path) -> None:
    lines = [line for line in (model_dir / "SHA256").read_text().splitlines(keepends=True) if "weights" not in line]
    (model_dir / "SHA256").write_text("".join(lines))
    with pytest.raises(ModelError, match=r"does not list weights\.npz"):
        verify(model_dir)


def test_a_record_says_the_same_after_a_round_trip(model_dir: Path) -> None:
    record = read_record(model_dir)
    assert record.features.shape == (32, 16)
    assert record.kind == "vae"
    assert record.as_dict() == json.loads((model_dir / "model.json").read_text())


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", '{"format": 2}', '{"format": 1, "name": "x"}'])
def test_a_record_that_cannot_be_used_is_a_model_error(model_dir: Path, content: str) -> None:
    (model_dir / "model.json").write_text(content)
    with pytest.raises(ModelError):
        read_record(model_dir)


def test_a_model_is_found_by_name_and_by_path(model_dir: Path) -> None:
    assert find_model("tiny", model_dir.parent) == model_dir
    assert find_model(model_dir, "/nowhere") == model_dir
    assert list_models(model_dir.parent) == [model_dir]
    with pytest.raises(ModelError, match="known: tiny"):
        find_model("huge", model_dir.parent)


def test_reading_a_record_imports_neither_numpy_nor_tensorflow(model_dir: Path) -> None:
    program = (
        "import sys; from wavemill.vae.folder import by_digest, digests, finding, record; "
        f"digests.verify({str(model_dir)!r}); record.read_record({str(model_dir)!r}); "
        "sys.exit(bool({'numpy', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
