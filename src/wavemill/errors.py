"""All of wavemill's own errors, as one class tree.

WavemillError
├── PermanentError            trying again cannot help
│   ├── UsageError            the call itself is wrong
│   │   └── SettingsError
│   ├── NotFoundError         no such batch, job, dataset, model
│   │   ├── UnknownSpectrogramError
│   │   └── UnknownLatentError
│   ├── InvalidIdError
│   ├── AudioError
│   ├── SpectrogramError
│   │   └── SilentSpectrogramError
│   ├── LatentError
│   ├── DatasetError
│   ├── ModelError
│   │   ├── ModelChangedError
│   │   └── PresetMismatchError
│   ├── TrainingError
│   ├── OutputError
│   ├── DatabaseUnusableError
│   ├── MessageError
│   └── WorkerLostError
└── TransientError            trying again later can help
    ├── OutageError           a shared service does not answer; no job is to blame
    │   ├── DatabaseUnavailableError
    │   │   └── TableRevisionError
    │   ├── BrokerUnavailableError
    │   └── StorageUnavailableError
    ├── StorageError
    ├── ModelNotHereError     this worker cannot serve the batch's model; another may
    └── DeviceMemoryError

`code` is stored in the column `error_code`. Scripts rely on the codes: do not change them.
"""

from __future__ import annotations

from typing import ClassVar, Self

from wavemill.text.secrets_in_urls import without_secrets


class WavemillError(Exception):
    """Root of every error that wavemill raises on purpose."""

    code: ClassVar[str] = "error"

    def __str__(self) -> str:
        """Return the message, with secrets in URLs hidden."""
        return without_secrets(super().__str__())


class PermanentError(WavemillError):
    """Trying the same thing again cannot help."""

    code = "permanent"


class TransientError(WavemillError):
    """Trying the same thing later can help."""

    code = "transient"


class OutageError(TransientError):
    """Something that every job needs does not answer."""

    code = "outage"


class UsageError(PermanentError):
    """The call's arguments do not fit together."""

    code = "usage"


class SettingsError(UsageError):
    """A `WAVEMILL_*` setting has a value that cannot be used."""

    code = "settings"


class NotFoundError(PermanentError):
    """There is no batch, job, dataset or model of that name."""

    code = "not-found"

    @classmethod
    def of_batch(cls, id_or_name: str) -> Self:
        """Return the error for a batch that the table does not hold."""
        return cls(f"there is no batch {id_or_name!r}; list them with: wavemill status")


class UnknownSpectrogramError(NotFoundError):
    """The dataset's index has no spectrogram of that ID, or its file is gone."""

    code = "unknown-spectrogram"


class UnknownLatentError(NotFoundError):
    """There is no file of latents of that name."""

    code = "unknown-latent"


class InvalidIdError(PermanentError):
    """An ID that could leave the output folder or cannot be a file's name."""

    code = "invalid-id"


class AudioError(PermanentError):
    """A recording cannot be read as sound."""

    code = "unreadable-audio"


class SpectrogramError(PermanentError):
    """A spectrogram file is not the array that the dataset promises."""

    code = "bad-spectrogram"


class SilentSpectrogramError(SpectrogramError):
    """A spectrogram holds no sound: every value is the same."""

    code = "silent-spectrogram"


class LatentError(PermanentError):
    """A file of latents is not what the model takes."""

    code = "bad-latent"


class DatasetError(PermanentError):
    """A dataset folder cannot be used as it is."""

    code = "bad-dataset"


class ModelError(PermanentError):
    """A model folder cannot be used as it is."""

    code = "bad-model"


class ModelChangedError(ModelError):
    """The model's files do not have the digest that was recorded."""

    code = "model-changed"


class PresetMismatchError(ModelError):
    """The model was trained on other features than the dataset holds."""

    code = "preset-mismatch"


class TrainingError(PermanentError):
    """A training ended without having learnt anything."""

    code = "nothing-learnt"


class OutputError(PermanentError):
    """An output cannot be written where the batch wants it."""

    code = "unwritable-output"


class DatabaseUnusableError(PermanentError):
    """The database answers, but holds another program's tables, or does not let this user do what is needed."""

    code = "database-unusable"


class MessageError(PermanentError):
    """A message in the broker that wavemill did not send."""

    code = "bad-message"


class WorkerLostError(PermanentError):
    """The worker process died every time it worked on this job."""

    code = "worker-lost"


class DatabaseUnavailableError(OutageError):
    """The database does not answer."""

    code = "database-unavailable"


class TableRevisionError(DatabaseUnavailableError):
    """The tables are missing or of another version; workers wait until they are upgraded."""


class BrokerUnavailableError(OutageError):
    """The broker does not answer."""

    code = "broker-unavailable"


class StorageUnavailableError(OutageError):
    """The storage is full or does not answer."""

    code = "storage-unavailable"


class StorageError(TransientError):
    """The storage failed in an unknown way; the fault may be wavemill's own."""

    code = "storage-error"


class ModelNotHereError(TransientError):
    """The worker lacks the batch's model or part of it; another worker may have it."""

    code = "model-not-here"


class DeviceMemoryError(TransientError):
    """The device has no memory left for the forward pass."""

    code = "device-memory"
