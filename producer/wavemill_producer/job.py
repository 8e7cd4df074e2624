"""`Job`: one row of the table, with its sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from wavemill.errors import UsageError
from wavemill.text.shown import shown

if TYPE_CHECKING:
    from wavemill.arrays import FloatArray

Which = Literal["generated", "original"]
_PATHS: Mapping[str, str] = {"generated": "generated_path", "original": "original_path"}


class Job:
    """A job as it was when it was read. The columns of the table are attributes and keys.

    Examples
    --------
    >>> for job in batch.jobs(state="done"):
    ...     samples, rate_hz = job.audio()
    ...     print(job.spectrogram_id, job.quality["peak"], len(samples) / rate_hz)

    Parameters
    ----------
    columns : mapping
        The row: names of columns -> values.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._mapping = columns

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._mapping[name]
        except KeyError:
            raise AttributeError(f"a job has no {name!r}; it has: {', '.join(self._mapping)}") from None

    def __getitem__(self, name: str) -> Any:
        return self._mapping[name]

    def __iter__(self) -> Iterator[Any]:
        """Yield the values in the order of the columns, as a row does."""
        return iter(self._mapping.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and dict(self._mapping) == dict(other._mapping)

    def __hash__(self) -> int:
        return hash(self._mapping["id"])

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._mapping]

    def __repr__(self) -> str:
        error = f": {self.error}" if self.error else ""
        return shown(f"<Job {self.id} {self.spectrogram_id}: {self.state}, attempt {self.attempt}{error}>")

    def to_dict(self) -> dict[str, Any]:
        """Return the columns."""
        return dict(self._mapping)

    def path(self, which: Which = "generated") -> str:
        """Return the path or URL of a sound; UsageError if the job has none."""
        if which not in _PATHS:
            raise UsageError(f"expected {' or '.join(_PATHS)}, received {which!r}")
        path: str | None = self._mapping[_PATHS[which]]
        if path is None:
            advice = "its operation does not make one" if self.state == "done" else "wait for its batch"
            raise UsageError(f"job {self.id} is {self.state} and has no {which} sound; {advice}")
        return path

    def audio(self, which: Which = "generated") -> tuple[FloatArray, int]:
        """Read a sound.

        Returns
        -------
        samples : float32 [shape=(samples,)]
            Full scale is 1.0.
        rate_hz : int > 0

        Raises
        ------
        UsageError
            The job has no such sound.
        OutputError
            The file is missing or damaged.
        """
        from wavemill_producer.sounds import read_sound

        return read_sound(self.path(which))

    def _repr_html_(self) -> str:
        from wavemill_producer.notebook import job_html

        return job_html(self)
