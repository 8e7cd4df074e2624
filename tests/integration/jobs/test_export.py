from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pyarrow import parquet
from sqlalchemy import update
from support.batches import claim, failed, finish, new_jobs, request

from wavemill.dataset.build import build
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.queries import batch_status, list_jobs
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.presets import preset
from wavemill_producer.export import FORMATS, Exported
from wavemill_producer.source_labels import SourceLabels

IDS = ['a,"b"', "ключ/звук", "c", "d"]


@pytest.fixture
def batch_id(database: Database, tmp_path: Path) -> str:
    """Two jobs done, one failed, one queued."""
    written, _ = write_batch(database, replace(request(), output=str(tmp_path)), new_jobs(IDS))
    claimed = claim(database, written, 0, 2)
    done = [_done(job, tmp_path / written) for job in claimed.jobs[:2]]
    finish(database, claimed, [*done, failed(claimed.jobs[2], ValueError("line\nfeed"))])
    return written


def _done(job: Any, folder: Path) -> Outcome:
    import hashlib

    path = folder / "generated" / f"{job.spectrogram_id}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data := f"sound of {job.spectrogram_id}".encode())
    digest = hashlib.sha256(data).hexdigest()
    columns = {"generated_path": str(path), "sha256": digest, "quality": {"peak": 0.5}}
    return Outcome(job=job, state=State.DONE, columns=columns)


@pytest.mark.parametrize("output", ["out::put", "zip::x", "50% #1?"])
def test_a_zip_has_outputs_of_any_name_in_a_folder_of_any_name(database: Database, tmp_path: Path, output: str) -> None:
    folder = tmp_path / output
    written, _ = write_batch(database, replace(request(), output=str(folder)), new_jobs(["a::b", "memory::c/d"]))
    claimed = claim(database, written, 0, 1)
    finish(database, claimed, [_done(job, folder / written) for job in claimed.jobs])
    data, exported = _export(database, written, "zip")
    assert not exported.damaged
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert names[:2] == ["generated/a::b.wav", "generated/memory::c/d.wav"]


def _export(database: Database, batch_id: str, kind: str) -> tuple[bytes, Exported]:
    file = io.BytesIO()
    status = batch_status(database, batch_id)
    with closing(SourceLabels(status)) as labels:
        exported = FORMATS[kind](labels, list_jobs(database, batch_id=batch_id), file, status)
    return file.getvalue(), exported


def test_each_format_has_the_same_rows_and_columns(database: Database, batch_id: str) -> None:
    columns = [column.name for column in jobs.c]
    data, exported = _export(database, batch_id, "csv")
    from_csv = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    from_jsonl = [json.loads(line) for line in _export(database, batch_id, "jsonl")[0].splitlines()]
    from_parquet = parquet.read_table(io.BytesIO(_export(database, batch_id, "parquet")[0])).to_pylist()
    assert exported.jobs == 4
    for rows in (from_csv, from_jsonl, from_parquet):
        assert [list(row) for row in rows] == [columns] * 4
        assert [row["spectrogram_id"] for row in rows] == IDS
        assert [row["state"] for row in rows] == ["done", "done", "failed", "queued"]
        assert [row["error"] or None for row in rows] == [None, None, "line\nfeed", None]
    assert json.loads(from_csv[0]["quality"]) == from_jsonl[0]["quality"] == json.loads(from_parquet[0]["quality"])
    assert from_parquet[0]["finished_at"].isoformat() == from_jsonl[0]["finished_at"] == from_csv[0]["finished_at"]
    assert from_parquet[3]["finished_at"] is None


def test_a_zip_holds_the_outputs_as_they_lie_and_a_manifest(database: Database, batch_id: str) -> None:
    data, exported = _export(database, batch_id, "zip")
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    sounds = [f"generated/{ID}.wav" for ID in IDS[:2]]
    assert archive.namelist() == [*sounds, "manifest.jsonl", "batch.json"]
    assert archive.read(sounds[1]) == "sound of ключ/звук".encode()
    manifest = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
    assert [row["state"] for row in manifest] == ["done", "done", "failed", "queued"]
    assert json.loads(archive.read("batch.json"))["id"] == batch_id
    assert (exported.jobs, exported.files, exported.damaged) == (4, 2, [])


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A dataset of two notes whose labels are texts, whole numbers and other numbers."""
    audio, dataset = tmp_path / "audio", tmp_path / "dataset"
    audio.mkdir()
    for name in ("c", "d"):
        soundfile.write(audio / f"{name}.wav", np.sin(np.arange(4_000) * 0.3), 8_000)
    (audio / "metadata.csv").write_text("file_name,pitch,gain,instrument\nc.wav,69,0.5,=flute\nd.wav,60,1,007\n")
    build(audio, dataset, preset("digits"))
    return dataset


def test_the_labels_of_the_source_are_columns_and_numbers_stay_numbers(
    database: Database, tmp_path: Path, notes: Path
) -> None:
    made = replace(request(), operation="invert", dataset=str(notes), output=str(tmp_path))
    written, _ = write_batch(database, made, new_jobs(["c", "gone", "d"]))
    wanted = [(69, 0.5, "=flute"), (None, None, None), (60, 1.0, "007")]
    names = ("label_pitch", "label_gain", "label_instrument")
    table = parquet.read_table(io.BytesIO(_export(database, written, "parquet")[0]))
    assert [tuple(row[name] for name in names) for row in table.to_pylist()] == wanted
    assert [str(table.schema.field(name).type) for name in names] == ["int64", "double", "string"]
    lines = [json.loads(line) for line in _export(database, written, "jsonl")[0].splitlines()]
    assert [tuple(line.get(name) for name in names) for line in lines] == wanted
    data = _export(database, written, "csv")[0].decode()
    cells = list(csv.DictReader(io.StringIO(data, newline="")))
    assert [cells[0][name] for name in names] == ["69", "0.5", "'=flute"]
    manifest = zipfile.ZipFile(io.BytesIO(_export(database, written, "zip")[0])).read("manifest.jsonl").splitlines()
    assert json.loads(manifest[2])["label_instrument"] == "007"


def test_both_ends_of_an_interpolation_give_labels(database: Database, tmp_path: Path, notes: Path) -> None:
    made = replace(request(), operation="interpolate", dataset=str(notes), output=str(tmp_path))
    written, _ = write_batch(database, made, [("c_to_d", {"from": "c", "to": "d", "weight": 0.5})])
    line = json.loads(_export(database, written, "jsonl")[0])
    assert (line["label_from_pitch"], line["label_to_pitch"]) == (69, 60)


def test_without_the_dataset_the_labels_are_left_out_with_a_reason(
    database: Database, tmp_path: Path, notes: Path
) -> None:
    made = replace(request(), operation="invert", dataset=str(notes), output=str(tmp_path))
    written, _ = write_batch(database, made, new_jobs(["c"]))
    shutil.rmtree(notes)
    line = json.loads(_export(database, written, "jsonl")[0])
    assert not [name for name in line if name.startswith("label_")]
    with closing(SourceLabels(batch_status(database, written))) as labels:
        assert "labels are left out, because the batch's dataset cannot be read" in (labels.missing or "")


def test_an_output_that_changed_or_is_gone_is_named_and_left_out(
    database: Database, batch_id: str, tmp_path: Path
) -> None:
    first, second = (tmp_path / batch_id / "generated" / f"{ID}.wav" for ID in IDS[:2])
    first.write_bytes(b"changed")
    second.unlink()
    data, exported = _export(database, batch_id, "zip")
    assert exported.damaged == [str(first), str(second)]
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["manifest.jsonl", "batch.json"]


FORMULAS = ["=1+1", "+1", "-1+2", "@SUM(A1)", "  =1", "\t=1", "\r=1", "x;=1", "x\n=1", "\uff1d1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula(database: Database, tmp_path: Path, text: str) -> None:
    written, _ = write_batch(database, replace(request(), output=str(tmp_path)), new_jobs(["-a", "b"]))
    claimed = claim(database, written, 0, 1)
    finish(database, claimed, [failed(job, ValueError(text)) for job in claimed.jobs])
    data, _ = _export(database, written, "csv")
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert rows[0]["spectrogram_id"] == "'-a"
    for cell in rows[0].values():
        assert not any(re.match(r"\s*[=+\-@\uff1d\t\r]", part) for part in re.split("[;\n]", cell)), cell
    assert int(rows[0]["id"]) > 0  # a number stays one
    from_jsonl = [json.loads(line) for line in _export(database, written, "jsonl")[0].splitlines()]
    assert (from_jsonl[0]["error"], from_jsonl[0]["spectrogram_id"]) == (text, "-a")


def test_no_format_that_is_text_holds_a_control_character(database: Database, tmp_path: Path) -> None:
    written, _ = write_batch(database, replace(request(), output=str(tmp_path)), new_jobs(["a"]))
    claimed = claim(database, written, 0, 0)
    hostile = "\x1b[31mred \x9b2J \u202eback \x7f"
    finish(database, claimed, [failed(claimed.jobs[0], ValueError(hostile))])
    for kind in ("csv", "jsonl"):
        text = _export(database, written, kind)[0].decode()
        assert not set(text) & set(hostile) & set("\x1b\x9b\x7f\u202e")
    assert json.loads(_export(database, written, "jsonl")[0])["error"] == hostile


@pytest.mark.parametrize("below", ["../outside.wav", "a/../../b.wav", "/etc/hostname", "a\\..\\b.wav", "a\nb.wav"])
def test_a_zip_has_no_member_that_unpacks_elsewhere(
    database: Database, batch_id: str, tmp_path: Path, below: str
) -> None:
    path = below if below.startswith("/") else f"{tmp_path / batch_id}/{below}"
    with database.transaction() as connection:
        connection.execute(update(jobs).where(jobs.c.seq == 0).values(generated_path=path, sha256=None))
    data, exported = _export(database, batch_id, "zip")
    assert exported.damaged == [path]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not [name for name in archive.namelist() if ".." in name or name.startswith("/") or "\n" in name]
