"""Problems: everything that is wrong with a configuration, each with the place that it was found at."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigurationError

__all__ = ["Mark", "Problems"]


@dataclass(frozen=True)
class Mark:
    """A place: line and column count from 1; what is in no file (the environment, a mapping) has its name only."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    @property
    def short(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Problems:
    """Collects problems, so that one error can list them all; one that is found twice counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Mark, str], None] = {}
        self._files: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def file(self, name: str) -> None:
        """Problems of files are listed in the order in which the files were first named here."""
        self._files.setdefault(name, len(self._files))

    def add(self, mark: Mark, sentence: str) -> None:
        """Something is wrong at this place."""
        self._found[mark, sentence] = None

    def check(self) -> None:
        """Raise if there is any.

        Raises:
            ConfigurationError: with a line for each, `file:line:column: sentence`, in order.
        """
        if self._found:
            last = len(self._files)
            found = sorted(
                self._found, key=lambda one: (self._files.get(one[0].file, last), one[0].line, one[0].column)
            )
            raise ConfigurationError("\n".join(f"{mark}: {sentence}" for mark, sentence in found))
