from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from wavemill.audio.windows import Windows
from wavemill.synthesis import from_model
from wavemill.synthesis.from_model import SourceClip
from wavemill.testing.sine_model import SineModel

SIZE = 16


@pytest.mark.parametrize("n_frames", [16, 17, 28, 29, 100, 1_000])
def test_windows_cover_a_clip_and_overlap_by_half(n_frames: int) -> None:
    starts = Windows(n_frames=n_frames, size=SIZE).starts
    assert starts[0] == 0
    assert starts[-1] + SIZE == n_frames
    assert all(0 < after - before <= 0.5 * SIZE + 1 for before, after in pairwise(starts))


@pytest.mark.parametrize("n_frames", [3, 16, 17, 100])
def test_cutting_and_joining_changes_nothing(n_frames: int) -> None:
    spectrogram = np.random.default_rng(0).standard_normal((4, n_frames)).astype(np.float32)
    windows = Windows(n_frames=n_frames, size=SIZE)
    np.testing.assert_allclose(windows.join(windows.cut(spectrogram)), spectrogram, atol=1e-5)


def test_a_part_is_joined_as_the_same_part_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    windows = Windows(n_frames=100, size=SIZE)
    made = {start: rng.standard_normal((4, SIZE)).astype(np.float32) for start in windows.starts}
    whole = windows.join(list(made.values()))
    part = windows.join([made[start] for start in windows.reaching(30, 60)], first=30, last=60)
    np.testing.assert_array_equal(part, whole[:, 30:60])


def test_a_short_clip_is_padded_with_its_floor() -> None:
    [window] = Windows(n_frames=3, size=SIZE).cut(np.arange(12, dtype=np.float32).reshape(4, 3))
    assert window.shape == (4, SIZE)
    assert (window[:, 3:] == 0).all()


def clips(model: SineModel, *lengths: int) -> list[SourceClip]:
    rng = np.random.default_rng(1)
    return [
        SourceClip(
            spectrogram=rng.uniform(-60, 0, (model.features.n_bins, n)).astype(np.float32),
            duration_s=n * model.features.hop_length / model.features.sample_rate_hz,
        )
        for n in lengths
    ]


def test_clips_of_any_length_are_reconstructed_at_their_own_length() -> None:
    model = SineModel()
    made = from_model.reconstruct(model, clips(model, 20, 128, 400))
    assert [one.shape[1] for one in made.spectrograms] == [20, 128, 400]
    assert [one.array.shape for one in made.latents] == [
        (model.latent_dim,),
        (model.latent_dim,),
        (6, model.latent_dim),
    ]


def test_a_clip_gives_the_same_bytes_alone_and_among_others() -> None:
    model = SineModel()
    sources = clips(model, 400, 20, 128)
    together = from_model.vary(model, sources, seeds=[1, 2, 3], temperature=1.0).spectrograms
    alone = [
        from_model.vary(model, [source], seeds=[seed], temperature=1.0).spectrograms[0]
        for source, seed in zip(sources, [1, 2, 3], strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_window_after_the_end_of_a_clip_is_its_floor() -> None:
    cut = Windows(n_frames=40, size=SIZE).cut(np.arange(1, 21, dtype=np.float32)[None])
    assert [window[0].tolist() for window in cut[1:]] == [
        [*range(9, 21), 1, 1, 1, 1],
        [17, 18, 19, 20] + [1] * 12,
        [1] * SIZE,
    ]


@pytest.mark.parametrize("lengths", [(100, 400), (400, 100), (20, 100), (128, 300), (500, 300)])
def test_an_interpolation_of_any_lengths_begins_and_ends_as_the_reconstructions(lengths: tuple[int, int]) -> None:
    model = SineModel()
    pair = tuple(clips(model, *lengths))
    made = from_model.interpolate(model, [pair] * 3, [0.0, 0.5, 1.0])
    ends = from_model.reconstruct(model, pair)
    assert [one.shape[1] for one in made.spectrograms] == [lengths[0], sum(lengths) // 2, lengths[1]]
    assert made.durations_s == pytest.approx([ends.durations_s[0], sum(ends.durations_s) / 2, ends.durations_s[1]])
    for one, end in ((made.spectrograms[0], ends.spectrograms[0]), (made.spectrograms[2], ends.spectrograms[1])):
        np.testing.assert_allclose(one, end, atol=1e-3)


def test_each_window_of_an_interpolation_lies_between_those_of_its_sources() -> None:
    model = SineModel()
    pair = tuple(clips(model, 400, 400))
    made = from_model.interpolate(model, [pair], [0.25], path="linear")
    first, second = from_model.encode(model, pair)
    np.testing.assert_allclose(made.latents[0].rows, first.rows + 0.25 * (second.rows - first.rows), atol=1e-6)


def test_what_was_encoded_decodes_to_the_reconstruction() -> None:
    model = SineModel()
    sources = clips(model, 20, 128, 400)
    whole = from_model.reconstruct(model, sources, seeds=[1, 2, 3]).spectrograms
    apart = from_model.decode(model, from_model.encode(model, sources, seeds=[1, 2, 3])).spectrograms
    for one, other in zip(whole, apart, strict=True):
        np.testing.assert_array_equal(one, other)
