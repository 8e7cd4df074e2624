"""The checks of a submission's model, output and parameters, before anything is queued.

Models and datasets are checked by their records and indexes, without TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wavemill.dataset.index import Dataset
from wavemill.errors import PresetMismatchError, UsageError
from wavemill.feature_options import mismatch
from wavemill.labels import Labels
from wavemill.operations.requests import Operation, Params
from wavemill.places import expanded
from wavemill.presets import Features
from wavemill.settings import Settings
from wavemill.storage.locations import is_url, require_known_scheme
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.finding import find_model
from wavemill.vae.folder.record import RECORD_FILE, ModelRecord, read_record


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """A verified model: the name that workers look it up by, its kind, digest and features."""

    name: str
    kind: str
    digest: str
    features: Features


def check_model(settings: Settings, model: str | Path, dataset: Dataset | None) -> CheckedModel:
    """Verify a model's files; raise PresetMismatchError if its features are not those of the dataset."""
    folder = find_model(expanded_path(model), settings.models)
    digest, record = verify(folder), read_record(folder)
    if dataset is not None and record.features != dataset.features:
        raise PresetMismatchError(
            f"{dataset.path} does not fit model {str(model)!r}: it has "
            f"{mismatch(record.features, dataset.features, source=folder / RECORD_FILE)}"
        )
    is_named = folder.resolve() == (settings.models / str(model)).resolve()
    name = str(model) if is_named else str(folder.resolve())
    return CheckedModel(name=name, kind=record.kind, digest=digest, features=record.features)


def require_reusable(operation: Operation, params: Params) -> None:
    """Refuse `reuse` for operations whose outputs cannot be copied."""
    if operation in {Operation.ENCODE, Operation.DECODE} or params.keep_latents:
        raise UsageError("--reuse copies neither latents nor sounds made from latents: omit --reuse, or --keep-latents")


def require_no_posterior(params: Params) -> None:
    """Refuse a seed for a plain autoencoder."""
    if params.seed is not None:
        raise UsageError("a plain autoencoder has no posterior to draw from: omit --sample (the seed)")


def require_labels(record: ModelRecord, labels: Labels) -> None:
    """Refuse labels that the model cannot sample."""
    told = {condition.label: condition for condition in record.conditions}
    for key, value in labels.items():
        if key in told:
            told[key].require(value)
        elif str(value) not in record.labels.get(key, ()):
            known = [condition.described for condition in record.conditions]
            known += [f"{k}={'|'.join(values)}" for k, values in record.labels.items() if k not in told]
            raise UsageError(
                f"model {record.name!r} cannot sample {key}={value}; labels that it knows: {'; '.join(known) or 'none'}"
            )


def expanded_path(path: str | Path) -> Path:
    """Return a path with its `~` replaced; UsageError if that is impossible."""
    try:
        return expanded(path)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


def checked_output(output: str | Path, dataset: Dataset | None) -> str:
    """Return the output as a URL or an absolute path; refuse one that lies in the dataset or below a file."""
    if not str(output):
        raise UsageError("--output is empty; expected a folder, such as out, or a URL")
    if is_url(str(output)):
        require_known_scheme(str(output))
        return str(output)
    folder = expanded_path(output).resolve()
    if dataset is not None and folder.is_relative_to(dataset.path.resolve()):
        raise UsageError(f"--output {folder} lies inside the dataset {dataset.path}; choose a folder beside it")
    for place in (folder, *folder.parents):
        if place.is_dir():
            break
        if place.exists():
            raise UsageError(f"--output {folder}: {place} is a file, not a folder")
    return str(folder)
