"""What a training reports: what it is about to do, and the result of each epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The size and the expected time of a training, measured on two of its steps."""

    clips: int
    added: int  # clips of added datasets
    held_out: int
    unused: int  # clips of `test` and of splits that training does not know
    numbers: str  # how many numbers a clip becomes
    values: int  # of a clip's spectrogram
    parameters: int
    steps_per_epoch: int
    epochs: int  # at most
    epoch_s: float
    total_s: float

    def lines(self) -> list[str]:
        """Return the summary as text."""
        others = [f"{self.added} added"] * bool(self.added) + [f"{self.held_out} held out"]
        others += [f"{self.unused} of other splits are left alone"] * bool(self.unused)
        return [
            f"clips: {self.clips} to train on, {', '.join(others)}",
            f"a clip: {self.values} values become {self.numbers}",
            f"network: {self.parameters:,} parameters",
            f"time: about {_time(self.epoch_s)} an epoch of {self.steps_per_epoch} steps, {_time(self.total_s)} for "
            f"{self.epochs} epochs",
        ]


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """The result of one epoch; `validation_error` is of the averaged weights, at the latent mean."""

    epoch: int  # from 1
    epochs: int
    loss: float
    error: float
    kl: float  # nats per spectrogram
    validation_error: float
    best: bool
    seconds: float  # training time so far, all epochs


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
