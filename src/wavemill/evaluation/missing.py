"""Says in a sentence each which figures are left out, and why."""

from __future__ import annotations

import numpy as np

from wavemill.evaluation.clips import Clips
from wavemill.evaluation.fidelity import PESQ_RATE_HZ
from wavemill.evaluation.judge import DIGIT, Judge, Rendition
from wavemill.evaluation.pocketsphinx import RATES_HZ
from wavemill.recogniser.recogniser import Recogniser


def missing_notes(judge: Judge, recogniser: Recogniser | None, reader: Clips, judged: Rendition) -> list[str]:
    """Return the notes of an evaluation on figures that it lacks."""
    notes = []
    if not reader.has_recordings:
        notes.append("No recordings were given: inverted spectrograms serve as the truth.")
    notes += _speech_notes(judged, judge.judged.sample_rate_hz)
    if "pitch_right" not in judged.scores:
        notes.append("No pitch was judged: no held-out clip has one for most of its length.")
    if recogniser is None:
        notes.append(
            "No labels were heard, since no recogniser was given (--recogniser FOLDER, see wavemill recogniser train): "
            "samples are compared by the mean and spread of their mel bands."
        )
    elif not judged.heard:
        notes.append(
            "No recognition was judged: the recogniser knows the labels "
            f"{', '.join(recogniser.labels)}, and no held-out clip has one of them."
        )
    if DIGIT in judged.heard and "pocketsphinx_digit_accuracy" not in judged.figures:
        if judge.judged.sample_rate_hz in RATES_HZ:
            notes.append("PocketSphinx was not run: pip install 'wavemill[evaluate]'.")
        else:
            notes.append("PocketSphinx was not run: it hears speech at 8 and 16 kHz only.")
    return notes


def _speech_notes(judged: Rendition, sample_rate_hz: int) -> list[str]:
    notes = []
    pesq_clips = judged.figures.get("pesq_clips")
    if pesq_clips is not None and pesq_clips < len(judged.sounds):
        notes.append(
            f"PESQ is a mean over {pesq_clips} of {len(judged.sounds)} clips: it finds no speech in the others."
        )
    if "stoi" not in judged.scores:
        notes.append("STOI was not measured: pip install 'wavemill[evaluate]'.")
    elif n_short := int(np.isnan(judged.scores["stoi"]).sum()):
        notes.append(f"STOI was not measured for {n_short} of {len(judged.sounds)} clips: they are too short for it.")
    if "pesq" not in judged.scores:
        if sample_rate_hz == PESQ_RATE_HZ:
            notes.append("PESQ was not measured: pip install 'wavemill[pesq]'.")
        else:
            notes.append(f"PESQ was not measured: it is for speech at 8 kHz, these sounds are at {sample_rate_hz} Hz.")
    return notes
