"""Source: a YAML file, or a mapping, as data with the place of every key and value; `${NAME}` is filled in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ._problems import Mark, Problems
from ._yaml import MOST_REPEATED, compose, plain, typed

__all__ = ["Document", "Reader", "Steps", "parse"]

Steps = tuple[Any, ...]  # the keys and indices that lead to a value

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass
class Document:
    """One file's data.

    Attributes:
        file: what it is called in messages.
        folder: what a relative `extends` starts from.
        data: mappings, lists and scalars.
        written: the text of those values that come from the environment; they may be secret.
        bad: where a problem was found.
    """

    file: str
    folder: Path
    data: Any = None
    values: dict[Steps, Mark] = field(default_factory=dict)
    keys: dict[Steps, Mark] = field(default_factory=dict)
    written: dict[Steps, str] = field(default_factory=dict)
    bad: list[Steps] = field(default_factory=list)

    def at(self, steps: Steps) -> Mark:
        """Where this value is, or the nearest thing around it."""
        return next((self.values[steps[:n]] for n in range(len(steps), -1, -1) if steps[:n] in self.values), self._all)

    def key(self, steps: Steps) -> Mark:
        """Where the key of this value is."""
        return self.keys.get(steps) or self.at(steps)

    @property
    def _all(self) -> Mark:
        return Mark(self.file)

    def broken(self, steps: Steps) -> bool:
        """Whether a problem was found at this value or inside it."""
        return any(one[: len(steps)] == steps for one in self.bad)


class Reader:
    """Reads the files of one configuration.

    Attributes:
        seen: for each file that was asked for, a hash of what was in it; None if it could not be read.
    """

    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self.environ, self.problems = environ, problems
        self.seen: dict[Path, str | None] = {}

    def read(self, path: Path, asked_by: Mark | None = None) -> Document | None:
        """The document in this file; None if there is none, which is a problem."""
        self.problems.file(str(path))
        try:
            content = path.read_bytes()
        except OSError as error:
            self.seen[path] = None
            why = f'there is no file "{path}"' if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}"
            self.problems.add(asked_by or Mark(str(path)), f"cannot be read: {why}")
            return None
        self.seen[path] = hashlib.sha256(content).hexdigest()
        try:
            return parse(content.decode("utf-8-sig"), str(path), path.parent, self)
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            self.problems.add(Mark(str(path), line, 1), "is not UTF-8; save the file in that encoding")
            return None

    def mapping(self, given: Mapping[str, Any]) -> Document:
        """A document of the caller's own mapping, which is copied."""
        document = Document("config", Path())
        document.data = _copied(given, (), document, self)
        return document

    def fill(self, text: str, document: Document, steps: Steps) -> str:
        """The text with its variables filled in; one that is not set and has no default is a problem."""
        mark = document.at(steps)
        document.written[steps] = text

        def wrong(sentence: str) -> str:
            document.bad.append(steps)
            self.problems.add(mark, sentence)
            return ""

        def value(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name, default = match[1], match[2]
            if name is None:
                return wrong("has a ${ that is no variable; write ${NAME}, ${NAME:-default}, or $${ for ${")
            found = self.environ.get(name)
            if found or (found is not None and default is None):
                return found
            if default is None:
                return wrong(f"environment variable {name} is not set; set it or write ${{{name}:-default}}")
            return default

        return _VARIABLE.sub(value, text)


def parse(text: str, file: str, folder: Path, reader: Reader) -> Document | None:
    """The document in this text; None if it is no YAML mapping, which is a problem."""
    document = Document(file, folder)
    try:
        node, loader = compose(text)
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        mark = Mark(file, where.line + 1, where.column + 1) if where is not None else Mark(file)
        reader.problems.add(mark, f"is not YAML: {error.problem or error.context}")
        return None
    except (yaml.YAMLError, RecursionError) as error:
        reader.problems.add(Mark(file, 1, 1), f"is not YAML: {str(error).splitlines()[0]}")
        return None
    if not isinstance(node, yaml.MappingNode):
        what = "is empty" if node is None else "holds no mapping"
        reader.problems.add(Mark(file, 1, 1), f'{what}; begin with "version: 1"')
        return None
    try:
        document.data = _Walk(document, reader, loader).value(node, ())
    except _RepeatsError as error:
        reader.problems.add(error.mark, f"repeats more than {MOST_REPEATED:,} values by aliases; write them out")
        return None
    return document


class _RepeatsError(Exception):
    def __init__(self, mark: Mark) -> None:
        self.mark = mark


class _Walk:
    """Turns nodes into data."""

    def __init__(self, document: Document, reader: Reader, loader: Any) -> None:
        self.document, self.reader, self.loader = document, reader, loader
        self._inside: set[int] = set()
        self._flat: set[int] = set()
        self._met: set[int] = set()
        self._repeated = 0

    def value(self, node: yaml.Node, steps: Steps) -> Any:
        self.document.values[steps] = mark = self._mark(node)
        self._repeated += id(node) in self._met
        if self._repeated > MOST_REPEATED:
            raise _RepeatsError(mark)
        self._met.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, steps)
        if id(node) in self._inside or node.tag not in _COLLECTIONS:
            what = "holds itself" if id(node) in self._inside else f"has the tag {node.tag}, which is not known here"
            return self._wrong(steps, mark, what)
        self._inside.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            found: Any = [self.value(one, (*steps, place)) for place, one in enumerate(node.value)]
        else:
            assert isinstance(node, yaml.MappingNode)
            found = self._mapping(node, steps)
        self._inside.discard(id(node))
        return found

    def _mapping(self, node: yaml.MappingNode, steps: Steps) -> dict[Any, Any]:
        if id(node) not in self._flat:
            self._flat.add(id(node))
            self._check_keys(node)
            try:
                self.loader.flatten_mapping(node)
            except yaml.MarkedYAMLError as error:
                self._wrong(steps, self._mark(node), f"is not YAML: {error.problem}")
        found = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(steps, self._mark(key), "a key must be a word")
                continue
            inner = (*steps, self._typed(key, steps))
            self.document.keys[inner] = self._mark(key)
            found[inner[-1]] = self.value(value, inner)
        return found

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[str, Mark] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and not key.tag.endswith(":merge"):
                first = seen[key.value].line
                self.reader.problems.add(
                    self._mark(key), f'key "{key.value}" is here twice; the other is in line {first}'
                )
            elif isinstance(key, yaml.ScalarNode):
                seen[key.value] = self._mark(key)

    def _scalar(self, node: yaml.ScalarNode, steps: Steps) -> Any:
        value = self._typed(node, steps)
        if not isinstance(value, str) or "${" not in value:
            return value
        filled = self.reader.fill(value, self.document, steps)
        return filled if node.style else plain(filled)

    def _typed(self, node: yaml.ScalarNode, steps: Steps) -> Any:
        try:
            return typed(node)
        except ValueError:
            return self._wrong(steps, self._mark(node), f"has the tag {node.tag}, which is not known here")

    def _wrong(self, steps: Steps, mark: Mark, sentence: str) -> None:
        self.document.bad.append(steps)
        self.reader.problems.add(mark, sentence)

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.document.file, node.start_mark.line + 1, node.start_mark.column + 1)


def _copied(value: Any, steps: Steps, document: Document, reader: Reader) -> Any:
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    document.values[steps] = Mark(name.removeprefix(".") or document.file)
    if isinstance(value, Mapping):
        return {key: _copied(one, (*steps, key), document, reader) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(one, (*steps, place), document, reader) for place, one in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        return plain(reader.fill(value, document, steps))
    return value
