"""The model card: what a model is, its training data, its quality figures and its licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavemill.vae.folder.record import ModelRecord


def model_card(record: ModelRecord) -> str:
    """Return the text of a model folder's README.md, made from the record alone."""
    features = record.features
    told = [f"- `{condition.described}`" for condition in record.conditions]
    refined = (
        f"""
`encode` and `reconstruct` move the encoder's latents by {record.refine} steps until they draw the source more closely.
"""
        if record.refine
        else ""
    )
    labels = ["", "Its decoder is told these labels; any combination can be sampled:", *told] if told else []
    return f"""# {record.name}

A {_KINDS.get(record.kind, record.kind)} for spectrograms of sounds.
It turns {features.n_bins} bins x {features.n_frames} frames into {record.vector_dim} numbers, and these into a
spectrogram again. wavemill inverts spectrograms to sound.
Preset `{features.preset}`: {features.sample_rate_hz} Hz, window of {features.n_fft} samples, hop of
{features.hop_length} samples.
Architecture `{record.architecture}`, made by wavemill {record.code_version}.
{refined}{chr(10).join(labels)}

## Data
{record.training.get("data") or "The dataset named in the training record; its owner's licence applies."}

## Training
{table(record.training, skip=("data", "licence", "how", "ancestors"))}

## Figures
{table(record.quality, skip=("how",)) if record.quality else "None were measured."}

{record.quality.get("how", "")}

## Licence
{record.training.get("licence") or "Not stated; ask whoever trained it."}

## Use
```python
from wavemill.vae.package import load_model

model = load_model("{record.name}")
spectrograms_db, latents = model.reconstruct(spectrograms_db)  # (batch, {features.n_bins}, {features.n_frames}), in dB
```
The weights are plain arrays (`weights.npz`), the rest is JSON; `sha256sum -c SHA256` checks every file.
"""


_KINDS = {"vae": "variational autoencoder", "ae": "plain autoencoder"}


def table(values: Mapping[str, Any], *, skip: tuple[str, ...]) -> str:
    """Return `values` as a Markdown table of two columns, without the keys in `skip`."""
    rows = [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in values.items() if key not in skip]
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
