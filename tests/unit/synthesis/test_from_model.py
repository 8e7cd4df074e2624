from __future__ import annotations

import numpy as np

from wavemill.synthesis import from_model


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
