"""Make everything safe that is written to standard output or standard error.

`guard` replaces `sys.stdout` and `sys.stderr`, for every `print`, `click.echo`, warning and traceback.
Rich needs escape sequences, so it bypasses them; `console` and `progress_bar` escape the text it shows.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import shown_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class GuardedStream(io.TextIOWrapper):
    """A text stream that escapes unsafe characters; with `for_people`, it also hides the secrets of URLs."""

    def __init__(self, stream: io.TextIOWrapper, *, for_people: bool) -> None:
        super().__init__(
            stream.buffer,
            "utf-8",  # whatever the locale or PYTHONIOENCODING says: what one command prints another can read
            "backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._for_people = for_people

    def write(self, text: str, /) -> int:
        """Write safe text."""
        self.write_as_is(shown_lines(without_secrets(text) if self._for_people else text))
        return len(text)

    def write_as_is(self, text: str) -> None:
        """Write text that is already safe and may contain our own escape sequences."""
        super().write(text)


class _AsIs:
    """The file that Rich writes to, with the five attributes that Rich uses."""

    def __init__(self, stream: GuardedStream) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str, /) -> int:
        self._stream.write_as_is(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def guard() -> None:
    """Make standard output and error safe in this process; leave replaced streams, as under tests, alone."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, GuardedStream):
            stream.flush()
            setattr(sys, name, GuardedStream(stream, for_people=name == "stderr"))


def console(*, stderr: bool = False) -> Console:
    """Return a Rich console that shows safe text; 240 columns wide where there is no terminal."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else shown_lines(text), style, control)

    stream = sys.stderr if stderr else sys.stdout
    made = SafeConsole(file=_AsIs(stream) if isinstance(stream, GuardedStream) else stream)  # type: ignore[arg-type]
    if not made.is_terminal:
        made.width = 240
    return made


def progress_bar(*columns: Any, stderr: bool = True, quiet: bool = False) -> Progress:
    """Return a progress bar; on standard error it vanishes at the end, and shows only in a terminal."""
    from rich.progress import Progress

    on = console(stderr=stderr)
    # Not redirected: Rich would take ESC in what others print meanwhile for colours, before `GuardedStream` sees it.
    return Progress(
        *columns,
        console=on,
        disable=quiet or (stderr and not on.is_terminal),
        transient=stderr,
        redirect_stdout=False,
        redirect_stderr=False,
    )
