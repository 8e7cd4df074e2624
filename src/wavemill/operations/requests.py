"""The parameters of each operation, as stored in `batches.params`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from wavemill.errors import UsageError
from wavemill.labels import Labels
from wavemill.operations.formats import FORMATS, Format, require_rate
from wavemill.text.shown import is_plain_text


class Operation(StrEnum):
    """What a job can make."""

    RECONSTRUCT = "reconstruct"  # spectrogram -> model -> sound, and beside it the spectrogram inverted as it is
    SAMPLE = "sample"  # nothing -> new sound from the model's prior
    INTERPOLATE = "interpolate"  # two spectrograms -> one sound on the way between them
    VARY = "vary"  # spectrogram -> a variation of it
    ENCODE = "encode"  # spectrogram -> latents
    DECODE = "decode"  # latents -> sound
    INVERT = "invert"  # spectrogram -> sound, without a model


HOTTEST = 10.0  # the highest temperature
MOST_REFINE = 100  # steps of refinement
LOUDNESS_LUFS = (-70.0, -5.0)  # the softest and the loudest that can be asked for

METHODS = ("pghi+gl", "pghi", "fine", "griffin-lim", "centre-phase", "zero-phase")
PATHS = ("spherical", "linear")


_LEFT_OUT = {"output_rate_hz", "loudness_lufs", "refine"}  # of stored parameters, where they are None


@dataclass(frozen=True, kw_only=True)
class Params:
    """The parameters that all operations share.

    Attributes
    ----------
    method : str
        Inversion, one of `METHODS`.
    format : str
        One of `wavemill.operations.formats.FORMATS`.
    output_rate_hz : int or None
        Sample rate of the sounds. None: that of the spectrograms, or the next that the format has.
    loudness_lufs : float or None
        Loudness of the sounds, see `wavemill.audio.loudness`. None: the level as it is.
    keep_latents : bool
        Also write each latent as `latents/ID.npy`.
    seed : int or None
        For operations that draw: an item's noise depends only on the seed and the item's name.
    """

    method: str = METHODS[0]
    format: Format = "wav"
    output_rate_hz: int | None = None
    loudness_lufs: float | None = None
    keep_latents: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        _require_choice("inversion method", self.method, METHODS)
        _require_choice("output format", self.format, FORMATS)
        require_rate(self.format, self.output_rate_hz)
        _require_loudness(self.loudness_lufs)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types; `from_dict` is its inverse.

        Rate, loudness and refinement are left out where they are None. So workers of an older version take such a
        batch, and `--reuse` finds what they made.
        """
        return {name: value for name, value in asdict(self).items() if value is not None or name not in _LEFT_OUT}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the result of `as_dict`; a parameter of a newer version is a UsageError."""
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise UsageError(f"parameters {sorted(unknown)} are not known to this worker; update wavemill on its host")
        return cls(**values)

    def item_seed(self, name: str) -> int:
        """Return the seed of one item."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True, kw_only=True)
class EncodedParams(Params):
    """The parameters that all operations share which encode spectrograms.

    Attributes
    ----------
    refine : int or None
        Steps that move the encoder's latents until they draw the spectrogram more closely. None: as many as the
        model's record says, and none for latents that are drawn from their posterior.
    """

    refine: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_refine(self.refine)


class ReconstructParams(EncodedParams):
    """How spectrograms are reconstructed; a `seed` draws each latent from its posterior, None takes the mean."""


class EncodeParams(EncodedParams):
    """How spectrograms are encoded; a `seed` draws each latent from its posterior, None takes the mean."""


@dataclass(frozen=True, kw_only=True)
class DecodeParams(Params):
    """How latents become sound; nothing is drawn.

    Attributes
    ----------
    latents : str
        Folder or fsspec URL, as the workers see it; job ID reads `LATENTS/ID.npy`.
    """

    latents: str


class InvertParams(Params):
    """How spectrograms are inverted; nothing is drawn."""


@dataclass(frozen=True, kw_only=True)
class SampleParams(Params):
    """How new sounds are drawn.

    Attributes
    ----------
    labels : mapping
        Such as {"digit": "7"}: draw from what the model learnt of these.
    temperature : float >= 0 or None
        How far from the prior's centre to draw; None uses the value measured best for the model.
    """

    seed: int | None = 0
    labels: Labels = field(default_factory=dict)
    temperature: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", {key: str(value) for key, value in self.labels.items()})  # {"digit": 7}
        _require_temperature(self.temperature)


@dataclass(frozen=True, kw_only=True)
class VaryParams(EncodedParams):
    """How variations of a clip are drawn.

    Attributes
    ----------
    temperature : float >= 0
        How far from the clip: 0 is the clip itself, 1 as far as takes of one word by one voice lie apart.
    """

    seed: int | None = 0
    temperature: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_temperature(self.temperature)


@dataclass(frozen=True, kw_only=True)
class InterpolateParams(EncodedParams):
    """The path between two clips: `spherical` keeps the latents' length, `linear` is the straight line."""

    path: str = PATHS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_choice("path", self.path, PATHS)


def interpolation_weights(steps: int) -> list[float]:
    """Return `steps` evenly spaced weights from 0 to 1, both ends among them."""
    if steps < 2:
        raise UsageError(f"steps {steps}: expected 2 or more, including the two ends")
    return [step / (steps - 1) for step in range(steps)]


_PARAMS: Mapping[Operation, type[Params]] = {
    Operation.RECONSTRUCT: ReconstructParams,
    Operation.SAMPLE: SampleParams,
    Operation.INTERPOLATE: InterpolateParams,
    Operation.VARY: VaryParams,
    Operation.ENCODE: EncodeParams,
    Operation.DECODE: DecodeParams,
    Operation.INVERT: InvertParams,
}


def params_kind(operation: Operation) -> type[Params]:
    """Return the class of an operation's parameters."""
    return _PARAMS[operation]


def params_from_row(operation: str, values: Mapping[str, Any]) -> Params:
    """Return the parameters of a batch, as its row holds them."""
    try:
        kind = _PARAMS[Operation(operation)]
    except ValueError:
        raise UsageError(f"operation {operation!r} is not known to this worker; update wavemill on its host") from None
    return kind.from_dict(values)


def source_ids(operation: Operation, name: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the IDs of the spectrograms that a job of that name reads."""
    if operation is Operation.INTERPOLATE:
        return (item["from"], item["to"])
    if operation is Operation.VARY:
        return (item["of"],)
    return () if operation in {Operation.SAMPLE, Operation.DECODE} else (name,)


def inputs_digest(digests: Mapping[str, str], scales: Mapping[str, Sequence[float]]) -> str:
    """Return one digest of a job's inputs: ID -> SHA-256 of the file, and the scales from the dataset's index."""
    return hashlib.sha256(json.dumps([digests, scales], sort_keys=True).encode()).hexdigest()


def output_paths(name: str, params: Params) -> list[str]:
    """Return all paths, below its batch's folder, at which a job of that name may write."""
    suffix = FORMATS[params.format].suffix
    return [f"{kind}/{name}.{suffix}" for kind in ("generated", "original")] + [
        f"latents/{name}.{suffix}" for suffix in ("npy", "json")
    ]


_PLACES = {"dataset", "latents", "model", "output"}


def require_plain_text(request: Mapping[str, Any]) -> None:
    """Raise UsageError for text with control characters, also in nested mappings, as stored text is displayed.

    Letters of any script are allowed. Folders may have any name that both databases can store.
    """
    for key, value in request.items():
        if isinstance(value, Mapping):
            require_plain_text({f"{key} {number}": name for number, name in enumerate(value)} | dict(value))
        elif isinstance(value, str) and not (_is_storable(value) if key in _PLACES else is_plain_text(value)):
            raise UsageError(f"{key} {value[:80]!r}: expected text without control characters or line ends")


def _is_storable(text: str) -> bool:
    return not re.search("[\0\ud800-\udfff]", text)


def _require_choice(what: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise UsageError(f"there is no {what} {value!r}; choose one of: {', '.join(choices)}")


def _require_loudness(value: float | None) -> None:
    softest, loudest = LOUDNESS_LUFS
    if value is not None and not softest <= value <= loudest:
        raise UsageError(f"loudness {value}: expected {softest:g} to {loudest:g} LUFS")


def require_refine(value: int | None) -> None:
    """Raise UsageError for a number of steps that is none, or too large."""
    if value is not None and not (type(value) is int and 0 <= value <= MOST_REFINE):
        raise UsageError(f"refine {value}: expected a whole number from 0 to {MOST_REFINE}")


def _require_temperature(value: float | None) -> None:
    if value is not None and not 0 <= value <= HOTTEST:
        raise UsageError(f"temperature {value}: expected 0 to {HOTTEST:g}")
