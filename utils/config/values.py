"""What a configuration value may be: one small class per kind, and dataclass fields that carry a kind.

``kind.parse(value)`` returns the value in its one canonical form or raises :class:`BadValueError`; parsing a
canonical value gives it back unchanged.
"""

import dataclasses
import difflib
import math
import unicodedata
from dataclasses import dataclass
from typing import Any

LARGEST_INTEGER = 10**12


class BadValueError(Exception):
    """A value that its kind does not take; the caller adds file and key."""

    def __init__(self, value: Any, expected: str):
        super().__init__(f"got {describe(value)}, expected {expected}")


def describe(value: Any) -> str:
    """A YAML value in words, short enough for one line."""
    if value is None:
        return "nothing (an empty value)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"the text {text}" if isinstance(value, str) else text


class Kind:
    """Base of all kinds."""

    @property
    def expected(self) -> str:
        """What is taken, in words."""
        raise NotImplementedError

    def parse(self, value: Any) -> Any:
        raise NotImplementedError

    def remark(self, value: Any) -> str | None:
        """A line for the user about a value that is accepted, but not used as it is written."""
        return None


@dataclass(frozen=True)
class Flag(Kind):
    """true or false, nothing else (no yes/no, no 0/1)."""

    expected = "true or false"

    def parse(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise BadValueError(value, self.expected)
        return value


@dataclass(frozen=True)
class Integer(Kind):
    """A whole number; 7e5 and 16.0 count as whole. ``also`` lists single values outside the range."""

    minimum: int = 0
    maximum: int = LARGEST_INTEGER
    also: tuple[int, ...] = ()
    choices: tuple[int, ...] = ()

    @property
    def expected(self) -> str:
        if self.choices:
            return " or ".join(map(str, self.choices))
        text = f"a whole number of at least {self.minimum}"
        if self.maximum != LARGEST_INTEGER:
            text = f"a whole number from {self.minimum} to {self.maximum}"
        return text + "".join(f" or {value}" for value in self.also)

    def parse(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise BadValueError(value, self.expected)
        allowed = value in self.choices if self.choices else self.minimum <= value <= self.maximum
        if not allowed and value not in self.also:
            raise BadValueError(value, self.expected)
        return int(value)


@dataclass(frozen=True)
class Number(Kind):
    """A finite number; ``above`` is an exclusive lower bound."""

    minimum: float = 0.0
    maximum: float = math.inf
    above: float | None = None

    @property
    def expected(self) -> str:
        if self.above is not None:
            return f"a number above {self.above:g}"
        if self.maximum == math.inf:
            return f"a number of at least {self.minimum:g}"
        return f"a number from {self.minimum:g} to {self.maximum:g}"

    def parse(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadValueError(value, self.expected)
        try:
            number = float(value)
        except OverflowError:
            raise BadValueError(value, self.expected) from None
        within = self.minimum <= number <= self.maximum and (self.above is None or number > self.above)
        if not math.isfinite(number) or not within:
            raise BadValueError(value, self.expected)
        return number


def _text(value: Any, expected: str) -> str:
    """One line of text without control characters (so that it survives a YAML comment and a log line)."""
    if not isinstance(value, str):
        hint = "" if isinstance(value, dict | list | tuple) or value is None else " (in quotes)"
        raise BadValueError(value, expected + hint)
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in value):
        raise BadValueError(value, f"{expected} on one line without control characters")
    return value


@dataclass(frozen=True)
class Text(Kind):
    """One line of text; ``optional`` takes an empty value as ''."""

    optional: bool = False

    @property
    def expected(self) -> str:
        return "text" if self.optional else "text that is not empty"

    def parse(self, value: Any) -> str:
        text = _text("" if value is None else value, self.expected)
        if not text.strip() and not self.optional:
            raise BadValueError(value, self.expected)
        return text


@dataclass(frozen=True)
class Choice(Kind):
    """One of ``choices``, in upper or lower case; an unknown text is read as ``otherwise`` if that is given.

    ``nullable`` takes an empty value as None: a default that depends on other keys.
    """

    choices: tuple[str, ...]
    otherwise: str | None = None
    nullable: bool = False

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def parse(self, value: Any) -> str | None:
        if value is None and self.nullable:
            return None
        if isinstance(value, str):
            known = self._find(value) or self.otherwise
            if known:
                return known
            near = difflib.get_close_matches(value.lower(), [choice.lower() for choice in self.choices], 1)
            raise BadValueError(value, self.expected + (f" (nearest: {self._find(near[0])})" if near else ""))
        raise BadValueError(value, self.expected)

    def remark(self, value: Any) -> str | None:
        if self.otherwise and isinstance(value, str) and not self._find(value):
            return f"{describe(value)} is not one of {', '.join(self.choices)} and acts as {self.otherwise}"
        return None

    def _find(self, value: str) -> str | None:
        return next((choice for choice in self.choices if choice.lower() == value.lower()), None)


@dataclass(frozen=True)
class Names(Kind):
    """A list of names, or one text with commas between them; the canonical form is a tuple."""

    expected = "a list of names such as [S1, S5]"

    def parse(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = value.split(",") if value.strip() else []
        if value is None:
            value = []
        if not isinstance(value, list | tuple):
            raise BadValueError(value, self.expected)
        names = tuple(_text(name, self.expected).strip() for name in value)
        if any(not name or "," in name for name in names):
            raise BadValueError(value, f"{self.expected}, none of them empty or with a comma in it")
        return names


@dataclass(frozen=True)
class FlagOr(Kind):
    """true, false or a value of another kind; true is read as ``when_true`` if that is given."""

    other: Kind
    when_true: Any = None

    @property
    def expected(self) -> str:
        return f"true, false or {self.other.expected}"

    def parse(self, value: Any) -> Any:
        if isinstance(value, bool):
            return self.when_true if value and self.when_true is not None else value
        try:
            return self.other.parse(value)
        except BadValueError:
            raise BadValueError(value, self.expected) from None


def option(default: Any, kind: Kind, doc: str) -> Any:
    """A dataclass field that carries its kind and its one-line description."""
    return dataclasses.field(default=default, metadata={"kind": kind, "doc": doc})


def flag(default: bool, doc: str) -> Any:
    return option(default, Flag(), doc)


def integer(default: int, doc: str, **limits: Any) -> Any:
    return option(default, Integer(**limits), doc)


def number(default: float, doc: str, **limits: Any) -> Any:
    return option(default, Number(**limits), doc)


def choice(default: str | None, choices: tuple[str, ...], doc: str, **rules: Any) -> Any:
    return option(default, Choice(choices, **rules), doc)


def text(default: str, doc: str, optional: bool = False) -> Any:
    return option(default, Text(optional), doc)


def names(doc: str) -> Any:
    return option((), Names(), doc)
