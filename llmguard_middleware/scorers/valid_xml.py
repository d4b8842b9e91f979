"""valid_xml: whether a text is well-formed XML."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from .._checks import expect_bool
from .._score import Score
from .._scorer import Scorer
from ._formats._fenced import unfenced
from ._formats._json import invalid

__all__ = ["ValidXml", "valid_xml"]


class ValidXml(Scorer):
    """Flags texts that are no well-formed XML 1.0; value is 1 for those that are, else 0.

    Safe for texts of strangers: nothing is fetched, and a document type with declarations of its own is refused, so
    that no entity is there to be expanded.
    """

    name = "valid_xml"
    cheap = True

    def __init__(self, *, fragments: bool, fenced: bool) -> None:
        super().__init__(name="valid_xml")
        self.fragments, self.fenced = fragments, fenced
        self.options = f"fragments={fragments},fenced={fenced}"

    def score(self, text: str) -> Score:
        """Whether `text` is XML; the explanation says where it is not, and quotes nothing."""
        from xml.parsers.expat import ExpatError, ParserCreate  # noqa: PLC0415 - few guards need it

        if self.fenced:
            text = unfenced(text, "xml", "svg", "html", "xhtml")
        parser = ParserCreate()
        parser.StartDoctypeDeclHandler = _document_type
        try:
            if self.fragments:
                root = f"f{uuid4().hex}"  # that no text closes
                parser.Parse(f"<{root}>\n", False)
                parser.Parse(text, False)
                parser.Parse(f"</{root}>", True)
            else:
                parser.Parse(text, True)
        except ExpatError as error:
            line = error.lineno - self.fragments
            return invalid(f"{_sentence(error.code)} at line {line}, column {error.offset + 1}")
        except _DeclarationsError:
            return invalid("a document type with declarations of its own is not accepted")
        except UnicodeEncodeError:
            return invalid("holds a lone surrogate")
        return Score(value=1.0)


class _DeclarationsError(Exception):
    """Declarations in the text: of entities, that may grow without bounds, or of attributes, that may as well."""


def _document_type(*told: Any) -> None:
    if told[3]:  # what comes after its name and its two identifiers: whether it declares something
        raise _DeclarationsError


def _sentence(code: int) -> str:
    from xml.parsers.expat import ErrorString  # noqa: PLC0415 - as above

    return ErrorString(code) or "not well-formed"


def valid_xml(*, fragments: bool = False, fenced: bool = False) -> ValidXml:
    """Check that a text is well-formed XML 1.0. Names with a prefix need no declaration of it.

    Args:
        fragments: whether it may have several elements, or text, at its top, as pieces of a document have.
        fenced: whether it may stand in a fence of three backticks, as chat models like to write it.
    """
    expect_bool(fragments, "fragments of valid_xml()")
    expect_bool(fenced, "fenced of valid_xml()")
    return ValidXml(fragments=fragments, fenced=fenced)
