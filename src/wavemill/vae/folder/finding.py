"""Find a model's folder by its name or path. Standard library only."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from wavemill.errors import ModelError
from wavemill.shipped import shipped_folder
from wavemill.vae.folder.record import RECORD_FILE, TRAINING_NAME
from wavemill.vae.folder.replacement import read_steadily


def find_model(name_or_path: str | Path, models_dir: str | Path = "models") -> Path:
    """Return a model's folder, given its path, or its name below `models_dir` or among the shipped.

    Raises
    ------
    ModelError
        When neither is a folder with a `model.json`; the message lists the names that exist.
    """
    for folder in named_folders(name_or_path, models_dir):
        if read_steadily(folder, _holds_record):
            return folder
    for folder in named_folders(name_or_path, models_dir):
        if (folder / TRAINING_NAME).is_dir():
            raise ModelError(
                f"the training of {folder} is not finished: go on with the options that it was started with and "
                "--resume, or save the best weights so far with --finish"
            )
    names = [folder.name for folder in known_models(models_dir)]
    closest = get_close_matches(Path(name_or_path).name, names, n=1)
    raise ModelError(
        f"there is no model {str(name_or_path)!r}{f', did you mean {closest[0]!r}?' if closest else ':'} expected a "
        f"folder with {RECORD_FILE}, or a name under {models_dir} (known: {', '.join(names) or 'none'}); set "
        "WAVEMILL_MODELS to the folder of your models, or train one with: wavemill train DATASET MODEL"
    )


def named_folders(name_or_path: str | Path, models_dir: str | Path) -> list[Path]:
    """Return the folders that a name or path may mean; the first that is a model folder counts."""
    shipped = shipped_folder("models")
    return [Path(models_dir) / name_or_path, Path(name_or_path), *([shipped / name_or_path] if shipped else [])]


def known_models(models_dir: str | Path) -> list[Path]:
    """Return the model folders directly below `models_dir`, then shipped ones with other names."""
    own = list_models(models_dir)
    shipped = shipped_folder("models")
    names = {folder.name for folder in own}
    return own + [folder for folder in (list_models(shipped) if shipped else []) if folder.name not in names]


def _holds_record(folder: Path) -> bool:
    return (folder / RECORD_FILE).is_file()


def list_models(models_dir: str | Path = "models") -> list[Path]:
    """Return the model folders directly below `models_dir`, sorted by name."""
    folder = Path(models_dir)
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if (child / RECORD_FILE).is_file())
