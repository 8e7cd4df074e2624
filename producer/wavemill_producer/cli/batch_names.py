"""The argument BATCH: a batch's ID or name, which the shell can complete."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from wavemill.errors import WavemillError
from wavemill.text.shown import is_plain_text

_OFFERED = 100  # the newest batches
_ANSWER_S = 1.0


class BatchName(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Text; the shell completes the IDs and names of the newest batches."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  click's
        """Return the batches whose ID or name begins like this; none if the table does not answer."""
        from wavemill.jobs.patience import answers_within
        from wavemill_producer.producer import Producer

        try:
            with answers_within(_ANSWER_S), Producer.from_env(patience_s=0.0) as producer:
                newest = producer.batches(limit=_OFFERED)
        except WavemillError:  # a completion has no place for an error
            return []
        told = [(one["id"], one["name"] or one["operation"]) for one in newest]
        told += [(one["name"], one["id"]) for one in newest if one["name"] and " " not in one["name"]]
        return [
            CompletionItem(value, help=f"{about}")
            for value, about in told
            if value.startswith(incomplete) and is_plain_text(f"{value}{about}")
        ]
