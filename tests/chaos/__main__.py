"""`python -m tests.chaos` from the checkout's root, or `python -m chaos` with `tests` on the path."""

import sys
from pathlib import Path


def _run() -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `chaos` and `support` are found
    from chaos.command import main

    return main()


if __name__ == "__main__":
    sys.exit(_run())
