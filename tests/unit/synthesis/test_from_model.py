from __future__ import annotations

from pathlib import Path

import numpy as np

from wavemill.rendering.latent_files import array_bytes, json_bytes, read_latent
from wavemill.synthesis import from_model
from wavemill.testing.sine_model import SineModel


def test_a_sample_that_fills_its_frame_is_faded_out_and_another_is_left_alone() -> None:
    steady = np.zeros((4, 20), np.float32)
    faded = from_model.faded_out(steady, n_frames=20)
    np.testing.assert_array_equal(faded[:, :13], 0)
    assert (np.diff(faded[0, 12:]) < 0).all()
    assert faded[0, -1] == -from_model.FADE_DB
    ended = np.where(np.arange(20) < 15, steady, -41).astype(np.float32)
    np.testing.assert_array_equal(from_model.faded_out(ended, n_frames=20), ended)


def test_a_sample_of_a_drawn_length_is_faded_out_up_to_its_end() -> None:
    faded = from_model.faded_out(np.zeros((4, 20), np.float32), n_frames=12)
    np.testing.assert_array_equal(faded[:, :5], 0)
    assert (np.diff(faded[0, 4:12]) < 0).all()
    assert (faded[:, 11:] == -from_model.FADE_DB).all()


def test_a_kept_sample_decodes_to_the_sample_with_its_fade(tmp_path: Path) -> None:
    model = SineModel()
    made = from_model.sample(model, [1])
    assert made.spectrograms[0][:, -1].max() < made.spectrograms[0].max() - 50, "it is faded out"
    (tmp_path / "one.npy").write_bytes(array_bytes(made.latents[0]))
    (tmp_path / "one.json").write_bytes(json_bytes(made.latents[0], model.features, {}))
    clip, _ = read_latent(str(tmp_path), "one", model)
    assert clip.duration_s == made.latents[0].duration_s
    again = from_model.decode(model, [clip])
    np.testing.assert_array_equal(again.spectrograms[0], made.spectrograms[0])
