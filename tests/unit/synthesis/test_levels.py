from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from wavemill.audio.features import extract, to_magnitude
from wavemill.presets import preset
from wavemill.synthesis.levels import Levels, restore_energy

DIGITS = preset("digits")


def _speech_like(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = 40 * np.exp(-((np.arange(128)[:, None] - 20) ** 2) / 800) - 60
    return (shape + 3 * rng.standard_normal((128, 128))).astype(np.float32)


def _energy_db(spectrogram: np.ndarray) -> float:
    return float(10 * np.log10((10 ** (spectrogram.astype(np.float64) / 10)).sum()))


@pytest.mark.parametrize("lost_db", [0.0, 1.6, 3.0, -1.0])
def test_the_energy_of_the_source_comes_back_and_soft_bins_stay_as_they_are(lost_db: float) -> None:
    source = _speech_like()
    restored, boost_db = restore_energy(source - np.float32(lost_db), Levels.of(source, DIGITS), DIGITS)
    assert _energy_db(restored) == pytest.approx(_energy_db(source), abs=0.01)
    assert np.sign(round(boost_db, 2)) == np.sign(lost_db)
    soft = source < source.max() - 21
    np.testing.assert_array_equal(restored[soft], (source - np.float32(lost_db))[soft])


@pytest.mark.parametrize("lost_db", [8.0, 40.0])
def test_any_loss_of_level_is_made_good(lost_db: float) -> None:
    source = _speech_like()
    blurred = np.minimum(source, source.max() - 15) - np.float32(lost_db)  # as a network that blurs what is loud
    restored, boost_db = restore_energy(blurred, Levels.of(source, DIGITS), DIGITS)
    assert _energy_db(restored) == pytest.approx(_energy_db(source), abs=0.01)
    assert (restored - blurred).max() == pytest.approx(boost_db, abs=1e-3)


def test_what_the_loudest_bins_cannot_take_goes_to_all_bins() -> None:
    source = np.zeros((128, 128), np.float32)
    made = np.full_like(source, -40)
    made[3, 3] = 0
    restored, _ = restore_energy(made, Levels.of(source, DIGITS), DIGITS)
    assert _energy_db(restored) == pytest.approx(_energy_db(source), abs=0.01)
    gains = restored - made
    assert gains[0, 0] > 20
    assert gains[3, 3] - gains[0, 0] == pytest.approx(3, abs=1e-3)


def test_in_mel_bands_the_energy_of_the_stft_comes_back() -> None:
    rng = np.random.default_rng(2)
    mel = preset("digits-mel")
    signal = (rng.standard_normal(mel.n_samples) * np.hanning(mel.n_samples)).astype(np.float32)
    source = extract(scipy.signal.lfilter([1], [1, -0.95], signal).astype(np.float32), mel)
    softened = source.copy()
    softened[:20] -= 12  # bass, in bands of few rows each
    restored, _ = restore_energy(softened, Levels.of(source, mel), mel)
    wanted, made = (float(np.square(to_magnitude(db, mel)).sum()) for db in (source, restored))
    assert 10 * np.log10(made / wanted) == pytest.approx(0, abs=0.5)


def test_without_a_known_energy_nothing_is_changed() -> None:
    source = _speech_like()
    restored, boost_db = restore_energy(source, Levels(peak_db=0.0, floor_db=-80.0), DIGITS)
    assert restored is source
    assert boost_db == 0.0


def test_levels_go_over_evenly_and_an_unknown_energy_stays_unknown() -> None:
    loud, soft = Levels(peak_db=0, floor_db=-80, energy_db=20), Levels(peak_db=-20, floor_db=-100, energy_db=10)
    assert loud.between(soft, 0.25) == Levels(peak_db=-5, floor_db=-85, energy_db=17.5)
    assert loud.between(Levels(peak_db=-20, floor_db=-100), 0.5).energy_db is None


@pytest.mark.parametrize("level_db", [-600, 600])
def test_levels_far_from_any_sound_are_measured_and_restored(level_db: float) -> None:
    source = _speech_like() + np.float32(level_db)
    restored, boost_db = restore_energy(source - 2, Levels.of(source, DIGITS), DIGITS)
    assert _energy_db(restored) == pytest.approx(_energy_db(source), abs=0.01)
    assert 2 < boost_db < 6
