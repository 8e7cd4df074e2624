"""Trains a network on a dataset.

Training is seeded and can be resumed. It stops early when the held-out error no longer improves.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wavemill import __version__
from wavemill.errors import UsageError
from wavemill.keras_seam import keras, keras_defaults
from wavemill.vae.conditions import conditions_of, total_width
from wavemill.vae.folder.record import ModelRecord, numbers_text
from wavemill.vae.folder.writing import require_writable
from wavemill.vae.model import Model
from wavemill.vae.network.building import Network, build_network
from wavemill.vae.network.scaling import Scheme, normalisation_for
from wavemill.vae.package import get_weights, save_model, set_weights
from wavemill.vae.told import told
from wavemill.vae.training.batches import Batches, Indices, SpectrogramSource, in_order, split
from wavemill.vae.training.checkpoint import Checkpoint, Progress, checkpoint_file, read_checkpoint, write_checkpoint
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.fitting import fit_lengths, fit_prior, not_sampled
from wavemill.vae.training.joined_source import JoinedSource
from wavemill.vae.training.learnt import LEAST_STEPS_TO_JUDGE, average_error, require_learnt
from wavemill.vae.training.lineage import ancestors, inherited_rule
from wavemill.vae.training.reports import EpochReport, Summary
from wavemill.vae.training.trainer import Trainer

Evaluate = Callable[[Model, SpectrogramSource, Indices], dict[str, Any]]


class TrainingRun:
    """One training run, from the start or its checkpoint to the finished model folder."""

    def __init__(
        self,
        source: SpectrogramSource,
        model_dir: Path,
        config: TrainingConfig,
        *,
        resume: bool = False,
        init: Model | None = None,
        added: Sequence[SpectrogramSource] = (),
    ) -> None:
        keras.utils.set_random_seed(config.seed)  # Python, NumPy and TensorFlow: the initial weights
        self.source, self.model_dir, self._added, self._ancestors = source, model_dir, added, ancestors(init)
        if init:
            rule = config.validation_label or inherited_rule(init, source.labels)
            config = replace(config, init=f"{init.name}, {init.digest}", validation_label=rule)
        self.config = config
        self.scheme: Scheme = dict(init.record.normalisation) if init else normalisation_for(config.architecture)
        self.training, self.held_out = split(source.labels, config, source.recordings)
        everything = JoinedSource(source, added)
        heard = [everything.labels[i] for i in (*self.training, *everything.added)]
        self.conditions = init.record.conditions if init else conditions_of(config.conditions, heard)
        self.network = build_network(
            config.architecture,
            kind=config.kind,
            shape=source.features.shape,
            latent_dim=config.latent_dim,
            config=config.architecture_config,
            conditions=self.conditions,
        )
        self._told = told(self.conditions, source.labels) if self.conditions else None
        if init:
            _take_weights(self.network, init)
        self.batches = Batches(
            everything, self.training, self.scheme, config, added=everything.added, conditions=self.conditions
        )
        self.trainer = Trainer(self.network, config, total_steps=config.epochs * self.batches.steps_per_epoch)
        self.progress, self.best = Progress(), get_weights(self.network)
        if resume:
            self._take_up(read_checkpoint(checkpoint_file(model_dir)))

    @property
    def finished(self) -> bool:
        """True when all epochs are done, or `patience` epochs did not improve the held-out error."""
        waited = self.progress.epoch - self.progress.best_epoch
        half_an_epoch_s = self.progress.seconds / max(1, self.progress.epoch) / 2
        late = self.limit_s is not None and self.progress.seconds + half_an_epoch_s > self.limit_s
        return self.progress.epoch >= self.config.epochs or late or 0 < self.config.patience <= waited

    @property
    def limit_s(self) -> float | None:
        """The time that the training may take, in seconds."""
        return self.config.max_minutes and self.config.max_minutes * 60

    def summary(self) -> Summary:
        """Return what the training is about to do; two steps are taken to measure it, and undone."""
        epoch_s = self.trainer.measured_step_s(*next(self.batches.epoch(0))) * self.batches.steps_per_epoch
        epochs = self.config.epochs if self.limit_s is None else min(self.config.epochs, round(self.limit_s / epoch_s))
        return Summary(
            clips=len(self.training),
            added=self.batches.n_added,
            held_out=len(self.held_out),
            unused=len(self.source.labels) - len(self.training) - len(self.held_out),
            numbers=numbers_text(self.config.latent_dim, total_width(self.conditions)),
            values=int(np.prod(self.source.features.shape)),
            parameters=sum(int(np.prod(variable.shape)) for variable in self.network.variables().values()),
            steps_per_epoch=self.batches.steps_per_epoch,
            epochs=max(1, epochs),
            epoch_s=epoch_s,
            total_s=epoch_s * max(1, epochs),
        )

    def run_epoch(self) -> EpochReport:
        """Train one epoch, validate, and write the checkpoint."""
        started, epoch = time.perf_counter(), self.progress.epoch
        first_step = epoch * self.batches.steps_per_epoch
        steps = []
        for i, (x, labels) in enumerate(self.batches.epoch(epoch)):
            passed_s = self.progress.seconds + time.perf_counter() - started
            position = self.limit_s and passed_s / self.limit_s
            steps.append(self.trainer.train_step(x, first_step + i, labels, position=position))
        means = {name: float(np.mean([step[name] for step in steps])) for name in steps[0]}
        error = self._validate()
        better = error < self.progress.best_error
        seconds = self.progress.seconds + time.perf_counter() - started
        self.progress = replace(self.progress, epoch=epoch + 1, seconds=seconds)
        if better:
            self.progress = replace(self.progress, best_epoch=epoch + 1, best_error=error)
        self._write_checkpoint()
        return EpochReport(
            epoch=epoch + 1, epochs=self.config.epochs, validation_error=error, best=better, seconds=seconds, **means
        )

    def require_learnt(self) -> None:
        """Raise TrainingError if the model is no better than one average spectrogram."""
        steps = self.progress.epoch * self.batches.steps_per_epoch
        if steps >= LEAST_STEPS_TO_JUDGE:
            average = average_error(self.source, self.held_out, self.scheme, self.config)
            require_learnt(self.progress.best_error, average, steps=steps)

    def save(self, evaluate: Evaluate | None = None) -> str:
        """Write the model folder with the best weights and return its digest."""
        set_weights(self.network, self.best)
        prior = fit_prior(self.network, self.source, self.training, self.scheme, self.config)
        record = replace(self.record(), labels=prior.labels)
        record = replace(record, training={**record.training, **not_sampled(prior, self.source.labels)})
        if evaluate:
            model = Model(record, self.network, digest="")
            record = replace(record, quality=evaluate(model, self.source, self.held_out))
        lengths = fit_lengths(self.source, self.training, record.features)
        return save_model(self.model_dir, record, self.network, latents=prior.arrays() | lengths.arrays())

    def record(self) -> ModelRecord:
        """Return the record of the model as trained so far."""
        config = self.config
        training: dict[str, Any] = {
            **{name: value for name, value in config.as_dict().items() if name not in _RECORDED_APART},
            **self._heard(),
            "spectrograms": len(self.training),
            "held_out": len(self.held_out),
            "epochs_done": self.progress.epoch,
            "best_epoch": self.progress.best_epoch,
            "best_validation_error": self.progress.best_error,
            "seconds": round(self.progress.seconds, 1),
        }
        return ModelRecord(
            name=self.model_dir.name,
            kind=config.kind,
            architecture=config.architecture,
            architecture_config=config.architecture_config,
            features=self.source.features,
            normalisation=self.scheme,
            latent_dim=config.latent_dim,
            training=training,
            quality={},
            code_version=__version__,
            conditions=self.conditions,
        )

    def _heard(self) -> dict[str, Any]:
        """Return the datasets and ancestors of this training, for the record.

        `wavemill evaluate` reads them to tell whether its clips are new to the model.
        """
        heard: dict[str, Any] = {"dataset": self.source.name, "added": [other.name for other in self._added]}
        if self._added:
            heard["added_share"] = self.config.added_share
        return heard | ({"ancestors": self._ancestors} if self._ancestors else {})

    def _validate(self) -> float:
        """Return the held-out error of the averaged weights; keep them if they are the best so far.

        With a `patience` of 0, the latest weights are always kept.
        """
        self.trainer.swap_average()
        batches = in_order(self.source, self.held_out, self.scheme, self.config.batch_size)
        error = self.trainer.mean_error(batches, self._told and self._told.take(self.held_out))
        if error < self.progress.best_error or not self.config.patience:
            self.best = get_weights(self.network)
        self.trainer.swap_average()
        return error

    def _write_checkpoint(self) -> None:
        checkpoint = Checkpoint(
            progress=self.progress,
            state=self.trainer.state(),
            best=self.best,
            config=self.config.as_dict(),
            features=self.source.features.as_dict(),
        )
        write_checkpoint(checkpoint_file(self.model_dir), checkpoint)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        ours = {**self.config.as_dict(), **self.source.features.as_dict()}
        theirs = {**checkpoint.config, **checkpoint.features}
        if changed := sorted(name for name in ours if ours[name] != theirs.get(name) and name not in _MAY_CHANGE):
            raise UsageError(
                f"the training to resume was started with other options ({', '.join(changed)}); "
                "give the same options, or start without --resume"
            )
        self.trainer.restore(checkpoint.state)
        self.progress, self.best = checkpoint.progress, dict(checkpoint.best)


def _take_weights(network: Network, init: Model) -> None:
    """Assign the weights of a trained model; a plain autoencoder ignores those of the variance."""
    weights = get_weights(init.network)
    set_weights(network, {name: weights[name] for name in network.variables() if name in weights})


_MAY_CHANGE = ("epochs", "patience", "max_minutes")  # options that may differ when training is resumed
_RECORDED_APART = ("kind", "architecture", "architecture_config", "latent_dim", "added_share")


@keras_defaults()
def train(
    source: SpectrogramSource,
    model_dir: str | Path,
    config: TrainingConfig | None = None,
    *,
    resume: bool = False,
    finish: bool = False,
    init: Model | None = None,
    added: Sequence[SpectrogramSource] = (),
    started: Callable[[Summary], None] | None = None,
    progress: Callable[[EpochReport], None] | None = None,
    saving: Callable[[], None] | None = None,
    evaluate: Evaluate | None = None,
) -> str:
    """Train a model, write its folder, and return the model's digest.

    A training that is resumed from its last complete epoch ends with the same weights as one without interruption.

    Parameters
    ----------
    source : the spectrograms; `wavemill.vae.training.dataset_source.DatasetSource` reads a dataset
    model_dir : the model's folder; its name becomes the model's name
    config : defaults to the default architecture's recipe
    resume : continue the training in `model_dir/.training`; `epochs` and `patience` may differ
    finish : with `resume`, save the best weights so far without training further
    init : start from the weights of this model of the same architecture and sizes, with its
        normalisation and, unless `config` has its own, its `validation_label`
    added : datasets to train on as well, as `config.added_share` of each epoch; nothing from them
        is held out or used for the prior
    started : called before the first step, with what it will take
    progress : called after each epoch
    saving : called after the last epoch, before the prior is fitted
    evaluate : returns the record's quality figures, measured on the held-out spectrograms, such as
        `wavemill.vae.training.quality.measure`

    Raises
    ------
    TrainingError
        When nothing was learnt. Training can still be resumed with more epochs, or finished.
    UsageError
        When nothing can be held out, the options differ from the resumed training's, or the sources' features differ.
    ModelError
        When the weights of `init` do not fit.
    OutputError
        When the folder cannot be written, or holds a recogniser. This is checked before training.
    """
    require_writable(Path(model_dir))
    import sklearn  # noqa: F401  it fits the prior at the end: if it is missing, say so before training

    run = TrainingRun(source, Path(model_dir), config or TrainingConfig(), resume=resume, init=init, added=added)
    if not finish:
        if started:
            started(run.summary())
        while not run.finished:
            report = run.run_epoch()
            if progress:
                progress(report)
        run.require_learnt()
    if saving:
        saving()
    digest = run.save(evaluate)
    shutil.rmtree(checkpoint_file(run.model_dir).parent, ignore_errors=True)
    return digest
