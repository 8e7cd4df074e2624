"""The rule that holds clips out of training for validation, such as `index=5,6,7,8,9`.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wavemill.errors import UsageError
from wavemill.labels import Labels, label_equals


@dataclass(frozen=True)
class HeldOut:
    """A rule that holds out the clips whose label `key` has one of `values`."""

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, rule: str) -> Self:
        """Parse a rule such as `KEY=A,B`, with or without spaces; UsageError for anything else."""
        key, separator, names = (part.strip() for part in rule.partition("="))
        values = tuple(name.strip() for name in names.split(","))
        if not separator or not key or not all(values):
            raise UsageError(f"expected a rule KEY=A,B such as index=5,6,7,8,9, received {rule!r}")
        return cls(key, values)

    def __contains__(self, labels: Labels) -> bool:
        """Return whether a clip with these labels is held out."""
        return self.key in labels and any(label_equals(labels[self.key], value) for value in self.values)

    def covers(self, other: HeldOut) -> bool:
        """Return whether this rule holds out everything that `other` holds out."""
        return self.key == other.key and set(other.values) <= set(self.values)

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"
