"""`wavemill ratings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from wavemill_cli.printing import json_option, number_of, print_json, print_table, say
from wavemill_producer.cli.bulk import where_option

_SHOWN = ("log_spectral_distance_db", "level_boost_db", "rms_dbfs", "peak")  # as far as the jobs have them


@click.command()
@click.argument("batch_ids", metavar="BATCH...", nargs=-1, required=True)
@where_option("label.speaker=theo")
@json_option
def ratings(batch_ids: tuple[str, ...], where: tuple[str, ...], as_json: bool) -> None:
    """Say how listeners rated batches, and whether measured quality agrees with them.

    For each batch: the mean rating with its 95 % confidence interval, the mean quality of the sounds
    of each rating, and the rank correlation (Spearman) between rating and quality: -1 for a distance
    means that the nearer a sound is to its original, the better it was rated. Of a batch with more
    rated jobs than 20,000, the first of them count.

    BATCH is a batch's ID or name.

    Example: wavemill ratings with-fsdd-vae with-fsdd-hifi
    """
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        for batch_id in batch_ids:
            batch = producer.batch(batch_id)
            figures, status = batch.rating_figures(where=where), batch.status()
            about = {"batch_id": batch.id, **{name: status[name] for name in ("name", "operation", "model")}}
            if as_json:
                print_json({**about, **figures})
            else:
                _print(about, figures)


def _print(about: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    name = f" ({about['name']})" if about["name"] else ""
    model = f" with {about['model']}" if about["model"] else ""
    said = f"{about['batch_id']}{name}, {about['operation']}{model}: {number_of(figures['rated'], 'rated job')}"
    if figures["mean"] is None:
        say(f"{said}; rate them on the page, or with: wavemill rate")
        return
    within = "" if figures["mean_within"] is None else f" ± {figures['mean_within']:.2f}"
    say(f"{said}, mean {figures['mean']:.2f}{within}")
    by_rating, correlation = figures["by_rating"], figures["rank_correlation"]
    shown = [field for field in _SHOWN if any(field in means for means in by_rating.values())]
    rows = [
        [rating, means["jobs"], *[_figure(means.get(field)) for field in shown]]
        for rating, means in reversed(by_rating.items())
    ]
    rows.append(["correlation", "", *[_figure(correlation.get(field)) for field in shown]])
    print_table(["rating", "jobs", *shown], rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
