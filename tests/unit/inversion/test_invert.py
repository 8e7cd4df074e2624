from __future__ import annotations

import librosa
import numpy as np
import pytest

from wavemill.inversion import METHODS, invert


def convergence_db(waveform, sound, **geometry):
    """How far the waveform's spectrogram is from the sound's, relative to its energy; lower is better."""
    wanted = np.abs(librosa.stft(sound, **geometry))
    found = np.abs(librosa.stft(waveform, **geometry))[:, : wanted.shape[1]]
    return float(20 * np.log10(np.linalg.norm(found - wanted[:, : found.shape[1]]) / np.linalg.norm(wanted)))


@pytest.mark.parametrize("method", ["pghi+gl", "pghi", "fine"])
def test_a_tone_comes_back_with_its_frequency_and_level(signals, magnitudes, geometry, method):
    tone = signals["tone"]
    waveform = invert(magnitudes(tone, **geometry), **geometry, method=method, length=tone.size)[0]
    inner = waveform[1_200:5_200]  # 4,000 samples: 1 kHz is row 500
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(inner.size)))
    expected = np.abs(np.fft.rfft(tone[1_200:5_200] * np.hanning(inner.size)))
    assert int(spectrum.argmax()) == 500
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert spectrum[500] == pytest.approx(expected[500], rel=0.05)


@pytest.mark.parametrize(("name", "limit_db"), [("tone", -18), ("sweep", -25), ("buzz", -25), ("noise", -14)])
def test_the_default_method_gives_the_wanted_magnitudes(signals, magnitudes, geometry, name, limit_db):
    sound = signals[name]
    waveform = invert(magnitudes(sound, **geometry), **geometry, length=sound.size)[0]
    assert convergence_db(waveform, sound, **geometry) < limit_db


def test_integration_starts_where_griffin_lim_hardly_arrives(signals, magnitudes):
    geometry = {"n_fft": 256, "hop_length": 64}
    sound = signals["sweep"]
    reference = librosa.griffinlim(
        magnitudes(sound, **geometry)[0], **geometry, n_iter=32, length=sound.size, random_state=0
    )
    waveform = invert(magnitudes(sound, **geometry), **geometry, method="pghi", length=sound.size)[0]
    assert convergence_db(waveform, sound, **geometry) < convergence_db(reference, sound, **geometry)


def test_finer_frames_bring_a_voice_nearer_at_half_overlap(signals, magnitudes):
    geometry = {"n_fft": 256, "hop_length": 128}
    distances_db = {"pghi+gl": [], "fine": []}
    for name in ("sweep", "buzz"):
        for method, found in distances_db.items():
            waveform = invert(magnitudes(signals[name], **geometry), **geometry, method=method, length=6_400)
            found.append(convergence_db(waveform[0], signals[name], n_fft=256, hop_length=16))
    assert np.mean(distances_db["fine"]) < np.mean(distances_db["pghi+gl"])


@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 63), (400, 125)])
def test_finer_frames_bring_a_voice_nearer_at_an_odd_hop_too(signals, magnitudes, n_fft, hop_length):
    geometry = {"n_fft": n_fft, "hop_length": hop_length}
    wanted = magnitudes(signals["buzz"], **geometry)
    distances_db = {}
    for method in ("pghi+gl", "fine"):
        waveform = invert(wanted, **geometry, method=method, length=6_400)[0]
        distances_db[method] = convergence_db(waveform, signals["buzz"], n_fft=n_fft, hop_length=16)
    assert distances_db["fine"] < distances_db["pghi+gl"]


@pytest.fixture
def hits():
    random = np.random.default_rng(7)
    sound = np.zeros(16_000, np.float32)
    for start in (1_000, 4_700, 9_100, 12_345):
        times = np.arange(sound.size - start)
        sound[start:] += (random.standard_normal(times.size) * np.exp(-times / 700)).astype(np.float32)
    return sound


def test_attacks_and_noise_come_as_near_to_the_recording_as_by_librosas_griffin_lim(magnitudes, hits):
    geometry = {"n_fft": 512, "hop_length": 128}
    wanted = magnitudes(hits, **geometry)
    reference = librosa.griffinlim(wanted[0], **geometry, n_iter=32, length=hits.size, random_state=0)
    fine = {"n_fft": 512, "hop_length": 32}
    usual, plain = (invert(wanted, **geometry, length=hits.size, n_iter=n)[0] for n in (None, 4))
    assert convergence_db(usual, hits, **fine) < convergence_db(reference, hits, **fine) + 0.2
    assert convergence_db(usual, hits, **fine) < convergence_db(plain, hits, **fine) - 1


@pytest.mark.parametrize("transforms", ["simd", "scipy"])
@pytest.mark.parametrize("method", ["pghi+gl", "fine", "griffin-lim"])
def test_a_limited_recording_keeps_its_peak(magnitudes, hits, method, transforms):
    geometry = {"n_fft": 512, "hop_length": 128}
    limited = np.clip(hits, -1.2, 1.2)
    wanted = magnitudes(limited, limited, **geometry)
    arguments = {**geometry, "method": method, "length": limited.size, "transforms": transforms}
    unknown, known = invert(wanted, **arguments, peaks=[np.nan, 1.2])
    assert np.abs(unknown).max() > 1.5 * 1.2
    assert np.abs(known).max() < 1.25 * 1.2
    assert convergence_db(known, limited, **geometry) < convergence_db(unknown, limited, **geometry) + 1.5
    assert np.array_equal(unknown, invert(wanted[:1], **arguments)[0])


def test_griffin_lim_converges_as_far_as_that_of_librosa(signals, magnitudes, geometry):
    differences_db = []
    for sound in signals.values():
        wanted = magnitudes(sound, **geometry)
        reference = librosa.griffinlim(wanted[0], **geometry, n_iter=32, length=sound.size, random_state=0)
        waveform = invert(wanted, **geometry, method="griffin-lim", length=sound.size)[0]
        differences_db.append(
            convergence_db(waveform, sound, **geometry) - convergence_db(reference, sound, **geometry)
        )
    assert np.mean(differences_db) < 2  # random starts differ by up to 5 for one sound


def test_iterations_bring_the_magnitudes_nearer(signals, magnitudes):
    geometry = {"n_fft": 256, "hop_length": 64}
    wanted = magnitudes(signals["buzz"], **geometry)
    found = [
        convergence_db(invert(wanted, **geometry, n_iter=n)[0], signals["buzz"][:6_400], **geometry) for n in (0, 4, 16)
    ]
    assert found == sorted(found, reverse=True)
    assert np.array_equal(invert(wanted, **geometry, n_iter=0), invert(wanted, **geometry, method="pghi"))


@pytest.mark.parametrize(("method", "sign"), [("zero-phase", 1), ("centre-phase", -1)])
def test_the_constant_phases_are_an_inverse_transform_of_real_spectra(signals, magnitudes, geometry, method, sign):
    wanted = magnitudes(signals["buzz"], **geometry)
    signs = np.where(np.arange(wanted.shape[1]) % 2, sign, 1)[:, None]
    expected = librosa.istft((wanted[0] * signs).astype(np.complex64), **geometry)
    waveform = invert(wanted, **geometry, method=method)[0]
    assert waveform.shape == expected.shape
    assert np.abs(waveform - expected).max() < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_silence_stays_silent(method):
    waveforms = invert(np.zeros((2, 129, 10), np.float32), n_fft=256, hop_length=64, method=method)
    assert waveforms.shape == (2, 9 * 64)
    assert not waveforms.any()


@pytest.mark.parametrize("dropped_rows", [0, 1])
def test_a_flat_floor_becomes_noise_without_clicks(signals, magnitudes, dropped_rows):
    geometry = {"n_fft": 256, "hop_length": 64}
    padded = np.pad(signals["buzz"], (0, 6_400))
    wanted = magnitudes(padded, **geometry)
    floor = wanted.max() * 10 ** (-50 / 20)
    wanted = np.maximum(wanted, floor)
    wanted[:, 129 - dropped_rows :] = 0
    silent = invert(wanted, **geometry, method="pghi", length=padded.size)[0, 7_000:]
    level = np.sqrt(np.mean(silent**2))
    assert level < floor / np.sqrt(96)  # of noise with such magnitudes, 96 being the window's energy
    assert np.abs(silent).max() < 6 * level


@pytest.mark.parametrize("method", METHODS)
def test_one_frame_is_enough(signals, magnitudes, method):
    geometry = {"n_fft": 256, "hop_length": 64}
    wanted = magnitudes(signals["tone"], **geometry)[:, :, 40:41]
    assert invert(wanted, **geometry, method=method).shape == (1, 0)
    waveform = invert(wanted, **geometry, method=method, length=63)
    assert waveform.shape == (1, 63)
    assert np.isfinite(waveform).all()
    assert 0 < np.abs(waveform).max() < 2


@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 64), (400, 100), (192, 48)])
def test_an_impulse_comes_back_as_an_impulse(magnitudes, n_fft, hop_length):
    impulse = np.zeros(6_400, np.float32)
    impulse[3_200] = 1.0
    wanted = magnitudes(impulse, n_fft=n_fft, hop_length=hop_length)
    waveform = invert(wanted, n_fft=n_fft, hop_length=hop_length, length=6_400)[0]
    assert abs(int(np.abs(waveform).argmax()) - 3_200) <= 1
    assert np.abs(waveform).max() == pytest.approx(1, abs=0.3)
    assert np.abs(waveform[: 3_200 - n_fft]).max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_level_scales_the_waveform_and_nothing_else(signals, magnitudes, method):
    geometry = {"n_fft": 192, "hop_length": 96}
    wanted = magnitudes(signals["buzz"], **geometry)
    expected = invert(wanted, **geometry, method=method)
    for scale in (2.0**-90, 0.25, 2.0**100):
        assert np.array_equal(
            invert(wanted * np.float32(scale), **geometry, method=method), expected * np.float32(scale)
        )


def test_the_end_of_a_cut_clip_does_not_ring(magnitudes):
    geometry = {"n_fft": 512, "hop_length": 256}
    sound = (0.3 * np.random.default_rng(5).standard_normal(16_317)).astype(np.float32)  # loud up to the cut
    waveform = invert(magnitudes(sound, **geometry), **geometry, length=16_317)[0]
    assert np.abs(waveform[-256:]).max() < 1.3 * np.abs(waveform[:-256]).max()
