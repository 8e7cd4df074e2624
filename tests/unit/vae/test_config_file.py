from __future__ import annotations

from pathlib import Path

import pytest

from wavemill.errors import UsageError
from wavemill.vae.training.config_file import read_config


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'epochs = 3\nbeta = 1\nconditions = ["pitch"]\n[architecture_config]\nwidth = 64\n'),
        ("a.json", '{"epochs": 3, "beta": 1, "conditions": ["pitch"], "architecture_config": {"width": 64}}'),
    ],
)
def test_options_are_read_from_toml_and_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    expected = {"epochs": 3, "beta": 1, "conditions": ["pitch"], "architecture_config": {"width": 64}}
    assert read_config(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"epoch": 3}', "no training option epoch; choose from: .*epochs"),
        ('{"init": "me"}', "no training option init"),
        ('{"epochs": "three"}', "epochs = three"),
        ('{"augment": 1}', "augment = 1"),
        ('{"epochs": true}', "epochs = True"),
        ('{"conditions": "pitch"}', "conditions = pitch"),
        ("[]", "no training option list"),
        ("{", "in TOML"),
    ],
)
def test_what_is_no_option_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_config(tmp_path / "a.json")


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected training options"):
        read_config(tmp_path / "none.toml")
