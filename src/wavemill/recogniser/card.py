"""The recogniser's card: what it is for, its training data and how reliable it is."""

from __future__ import annotations

from wavemill.recogniser.recogniser import RecogniserRecord
from wavemill.vae.folder.card import table


def recogniser_card(record: RecogniserRecord) -> str:
    """Return the text of a recogniser folder's README.md, made from the record alone."""
    kinds = "\n".join(f"- `{kind}`: {', '.join(values)}" for kind, values in record.labels.items())
    return f"""# {record.name}

A small recogniser of labels of sounds, with which `wavemill evaluate` judges models. It makes no sound. Do not train a
model against it: the model would learn to please the recogniser, and the figures would mean nothing.

## Labels that it recognises
{kinds}

Each answer has a confidence, calibrated on sounds that were held out.

## Data
{record.training.get("data") or "The recordings named in the training record; their owner's licence applies."}

## Training
{table(record.training, skip=("data", "licence"))}

## Figures
{table(record.quality, skip=("how",))}

{record.quality.get("how", "")}

## Licence
{record.training.get("licence") or "Not stated; ask whoever trained it."}

## Use
```python
from wavemill.recogniser.package import load_recogniser

heard = load_recogniser("recognisers/{record.name}").hear(signals, {record.listening.sample_rate_hz})
heard.names("{next(iter(record.labels))}"), heard.confidence("{next(iter(record.labels))}")
```
The weights are plain arrays (`weights.npz`), the rest is JSON; `sha256sum -c SHA256` checks every file.
"""
