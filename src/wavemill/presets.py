"""Feature parameters and the named presets. Imports no NumPy, so that the producer can use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from wavemill.errors import UsageError

Kind = Literal["stft-db", "log-mel"]

_MOST_NUMBERS = 2**24  # in a spectrogram: 64 MiB, minutes of music
_MOST_SAMPLES = 2**31
_MOST_RANGE_DB = 1_400

# Levels further than this from full scale are refused: 700 dB is an amplitude of 1e35, and float32
# ends near 1e38.
MOST_LEVEL_DB = 700.0


@dataclass(frozen=True, kw_only=True)
class Features:
    """How a spectrogram was made from a recording: all that is needed to turn it back into sound.

    A spectrogram is the magnitude of the centred Hann-window STFT in dB re 1.0, limited to `range_db` below its
    own maximum, then min-max normalised to [0, 1]. Its `n_bins` rows are, by kind:

    - `stft-db`: rows 0 to `n_bins - 1` of `n_fft // 2 + 1`.
    - `log-mel`: bands evenly spaced on the mel scale from `fmin_hz` to `fmax_hz`, each a weighted mean of magnitudes.

    Two sets of parameters are equal if everything but their names is equal.
    """

    preset: str = field(compare=False)  # the name that the set was chosen by
    kind: Kind = "stft-db"
    sample_rate_hz: int
    n_fft: int
    hop_length: int
    n_samples: int  # a clip is cut or zero-padded on the right to this length
    n_bins: int
    n_frames: int
    range_db: float = 80.0
    fmin_hz: float = 0.0  # of the mel bands
    fmax_hz: float | None = None  # None is half the sample rate

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one spectrogram: (n_bins, n_frames)."""
        return self.n_bins, self.n_frames

    @property
    def duration_s(self) -> float:
        """Length of the longest clip that is kept whole, in seconds."""
        return self.n_samples / self.sample_rate_hz

    @property
    def top_hz(self) -> float:
        """The highest frequency of the mel bands."""
        return self.sample_rate_hz / 2 if self.fmax_hz is None else self.fmax_hz

    def differences(self, other: Features) -> str:
        """Name the parameters that differ, each with both values, such as `hop_length 64, not 128`."""
        pairs = {name: (value, getattr(other, name)) for name, value in self.as_dict().items() if name != "preset"}
        return "; ".join(f"{name} {one}, not {two}" for name, (one, two) in pairs.items() if one != two)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Features:
        """Build from the result of `as_dict`; unknown and missing fields are a UsageError."""
        names = {one.name for one in fields(cls)}
        if unknown := set(values) - names:
            raise UsageError(f"feature parameters {sorted(unknown)} are not known to this version of wavemill")
        if (kind := values.get("kind", cls.kind)) not in get_args(Kind):
            raise UsageError(f"features of kind {kind!r} are not known to this version of wavemill")
        try:
            features = cls(**values)
        except TypeError as exc:
            raise UsageError(f"feature parameters are incomplete: {exc}") from exc
        features._require_sizes()
        return features

    def require_consistent(self) -> None:
        """Raise UsageError unless a recording of `n_samples` becomes a spectrogram of exactly this shape."""
        self._require_sizes()
        n_frames, most_bins = 1 + self.n_samples // self.hop_length, self.n_fft // 2 + 1
        if self.n_frames != n_frames:
            raise UsageError(
                f"n_frames {self.n_frames}: expected {n_frames}, which is 1 + n_samples // hop_length "
                f"(1 + {self.n_samples} // {self.hop_length})"
            )
        if self.n_bins > most_bins:
            raise UsageError(f"n_bins {self.n_bins}: expected at most {most_bins}, which is n_fft // 2 + 1")
        if self.hop_length > self.n_fft:
            raise UsageError(
                f"hop_length {self.hop_length}: expected at most n_fft, {self.n_fft}; samples between windows are lost"
            )
        if self.n_fft % 2 or self.n_fft < 4:
            raise UsageError(f"n_fft {self.n_fft}: expected an even number of samples, 4 or more")
        if self.n_fft > self.n_samples:
            raise UsageError(f"n_fft {self.n_fft}: expected at most n_samples, {self.n_samples}")
        if self.kind not in get_args(Kind):
            raise UsageError(f"kind {self.kind!r:.40}: expected one of {', '.join(get_args(Kind))}")

    def _require_sizes(self) -> None:
        """Raise UsageError if a size is no number, or one spectrogram would not fit into memory."""
        for name in ("sample_rate_hz", "n_fft", "hop_length", "n_samples", "n_bins", "n_frames"):
            number = getattr(self, name)
            if type(number) is not int or not 0 < number <= _MOST_SAMPLES:
                raise UsageError(f"{name}: expected a whole number from 1 to {_MOST_SAMPLES}, received {number!r:.40}")
        if self.n_bins * self.n_frames > _MOST_NUMBERS:
            raise UsageError(f"a spectrogram of {self.n_bins} x {self.n_frames} numbers is too large")
        if type(self.range_db) not in (int, float) or not 0 < self.range_db < _MOST_RANGE_DB:
            raise UsageError(f"range_db: expected 0 to {_MOST_RANGE_DB}, received {self.range_db!r:.40}")
        if not isinstance(self.preset, str):
            raise UsageError(f"preset: expected a name, received {self.preset!r:.40}")
        self._require_band()

    def _require_band(self) -> None:
        """Raise UsageError unless the mel bands lie between 0 Hz and half the sample rate."""
        highest_hz = self.sample_rate_hz / 2
        for name, edge_hz in (("fmin_hz", self.fmin_hz), ("fmax_hz", self.top_hz)):
            if type(edge_hz) not in (int, float) or not 0 <= edge_hz <= highest_hz:
                raise UsageError(
                    f"{name}: expected 0 to {highest_hz:g}, which is half the sample rate, received {edge_hz!r:.40}"
                )
        if not self.fmin_hz < self.top_hz:
            raise UsageError(f"fmin_hz {self.fmin_hz:g}: expected less than fmax_hz, {self.top_hz:g}")


def samples_of(features: Features, n_frames: int) -> int:
    """Return the number of samples that a sound is padded to before its spectrogram is computed."""
    return features.n_samples if n_frames == features.n_frames else (n_frames - 1) * features.hop_length


PRESETS: dict[str, Features] = {
    # As in the course: 0.74 s at 22,050 Hz, with the last of 257 rows dropped.
    "course": Features(
        preset="course",
        sample_rate_hz=22_050,
        n_fft=512,
        hop_length=256,
        n_samples=16_317,
        n_bins=256,
        n_frames=64,
    ),
    # FSDD's native rate and 75 % overlap. It has as many numbers as `course` and uses all of them;
    # 1.016 s keeps 99 of 100 recordings whole. Measured in docs/why.md.
    "digits": Features(
        preset="digits",
        sample_rate_hz=8_000,
        n_fft=256,
        hop_length=64,
        n_samples=8_128,
        n_bins=128,
        n_frames=128,
    ),
    # `digits` in mel bands. 80 is the fewest bands measured that give a STOI over 0.99 without a
    # model; a spectrogram has five eighths of the numbers of `digits`.
    "digits-mel": Features(
        preset="digits-mel",
        kind="log-mel",
        sample_rate_hz=8_000,
        n_fft=256,
        hop_length=64,
        n_samples=8_128,
        n_bins=80,
        n_frames=128,
    ),
    # Measured in docs/why.md, as `notes` and `music` are. Of the windows and hops with 32,000 numbers
    # a second, 512/128 is the nearest to sentences and the most intelligible. Frames of 2 s.
    "speech": Features(
        preset="speech",
        sample_rate_hz=16_000,
        n_fft=512,
        hop_length=128,
        n_samples=32_640,
        n_bins=256,
        n_frames=256,
    ),
    # The same windows: of those with 32,000 numbers a second the nearest to notes, too, and every
    # pitch is kept. Frames of 1.5 s.
    "notes": Features(
        preset="notes",
        sample_rate_hz=16_000,
        n_fft=512,
        hop_length=128,
        n_samples=24_448,
        n_bins=256,
        n_frames=192,
    ),
    # A shorter window than held notes alone would need: nearly as good for them, better for drums. A
    # range of 100 dB keeps the bandwidth of sounds that die away, and costs nothing.
    "music": Features(
        preset="music",
        sample_rate_hz=44_100,
        n_fft=1_024,
        hop_length=256,
        n_samples=65_280,
        n_bins=512,
        n_frames=256,
        range_db=100.0,
    ),
}
DEFAULT_PRESET = "digits"


def preset(name: str) -> Features:
    """Return the preset of that name, or raise UsageError that lists the names."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"there is no preset {name!r}; choose one of: {', '.join(PRESETS)}") from None
