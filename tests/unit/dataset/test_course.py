from __future__ import annotations

import codecs
import collections
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from data import course_recipe

from wavemill.audio.features import denormalise
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.course import import_course
from wavemill.dataset.course_pickle import read_ranges
from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError
from wavemill.presets import preset

COURSE = preset("course")


class Course:
    """What the course's preprocessing leaves on disk, and where the import goes."""

    def __init__(self, folder: Path) -> None:
        self.audio = folder / "audio"
        self.spectrograms = folder / "spectrograms"
        self.pickle = folder / "min_max_values.pkl"
        self.dataset = folder / "dataset"

    def write_pickle(self, content: object, **options: Any) -> None:
        self.pickle.write_bytes(pickle.dumps(content, **options))

    def ranges(self) -> dict[str, Any]:
        return pickle.loads(self.pickle.read_bytes())


@pytest.fixture
def course(tmp_path: Path) -> Course:
    paths = Course(tmp_path)
    paths.audio.mkdir()
    rng = np.random.default_rng(0)
    for name, duration_s in (("0_george_1", 0.3), ("7_lucas_12", 0.74), ("9_theo_0", 1.4)):
        time_s = np.arange(int(8_000 * duration_s)) / 8_000
        signal = 0.4 * np.sin(2 * np.pi * 300 * time_s) * np.exp(-3 * time_s) + rng.normal(0, 0.001, len(time_s))
        soundfile.write(paths.audio / f"{name}.wav", signal, 8_000)
    course_recipe.preprocess(paths.audio, paths.spectrograms, paths.pickle)
    return paths


def read(dataset: Path, spectrogram_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Return an array as it is stored, and in dB."""
    with Dataset.open(dataset) as opened:
        entry = opened.get(spectrogram_id)
        x = read_spectrogram(opened, entry)
    return x, denormalise(x, entry.min_db, entry.max_db)


@pytest.mark.parametrize("channel_axis", [False, True])
def test_the_course_output_imports_to_the_same_values(course: Course, channel_axis: bool) -> None:
    if channel_axis:
        for path in course.spectrograms.iterdir():
            np.save(path, np.load(path)[..., np.newaxis])
    report = import_course(course.spectrograms, course.pickle, course.dataset)
    assert (report.imported, report.without_range, report.without_file, report.unreadable) == (3, [], [], [])
    for name in ("0_george_1", "7_lucas_12", "9_theo_0"):
        x, db = read(course.dataset, name)
        stored = np.load(course.spectrograms / f"{name}.wav.npy").reshape(256, 64)
        np.testing.assert_array_equal(x, stored)
        (bounds,) = (value for path, value in course.ranges().items() if name in path)
        np.testing.assert_array_equal(db, stored * (bounds["max"] - bounds["min"]) + bounds["min"])
        np.testing.assert_allclose(db, course_recipe.decibels(course.audio / f"{name}.wav"), atol=2e-5, rtol=0)


def test_our_own_course_preset_makes_what_the_course_makes(course: Course, tmp_path: Path) -> None:
    import_course(course.spectrograms, course.pickle, course.dataset)
    report = build(course.audio, tmp_path / "built", COURSE)
    assert report.cut == 1
    for name in ("0_george_1", "7_lucas_12", "9_theo_0"):
        for ours, theirs in zip(read(tmp_path / "built", name), read(course.dataset, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_imported_dataset_knows_preset_labels_and_length(course: Course) -> None:
    import_course(course.spectrograms, course.pickle, course.dataset)
    with Dataset.open(course.dataset) as opened:
        assert opened.features == COURSE
        assert list(opened.ids({"speaker": "lucas"})) == ["7_lucas_12"]
        assert opened.get("7_lucas_12").duration_s == pytest.approx(0.74)


def test_a_folder_that_moved_is_matched_by_file_name(course: Course, tmp_path: Path) -> None:
    moved = course.spectrograms.rename(tmp_path / "elsewhere")
    course.write_pickle({f"C:\\users\\me\\{Path(path).name}": value for path, value in course.ranges().items()})
    assert import_course(moved, course.pickle, course.dataset).imported == 3


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_is_read(course: Course, protocol: int) -> None:
    expected = {path: (float(v["min"]), float(v["max"])) for path, v in course.ranges().items()}
    course.write_pickle(course.ranges(), protocol=protocol)
    assert read_ranges(course.pickle) == expected


@pytest.mark.parametrize(
    "make", [float, int, np.float64, np.float32, np.float16, np.int64, np.dtype(">f4").type, np.uint8]
)
def test_plain_and_numpy_numbers_are_read(course: Course, make: Callable[[float], Any]) -> None:
    course.write_pickle({"a": {"min": make(3), "max": make(20)}})
    assert read_ranges(course.pickle) == {"a": (3.0, 20.0)}


def test_pickles_of_numpy_1_are_read(course: Course) -> None:
    course.pickle.write_bytes(
        pickle.dumps({"a": {"min": np.float32(-1.5), "max": np.float32(2)}}, protocol=2).replace(
            b"numpy._core.multiarray", b"numpy.core.multiarray"
        )
    )
    assert b"numpy.core" in course.pickle.read_bytes()
    assert read_ranges(course.pickle) == {"a": (-1.5, 2.0)}


def test_files_and_names_without_a_partner_are_reported_one_by_one(course: Course) -> None:
    ranges = {path: value for path, value in course.ranges().items() if "lucas" not in path}
    course.write_pickle({**ranges, "/gone/1_ann_0.wav.npy": {"min": -60.0, "max": 20.0}})
    report = import_course(course.spectrograms, course.pickle, course.dataset)
    assert report.imported == 2
    assert report.without_range == ["7_lucas_12.wav.npy"]
    assert report.without_file == ["1_ann_0.wav.npy"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((256, 64), np.nan, dtype=np.float32), "a silent recording"),
        (np.zeros((256, 63), dtype=np.float32), r"expected float32 of shape \(256, 64\) or \(256, 64, 1\)"),
        (np.full((256, 64), 7.0, dtype=np.float32), r"expected values in \[0, 1\]"),
        (np.zeros((256, 64), dtype=np.float32), "received silence"),
    ],
)
def test_a_bad_array_is_reported_and_harms_no_other(course: Course, array: np.ndarray, message: str) -> None:
    np.save(course.spectrograms / "7_lucas_12.wav.npy", array)
    report = import_course(course.spectrograms, course.pickle, course.dataset)
    assert report.imported == 2
    assert [name for name, _ in report.unreadable] == ["7_lucas_12.wav.npy"]
    assert re.search(message, report.unreadable[0][1])


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"min": 20.0, "max": -60.0}, "expected min < max in dB, received 20 and -60"),
        ({"min": -60.0, "max": float("nan")}, "received -60 and nan"),
        ({"min": float("-inf"), "max": 0.0}, "received -inf and 0"),
        ({"min": -60.0, "max": 1e30}, "received -60 and 1e+30; both must lie within 700 dB of full scale"),
    ],
)
def test_a_range_that_is_none_is_reported_with_its_file(course: Course, bounds: dict[str, float], message: str) -> None:
    ranges = course.ranges()
    course.write_pickle({path: bounds if "lucas" in path else value for path, value in ranges.items()})
    report = import_course(course.spectrograms, course.pickle, course.dataset)
    assert report.imported == 2
    assert message in report.unreadable[0][1]


def test_hidden_files_beside_the_arrays_are_passed_over_and_a_link_to_itself_harms_no_other(course: Course) -> None:
    for path in list(course.spectrograms.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    (course.spectrograms / "7_lucas_12.wav.npy").unlink()
    (course.spectrograms / "7_lucas_12.wav.npy").symlink_to("7_lucas_12.wav.npy")
    report = import_course(course.spectrograms, course.pickle, course.dataset)
    assert (report.imported, report.without_range) == (2, [])
    assert "Too many levels of symbolic links" in report.unreadable[0][1]


def test_two_different_ranges_for_one_name_are_not_guessed_between(course: Course) -> None:
    ranges = course.ranges()
    course.write_pickle({**ranges, "/older/7_lucas_12.wav.npy": {"min": -1.0, "max": 1.0}})
    report = import_course(course.spectrograms, course.pickle, course.dataset)
    assert "holds 2 different ranges" in report.unreadable[0][1]


class Reduced:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *args: object, state: object = None) -> None:
        self.call = (function, args, state) if state is not None else (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


NUMPY_SCALAR = np.float32(1).__reduce__()[0]
HOSTILE: dict[str, tuple[Callable[[str], object], str]] = {
    "a system call": (lambda mark: Reduced(os.system, f"touch {mark}"), "posix.system, which is refused"),
    "one nested in a range": (
        lambda mark: {"a": {"min": Reduced(os.mkdir, mark), "max": 1.0}},
        "posix.mkdir, which is refused",
    ),
    "one as a key": (lambda mark: {Reduced(os.mkdir, mark): {"min": 0.0, "max": 1.0}}, "posix.mkdir"),
    "eval": (lambda mark: Reduced(eval, f"__import__('os').mkdir({mark!r})"), "builtins.eval"),
    "getattr": (lambda mark: Reduced(getattr, "", "join"), "builtins.getattr"),
    "a NumPy object scalar": (
        lambda mark: Reduced(NUMPY_SCALAR, np.dtype(object), pickle.dumps(Reduced(os.mkdir, mark))),
        "NumPy values of type 'O8'",
    ),
    "a NumPy array": (lambda mark: {"a": {"min": np.zeros(3), "max": 1.0}}, "which is refused"),
    "a structured NumPy type": (lambda mark: np.void((1,), dtype=[("x", "f4")]), "NumPy values of type 'V4'"),
    "a NumPy string": (lambda mark: {"a": {"min": np.str_("x"), "max": 1.0}}, "NumPy values of type 'U1'"),
    "a change to a function": (
        lambda mark: Reduced(NUMPY_SCALAR, np.dtype("f4"), b"1234", state={"x": 1}),
        "damaged",
    ),
    "an ordered dict": (lambda mark: collections.OrderedDict(a=1), "collections.OrderedDict"),
    "a codec that decompresses": (lambda mark: Reduced(codecs.encode, "x", "zip"), "expected bytes in latin1"),
    "a list": (lambda mark: [1, 2], "expected a dict of paths, received list"),
    "numbers as keys": (lambda mark: {1: {"min": 0.0, "max": 1.0}}, "expected paths as keys, received int"),
    "no range": (lambda mark: {"a": [0.0, 1.0]}, '"min": number'),
    "half a range": (lambda mark: {"a": {"min": 0.0}}, '"min": number'),
    "a word as range": (lambda mark: {"a": {"min": "0", "max": 1.0}}, '"min": number'),
    "a number beyond all floats": (lambda mark: {"a": {"min": 0, "max": 10**400}}, "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_runs_nothing(course: Course, tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    mark = tmp_path / "ran"
    course.write_pickle(make(str(mark)))
    with pytest.raises(DatasetError) as caught:
        import_course(course.spectrograms, course.pickle, course.dataset)
    assert message in str(caught.value)
    assert str(course.pickle) in str(caught.value)
    assert not mark.exists()
    assert not course.dataset.exists()


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        (b"cnumpy\ndtype\n}b.", "tries to change a function"),  # BUILD on a function that was handed out
        (b"cnumpy\ndtype\nN}X\x01\x00\x00\x00xK\x01s\x86b.", "tries to change a function"),  # with a slot state
        (b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4tR}b.", "it holds a damaged number type"),  # BUILD on a type
        (b"(X\x04\x00\x00\x00pathios\nsystem\n.", "os.system, which is refused"),  # INST
        (b"cbuiltins\nexec\n.", "builtins.exec, which is refused"),
        (b"cnumpy.core.multiarray\n_reconstruct\n.", "_reconstruct, which is refused"),
        (b"Pid\n.", "not a pickle, or damaged"),  # a persistent ID
    ],
)
def test_raw_opcodes_cannot_reach_further(course: Course, opcodes: bytes, message: str) -> None:
    course.pickle.write_bytes(opcodes)
    with pytest.raises(DatasetError, match=message):
        read_ranges(course.pickle)


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x80\x04\x95", pickle.dumps({"a": 1})[:-3]])
def test_a_damaged_pickle_is_one_clear_error(course: Course, content: bytes) -> None:
    course.pickle.write_bytes(content)
    with pytest.raises(DatasetError, match=r"min_max_values\.pkl is not a pickle, or damaged"):
        read_ranges(course.pickle)


def test_missing_inputs_are_clear_errors(course: Course, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"missing\.pkl cannot be read: No such file"):
        import_course(course.spectrograms, tmp_path / "missing.pkl", course.dataset)
    with pytest.raises(DatasetError, match="is not an existing folder of spectrograms"):
        import_course(tmp_path / "missing", course.pickle, course.dataset)
    with pytest.raises(DatasetError, match=r"holds no \.npy files"):
        import_course(course.audio, course.pickle, course.dataset)
    course.write_pickle({})
    with pytest.raises(DatasetError, match="the pickle has no range for any of its 3 arrays"):
        import_course(course.spectrograms, course.pickle, course.dataset)


def test_an_import_never_overwrites_a_dataset(course: Course) -> None:
    import_course(course.spectrograms, course.pickle, course.dataset)
    with pytest.raises(DatasetError, match="holds a complete dataset; choose a new folder"):
        import_course(course.spectrograms, course.pickle, course.dataset)
    with pytest.raises(DatasetError, match="was made by `dataset import-course`"):
        build(course.audio, course.dataset, COURSE)
    with Dataset.open(course.dataset) as opened:
        assert opened.count == 3
