"""The operations: what a job of each kind reads, and what it makes with `synthesis.from_model`.

An operation object serves one batch. `load` runs in threads, one job at a time; `make` runs the
forward passes of several jobs in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Generic, TypeVar

from wavemill.arrays import FloatArray
from wavemill.dataset.decibels import read_db
from wavemill.dataset.extents import is_huge
from wavemill.dataset.index import Entry
from wavemill.jobs.claims import ClaimedJob
from wavemill.labels import Labels
from wavemill.operations.requests import (
    EncodeParams,
    InterpolateParams,
    Operation,
    Params,
    ReconstructParams,
    SampleParams,
    VaryParams,
    source_ids,
)
from wavemill.rendering.latent_files import read_latent
from wavemill.rendering.resources import BatchTools
from wavemill.synthesis import from_model
from wavemill.synthesis.clip_latents import ClipLatents
from wavemill.synthesis.from_model import SourceClip, Synthesis

P = TypeVar("P", bound=Params)


@dataclass(frozen=True, kw_only=True)
class Input:
    """One job with all of its inputs, read and checked.

    Attributes
    ----------
    sources : the clips it starts from; none, one or two
    huge : in place of `sources`, the one clip it starts from if that is too large for memory
    digests : ID -> SHA-256 of each file that was read
    scales : ID -> `Entry.scale` of each spectrogram that was read
    """

    job: ClaimedJob
    sources: tuple[SourceClip, ...] = ()
    huge: Entry | None = None
    latent: ClipLatents | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    read_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Made:
    """What one job made; a field that is None is not written.

    Attributes
    ----------
    generated, original : float32 [shape=(n_bins, n_frames), in dB]
        Inverted and written as sound; `generated` should resemble `original`.
    latent : what is written as an array
    drawn : labels that were drawn
    boost_db : gain of the loudest bin that restored the level, see `wavemill.synthesis.levels`
    peak : highest absolute sample of the recording that the sounds should resemble, if it is known
    is_sample : whether it was drawn, so that there is no such recording
    """

    input: Input
    duration_s: float
    generated: FloatArray | None = None
    original: FloatArray | None = None
    latent: ClipLatents | None = None
    drawn: Labels = field(default_factory=dict)
    boost_db: float | None = None
    peak: float | None = None
    is_sample: bool = False


class _Operation(Generic[P]):
    """Reads the spectrograms that `source_ids` names, and runs the model over several jobs."""

    _writes_original = False

    def __init__(self, tools: BatchTools, params: P) -> None:
        self._tools = tools
        self._params = params

    def source_ids(self, job: ClaimedJob) -> tuple[str, ...]:
        """Return the IDs of the spectrograms that a job reads."""
        return source_ids(self._tools.operation, job.spectrogram_id, job.item)

    def load(self, job: ClaimedJob, entries: Mapping[str, Entry]) -> Input:
        """Read and check a job's inputs; raise an error that concerns this job alone."""
        started = perf_counter()
        found = [self._entry(ID, entries) for ID in self.source_ids(job)]
        huge = next((entry for entry in found if is_huge(self._tools.dataset.shape_of(entry))), None)
        sources = () if huge else tuple(self._source(entry) for entry in found)
        digests = {entry.spectrogram_id: entry.sha256 for entry in found}
        scales = {entry.spectrogram_id: entry.scale for entry in found}
        read_s = perf_counter() - started
        return Input(job=job, sources=sources, huge=huge, digests=digests, scales=scales, read_s=read_s)

    def make(self, inputs: Sequence[Input]) -> list[Made]:
        """Run the operation over several jobs, with the model if it uses one."""
        raise NotImplementedError

    def run(self, sources: Sequence[SourceClip], inputs: Sequence[Input]) -> Synthesis:
        """Run the model over one clip, or one window of a clip, of each job."""
        raise NotImplementedError

    def _entry(self, spectrogram_id: str, entries: Mapping[str, Entry]) -> Entry:
        if spectrogram_id in entries:
            return entries[spectrogram_id]
        return self._tools.dataset.get(spectrogram_id)  # raises an error that says what is wrong

    def _source(self, entry: Entry) -> SourceClip:
        spectrogram = read_db(self._tools.dataset, entry)
        return SourceClip(spectrogram=spectrogram, duration_s=entry.duration_s, labels=entry.labels, peak=entry.peak)

    def _seeds(self, inputs: Sequence[Input]) -> list[int]:
        return [self._params.item_seed(one.job.spectrogram_id) for one in inputs]

    def _posterior_seeds(self, inputs: Sequence[Input]) -> list[int] | None:
        return None if self._params.seed is None else self._seeds(inputs)

    def _made(self, inputs: Sequence[Input], result: Synthesis) -> list[Made]:
        labels = result.labels or [{}] * len(inputs)
        return [
            Made(
                input=one,
                duration_s=result.latents[i].duration_s,
                generated=result.spectrograms[i],
                original=one.sources[0].spectrogram if self._writes_original else None,
                latent=result.latents[i] if self._params.keep_latents else None,
                drawn=labels[i],
                boost_db=result.boosts_db[i] if result.boosts_db else None,
                peak=result.latents[i].peak,
                is_sample=result.latents[i].is_sample,
            )
            for i, one in enumerate(inputs)
        ]


class _Reconstruct(_Operation[ReconstructParams]):
    _writes_original = True

    def make(self, inputs: Sequence[Input]) -> list[Made]:
        return self._made(inputs, self.run([one.sources[0] for one in inputs], inputs))

    def run(self, sources: Sequence[SourceClip], inputs: Sequence[Input]) -> Synthesis:
        """Run the model over a clip of each job."""
        return from_model.reconstruct(
            self._tools.model, sources, seeds=self._posterior_seeds(inputs), refine=self._params.refine
        )


class _Sample(_Operation[SampleParams]):
    def make(self, inputs: Sequence[Input]) -> list[Made]:
        result = from_model.sample(
            self._tools.model,
            self._seeds(inputs),
            labels=self._params.labels or None,
            temperature=self._params.temperature,
        )
        return self._made(inputs, result)


class _Interpolate(_Operation[InterpolateParams]):
    def make(self, inputs: Sequence[Input]) -> list[Made]:
        pairs = [(one.sources[0], one.sources[1]) for one in inputs]
        weights = [float(one.job.item["weight"]) for one in inputs]
        result = from_model.interpolate(
            self._tools.model, pairs, weights, path=self._params.path, refine=self._params.refine
        )
        return self._made(inputs, result)


class _Vary(_Operation[VaryParams]):
    def make(self, inputs: Sequence[Input]) -> list[Made]:
        sources = [one.sources[0] for one in inputs]
        result = from_model.vary(
            self._tools.model,
            sources,
            seeds=self._seeds(inputs),
            temperature=self._params.temperature,
            refine=self._params.refine,
        )
        return self._made(inputs, result)


class _Encode(_Operation[EncodeParams]):
    def make(self, inputs: Sequence[Input]) -> list[Made]:
        sources = [one.sources[0] for one in inputs]
        clips = from_model.encode(
            self._tools.model, sources, seeds=self._posterior_seeds(inputs), refine=self._params.refine
        )
        return [
            Made(input=one, duration_s=clip.duration_s, latent=clip) for one, clip in zip(inputs, clips, strict=True)
        ]


class _Decode(_Operation[Params]):
    def load(self, job: ClaimedJob, entries: Mapping[str, Entry]) -> Input:  # noqa: ARG002
        started = perf_counter()
        latent, digests = read_latent(self._tools.latents, job.spectrogram_id, self._tools.model)
        return Input(job=job, latent=latent, digests=digests, read_s=perf_counter() - started)

    def make(self, inputs: Sequence[Input]) -> list[Made]:
        clips = [one.latent for one in inputs if one.latent is not None]
        return self._made(inputs, from_model.decode(self._tools.model, clips))


class _Invert(_Operation[Params]):
    def make(self, inputs: Sequence[Input]) -> list[Made]:
        sources = [one.sources[0] for one in inputs]
        return [
            Made(input=one, duration_s=source.duration_s, generated=source.spectrogram, peak=source.peak)
            for one, source in zip(inputs, sources, strict=True)
        ]


_KINDS: Mapping[Operation, Callable[[BatchTools, Any], _Operation[Any]]] = {
    Operation.RECONSTRUCT: _Reconstruct,
    Operation.SAMPLE: _Sample,
    Operation.INTERPOLATE: _Interpolate,
    Operation.VARY: _Vary,
    Operation.ENCODE: _Encode,
    Operation.DECODE: _Decode,
    Operation.INVERT: _Invert,
}


AnyOperation = _Operation[Any]


def operation_of(tools: BatchTools) -> AnyOperation:
    """Return the operation of a batch."""
    return _KINDS[tools.operation](tools, tools.params)
