"""Renders a job whose spectrogram is too large for memory: reads, inverts and writes it in blocks.

The sound is first written as raw numbers beside the outputs, since its peak, and so its gain, is
known only at the end.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from wavemill.arrays import FloatArray
from wavemill.audio.encoding import within_peak
from wavemill.audio.features import to_magnitude
from wavemill.audio.long_sound import WrittenAudio, write_long
from wavemill.audio.windows import Windows
from wavemill.dataset.entries import Entry
from wavemill.dataset.huge_reader import HugeReader, open_huge
from wavemill.errors import SpectrogramError
from wavemill.inversion import invert_blocks
from wavemill.labels import Labels
from wavemill.operations.formats import FORMATS
from wavemill.operations.requests import Operation
from wavemill.rendering.outputs import Encoded, columns_of, comment_of
from wavemill.rendering.resources import BatchTools
from wavemill.rendering.steps import AnyOperation, Input, Made
from wavemill.storage.staging import JobOutputs
from wavemill.synthesis.from_model import SourceClip, Synthesis

ReadDb = Callable[[int, int], FloatArray]  # (first, last) -> (n_bins, last - first) in dB

_one_at_a_time = threading.Lock()  # several would need several times the memory


def render_huge(tools: BatchTools, operation: AnyOperation, one: Input) -> Encoded:
    """Render a job whose input is `huge`; raise an error that concerns this job alone."""
    entry = one.huge
    assert entry is not None  # the caller has asked
    if tools.params.loudness_lufs is not None:
        raise SpectrogramError(
            f"{one.job.spectrogram_id} is too long for its loudness to be set: submit it without --loudness, or build "
            "the dataset with --long split"
        )
    with _one_at_a_time, open_huge(tools.dataset, entry) as reader:
        reader.check()
        started = perf_counter()
        job = _HugeJob(tools, one, reader, entry=entry)
        sounds = {kind: job.write(kind, read_db) for kind, read_db in _sources(tools, operation, one, reader)}
    name, suffix = one.job.spectrogram_id, FORMATS[tools.params.format].suffix
    return Encoded(
        files={kind: (f"{kind}/{name}.{suffix}", sound.path) for kind, sound in sounds.items()},
        columns=columns_of(tools, job.made, sounds, {kind: _digest(sound.path) for kind, sound in sounds.items()}),
        timings_s={"read": one.read_s, "forward": 0.0, "invert": perf_counter() - started, "write": 0.0},
    )


class _HugeJob:
    """Inverts spectrograms of one job and writes their sound."""

    def __init__(self, tools: BatchTools, one: Input, reader: HugeReader, *, entry: Entry) -> None:
        self.made = Made(input=one, duration_s=entry.duration_s, peak=entry.peak)
        self._tools = tools
        self._n_frames = reader.n_frames
        self._outputs = JobOutputs(tools.store, job_id=one.job.id, fence=one.job.fence)

    def write(self, kind: str, read_db: ReadDb) -> WrittenAudio:
        """Invert a spectrogram and write its sound to a file that can be staged."""
        tools, features = self._tools, self._tools.features
        peak = self.made.peak or math.inf
        waveform = invert_blocks(
            lambda first, last: to_magnitude(read_db(first, last), features),
            self._n_frames,
            n_fft=features.n_fft,
            hop_length=features.hop_length,
            method=tools.params.method,
            length=round(self.made.duration_s * features.sample_rate_hz),
            peak=peak,
        )
        path = self._outputs.scratch(kind)
        try:
            return write_long(
                (within_peak(block, peak) for block in waveform),
                path,
                features.sample_rate_hz,
                form=tools.params.format,
                output_rate_hz=tools.params.output_rate_hz,
                comment=comment_of(tools, self.made, kind),
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _sources(
    tools: BatchTools, operation: AnyOperation, one: Input, reader: HugeReader
) -> Sequence[tuple[str, ReadDb]]:
    """Return what is written: output name, and the spectrogram behind it."""
    if tools.operation is Operation.INVERT:
        return [("generated", reader.read_db)]
    if tools.operation is Operation.RECONSTRUCT and not tools.params.keep_latents:
        labels = one.huge.labels if one.huge else {}
        generated = _ThroughModel(
            reader, tools.features.n_frames, labels, lambda windows: operation.run(windows, [one] * len(windows))
        )
        return [("generated", generated.read_db), ("original", reader.read_db)]
    raise SpectrogramError(
        f"{one.job.spectrogram_id} is too long for {tools.operation.value}: only invert, and reconstruct without "
        "latents, take recordings of this length; build the dataset with --long split"
    )


class _ThroughModel:
    """A spectrogram after a model, computed window by window as it is read."""

    def __init__(
        self, reader: HugeReader, size: int, labels: Labels, run: Callable[[Sequence[SourceClip]], Synthesis]
    ) -> None:
        self._reader = reader
        self._labels = labels
        self._windows = Windows(n_frames=reader.n_frames, size=size)
        self._run = run
        self._made: dict[int, FloatArray] = {}

    def read_db(self, first: int, last: int) -> FloatArray:
        starts = self._windows.reaching(first, last)
        missing = [start for start in starts if start not in self._made]
        size = self._windows.size
        sources = [
            SourceClip(spectrogram=self._reader.read_db(s, s + size), duration_s=0.0, labels=self._labels)
            for s in missing
        ]
        made = self._run(sources).spectrograms if sources else []
        self._made = {start: self._made[start] for start in starts if start in self._made}
        self._made |= zip(missing, made, strict=True)
        return self._windows.join([self._made[start] for start in starts], first=first, last=last)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
