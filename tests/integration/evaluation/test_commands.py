"""`wavemill evaluate` and `wavemill compare` on real sounds, and the page in a real browser."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.material import save_untrained_model

from wavemill.dataset.index import Dataset
from wavemill.vae.training.batches import split
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.dataset_source import DatasetSource
from wavemill_producer.cli.main import run

from .conftest import Material

HELD_OUT = ("--held-out", "index=1", "--samples", "20", "--pairs", "4")
KINDS = ("digit", "speaker")


def common(material: Material) -> list[str]:
    return [*HELD_OUT, "--recogniser", str(material.recogniser), "--recordings", str(material.recordings)]


@pytest.fixture
def two_models(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(models / "small", folder / "small")
    save_untrained_model(folder / "plain", kind="ae")
    monkeypatch.setenv("WAVEMILL_MODELS", str(folder))
    return folder


def test_evaluate_prints_and_stores_figures_of_truth_inversion_and_model(
    material: Material, two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "figures" / "small.json"
    assert run(["evaluate", "small", str(material.dataset), *common(material), "--output", str(stored)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(stored.read_text())
    assert figures["clips"] == 20
    truth, inversion, small = (figures["figures"][name] for name in ("recordings", "inversion only", "small"))
    assert "stoi" not in truth
    assert inversion["log_spectral_distance_db"] < 3 < small["log_spectral_distance_db"]
    assert inversion["stoi"] > 0.95 > small["stoi"]
    for kind in KINDS:
        assert truth[f"{kind}_accuracy"] > small[f"{kind}_accuracy"] - 0.3
        assert f"{kind} heard" in printed
    assert truth["digit_accuracy"] == pytest.approx(inversion["digit_accuracy"], abs=0.2)
    assert small["latents"]["dimensions"] == 8
    assert small["latents"]["kl_nats"] > 0
    sampling = small["sampling"]
    assert sampling["samples"] == 20
    assert set(sampling["by_label"]["digit"]["by_value"]) == set("0123456789")
    assert set(sampling["by_label"]["speaker"]["by_value"]) == {"ben"}, "of those that model and recogniser both know"
    # Untrained samples are far from speech: further than one take of the recordings from the other.
    assert sampling["frechet_distance"] > sampling["frechet_distance_of_held_out"] > 0
    assert sampling["frechet_points"] == 20
    between = small["interpolation"]
    assert (between["pairs"], between["steps"]) == (4, 5)
    assert 0 <= between["whole"] <= between["steps_sound"] <= 1
    assert "interpolations: steps sound" in printed
    memorised = sampling["memorisation"]
    assert memorised["nearest_db_median"] > memorised["nearest_db_median_of_held_out"] > 0
    assert memorised["copies"] == 0
    assert "small may have been trained on these clips" in "".join(figures["notes"])
    assert not [note for note in figures["notes"] if "recogniser may" in note]


def test_without_recordings_the_inverted_spectrogram_is_the_truth_and_that_is_said(
    material: Material, two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = ["--samples", "0", "--pairs", "0"]
    options = ["--held-out", "index=0", *none, "--recogniser", str(material.recogniser), "--json"]
    stored = tmp_path / "evaluation.json"
    assert run(["evaluate", "small", str(material.dataset), *options, "--output", str(stored)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads(stored.read_text())
    assert list(figures["figures"]) == ["inversion only", "small"]
    assert "log_spectral_distance_db" not in figures["figures"]["inversion only"], "it is the truth"
    assert not {"sampling", "interpolation"} & set(figures["figures"]["small"])
    assert "inverted spectrograms serve as the truth" in figures["notes"][0]
    assert "the recogniser may have been trained on these clips: its training held out index=1." in figures["notes"]


def test_without_a_recogniser_or_a_rule_the_clips_are_those_that_training_held_out(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Dataset.open(material.dataset) as dataset:
        source = DatasetSource(dataset)
        heard, held_out = split(source.labels, TrainingConfig(seed=3), source.recordings)
        name = dataset.path.name
    own = {"dataset": name, "seed": 3, "validation_fraction": 0.1, "validation_label": None, "held_out": len(held_out)}
    monkeypatch.setenv("WAVEMILL_MODELS", str(tmp_path))
    save_untrained_model(tmp_path / "mine", training={**own, "spectrograms": len(heard)})
    save_untrained_model(tmp_path / "changed", training={**own, "spectrograms": len(heard) + 1})
    options = ["--samples", "8", "--pairs", "2", "--report", str(tmp_path / "page.html")]
    assert run(["compare", "mine", str(material.dataset), *options, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["clips"], figures["held_out"]) == (len(held_out), "what training held out")
    assert not [note for note in figures["notes"] if "may have been trained" in note]
    assert any("coverage were not measured" in note for note in figures["notes"])
    assert "judged without a recogniser" in (tmp_path / "page.html").read_text()
    assert run(["compare", "changed", str(material.dataset), *options]) == 2
    assert "choose clips with --held-out" in capsys.readouterr().err


def test_mistakes_are_one_sentence(
    material: Material, two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (["small", str(material.dataset), "--recogniser", str(tmp_path)], 1, "wavemill recogniser train"),
        (["nothing", str(material.dataset), "--recogniser", str(material.recogniser)], 1, "there is no model"),
        (["small", str(material.dataset), *common(material), "--held-out", "index=9"], 2, "index=9"),
    ]
    for arguments, code, said in cases:
        assert run(["evaluate", *arguments]) == code
        assert said in capsys.readouterr().err
    report = ["--report", str(tmp_path / "page.html")]
    assert run(["compare", "small", "small/", str(material.dataset), *common(material), *report]) == 2
    assert "different names" in capsys.readouterr().err


@pytest.fixture
def page(material: Material, two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = tmp_path / "page.html"
    options = [*common(material), "--report", str(file), "--clips", "5", "--json"]
    assert run(["compare", "small", "plain", str(material.dataset), *options]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert list(figures) == ["recordings", "inversion only", "small", "plain"]
    assert "kl_nats" not in figures["plain"]["latents"]
    return file


def test_the_page_stands_alone_and_names_all_it_shows(page: Path) -> None:
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert "://" not in re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert len(re.findall(r'<img [^>]*alt="Spectrogram of \w+, [a-z ]+"', text)) == 20
    assert len(re.findall(r'<audio [^>]*aria-label="[a-z ]+: \w+"', text)) == 20


# Runs inside the page: waits for every sound's length, tries the controls, and leaves what it found as text.
PROBE = """
<script>
addEventListener("load", async () => {
  const names = () => [...document.querySelectorAll("article")].filter(a => !a.hidden).map(a => a.dataset.name);
  const choose = (id, act) => { const e = document.getElementById(id); act(e); e.dispatchEvent(new Event("change")); };
  const lengths = await Promise.all([...document.querySelectorAll("audio")].map(a => new Promise(done => {
    a.addEventListener("loadedmetadata", () => done(a.duration)); a.addEventListener("error", () => done(0));
    a.preload = "metadata"; a.load();
  })));
  const found = { lengths, worst: names(), pictures: [...document.images].map(i => i.naturalWidth) };
  choose("order", e => { e.value = "name"; }); found.byName = names();
  choose("mistakes", e => { e.checked = true; }); found.mistaken = names();
  found.count = document.getElementById("count").textContent;
  found.unlabelled = [...document.querySelectorAll("select, input")].filter(e => !e.labels.length).length;
  const output = document.createElement("pre"); output.id = "found"; output.textContent = JSON.stringify(found);
  document.body.append(output);
});
</script>
"""


@pytest.mark.skipif(
    shutil.which("chromium") is None and "CI" not in os.environ, reason="needs Chromium: apt-get install chromium"
)
def test_the_page_plays_and_sorts_in_a_real_browser(page: Path, tmp_path: Path) -> None:
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = (
        f"--disable-component-update --disable-sync --virtual-time-budget=20000 --user-data-dir={tmp_path / 'profile'}"
    )
    command = ["chromium", *flags.split(), *more.split(), "--dump-dom", probed.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout
    match = re.search(r'<pre id="found">(.*?)</pre>', dom, flags=re.DOTALL)
    assert match, "the script in the page failed"
    found = json.loads(html.unescape(match[1]))
    assert len(found["lengths"]) == 20
    assert all(0.2 < seconds < 1.1 for seconds in found["lengths"])
    assert all(width > 200 for width in found["pictures"])
    assert len(found["worst"]) == 5
    assert found["byName"] == sorted(found["worst"]) != found["worst"]
    wrong = set(re.findall(r'<article [^>]*data-name="(\w+)" data-right="false"', page.read_text()))
    assert set(found["mistaken"]) == wrong
    assert found["count"] == f"{len(wrong)} shown"
    assert found["unlabelled"] == 0


@pytest.mark.parametrize("module", ["evaluate", "compare", "recogniser"])
def test_importing_a_command_is_light(module: str) -> None:
    program = (
        f"import sys, wavemill_worker.cli.{module}; "
        "sys.exit(bool({'numpy', 'tensorflow', 'keras', 'rich', 'jinja2', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_missing_extra_is_named(
    material: Material,
    two_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, "wavemill.evaluation.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as Python marks a module that cannot be found
    report = ["--report", str(tmp_path / "page.html")]
    assert run(["compare", "small", str(material.dataset), *common(material), *report]) == 1
    assert "pip install 'wavemill[evaluate]'" in capsys.readouterr().err
