"""Configuration: strict YAML files that may extend others, and overrides -> one checked, frozen Config."""

import dataclasses
import difflib
import fnmatch
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from utils.config.legacy import LEGACY
from utils.config.schema import PUBLISHED_DEFAULTS, Config, Section, leaves, section_of
from utils.config.values import BadValueError, describe
from utils.config.yaml_file import dump_scalar, parse_yaml, read_yaml, yaml_line
from utils.errors import DiffPoseError
from utils.files import written_in_one_step

__all__ = [
    "Config",
    "change_config",
    "config_differences",
    "dump_config",
    "flatten_config",
    "known_keys",
    "load_config",
    "parse_config",
    "save_config",
]

_FIELDS = leaves()
_SECTIONS = {key.rpartition(".")[0] for key in _FIELDS} - {""}


def print_warning(line: str) -> None:
    """The default ``report``: one line on stderr."""
    print(f"warning: {line}", file=sys.stderr)


def ignore_warning(line: str) -> None:
    """A ``report`` that says nothing: for the processes whose warnings another one prints."""


def known_keys() -> dict[str, str]:
    """Every YAML key with its full path -> its one-line description, in the order of the file."""
    return {key: field.metadata["doc"] for key, field in _FIELDS.items()}


def load_config(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    report: Callable[[str], None] = print_warning,
) -> Config:
    """Read a configuration file.

    ``EXTENDS: other.yaml`` (relative to the file) takes over another file's values; this file's values replace
    them key by key. ``overrides`` are 'KEY.PATH=value' with the value in YAML; the last one for a key counts.

    ``report`` gets one line that names all legacy keys, one for each value that is not used as it is written, and
    one that names the keys left to the published code's defaults. A file with legacy keys is a published one: it
    relies on these defaults, so that line is left out.

    Raises:
        DiffPoseError: one line with file and key, for an unknown key, a wrong value or a file that cannot be read.
    """
    found = _Found()
    values = _read_chain(Path(path), (), found)
    is_published = bool(found.legacy)
    values |= _parse_overrides(overrides, found)
    if not is_published:
        found.remarks += _remark_on_defaults(values, str(path))
    for line in found.lines(str(path)):
        report(line)
    return _build(values, str(path))


def parse_config(
    mapping: dict[str, Any], *, source: str = "configuration", report: Callable[[str], None] = print_warning
) -> Config:
    """A Config from a nested mapping with upper-case keys, as strict as a file; it knows no EXTENDS.

    Keys that are left out take their defaults without a word: a program, unlike a file, names what it wants.
    """
    found = _Found()
    values = _flatten(mapping, source, found)
    for line in found.lines(source):
        report(line)
    return _build(values, source)


def change_config(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with 'KEY.PATH=value' overrides applied."""
    found = _Found()
    values = flatten_config(config) | _parse_overrides(overrides, found)
    for line in found.lines("--set"):
        print_warning(line)
    return _build(values, "--set")


def flatten_config(config: Config) -> dict[str, Any]:
    """Full YAML key -> value, in the order of the file; lists are tuples."""
    values = {}
    for key in _FIELDS:
        value: Any = config
        for part in key.lower().split("."):
            value = getattr(value, part)
        values[key] = value
    return values


def config_differences(a: Config, b: Config, *, within: Iterable[str] = ("",)) -> list[tuple[str, Any, Any]]:
    """(key, value in a, value in b) where they differ; ``within``: keys or sections, as ('MODEL',)."""
    prefixes = tuple(prefix.rstrip(".") + "." if prefix else "" for prefix in within)
    left, right = flatten_config(a), flatten_config(b)
    return [
        (key, left[key], right[key]) for key in _FIELDS if left[key] != right[key] and f"{key}.".startswith(prefixes)
    ]


def dump_config(config: Config, *, comments: bool = False) -> str:
    """YAML in the published upper-case form, equal when loaded back; ``comments`` adds the descriptions."""
    lines: list[str] = []
    shown: tuple[str, ...] = ()
    for key, value in flatten_config(config).items():
        *sections, name = key.split(".")
        for depth, section in enumerate(sections):
            if shown[: depth + 1] != tuple(sections[: depth + 1]):
                lines.append(f"{'  ' * depth}{section}:")
        shown = tuple(sections)
        line = "  " * len(sections) + yaml_line(name, value)
        lines.append(f"{line:<36}  # {_FIELDS[key].metadata['doc']}" if comments else line)
    return "\n".join(lines) + "\n"


def save_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write the commented YAML to a file, all of it or nothing. Raises DiffPoseError if that fails."""
    with written_in_one_step(path, make_folder=False) as partial:
        partial.write_text(dump_config(config, comments=True), encoding="utf-8")


@dataclasses.dataclass
class _Found:
    """What the user should hear about, over all files of a chain."""

    legacy: dict[str, None] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)

    def lines(self, source: str) -> list[str]:
        lines = list(self.remarks)
        if self.legacy:
            hint = " (to resume, set TRAIN.RESUME)" if "AUTO_RESUME" in self.legacy else ""
            lines.append(f"{source}: keys without effect are ignored: {', '.join(self.legacy)}{hint}")
        return lines


def _remark_on_defaults(values: dict[str, Any], source: str) -> list[str]:
    """A line that names the keys left to the published code's defaults, if there are any that matter."""
    has_candidates = values.get("MODEL.CONDITION_TYPE", "embedded_poseformer") == "embedded_poseformer"
    left = [
        f"{key}={dump_scalar(_FIELDS[key].default)}"
        for key in PUBLISHED_DEFAULTS
        if key not in values and (has_candidates or not key.startswith("MODEL.EXTRA."))
    ]
    if not left:
        return []
    return [
        f"{source}: left out, so the published code's defaults are used: {', '.join(left)} "
        "(for the main experiment's values, begin the file with 'EXTENDS: ' and the path of diffpose.yaml)"
    ]


def _read_chain(path: Path, below: tuple[Path, ...], found: _Found) -> dict[str, Any]:
    """Values of a file on top of those of the file that it extends; ``below`` are the files that led here."""
    mapping = read_yaml(path)
    if mapping is None:
        raise DiffPoseError(f"{path}: empty; start from a copy of diffpose.yaml")
    if not isinstance(mapping, dict):
        raise DiffPoseError(f"{path}: got {describe(mapping)}, expected keys and values such as 'OUTPUT_DIR: output'")
    values: dict[str, Any] = {}
    if "EXTENDS" in mapping:
        parent = mapping.pop("EXTENDS")
        if not isinstance(parent, str) or not parent:
            raise DiffPoseError(f"{path}: EXTENDS: got {describe(parent)}, expected the path of a file")
        target = path.parent / parent
        chain = (*below, path.resolve())
        if not os.path.isfile(target):
            raise DiffPoseError(f"{path}: EXTENDS: no file {target} (paths are relative to the extending file)")
        if target.resolve() in chain:
            raise DiffPoseError(f"{path}: EXTENDS: {parent} leads back to itself")
        values = _read_chain(target, chain, found)
    return values | _flatten(mapping, str(path), found)


def _parse_overrides(overrides: Sequence[str], found: _Found) -> dict[str, Any]:
    if isinstance(overrides, str):
        raise TypeError("overrides is a list of texts, not one text")
    values: dict[str, Any] = {}
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise DiffPoseError(f"--set {item}: expected KEY=value, such as TRAIN.LR=3e-4")
        value = parse_yaml(text, f"--set {item}")
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        values |= _flatten(value, "--set", found)
    return values


def _flatten(mapping: dict[str, Any], source: str, found: _Found, prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> full key and canonical value; unknown keys and wrong types are errors."""
    values: dict[str, Any] = {}
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if any(fnmatch.fnmatchcase(key, pattern) or key.startswith(f"{pattern}.") for pattern in LEGACY):
            found.legacy[key] = None
        elif "." in str(name) or key not in _FIELDS.keys() | _SECTIONS:
            hint = "write sections as nested keys" if "." in str(name) else f"nearest: {_nearest(key)}"
            shown = key if key.isprintable() else ascii(key)
            raise DiffPoseError(f"{source}: unknown key {shown} ({hint})")
        elif key in _SECTIONS:
            if not isinstance(value, dict | None):
                raise DiffPoseError(f"{source}: {key}: got {describe(value)}, expected a section of keys")
            values |= _flatten(value or {}, source, found, f"{key}.")
        else:
            kind = _FIELDS[key].metadata["kind"]
            try:
                values[key] = kind.parse(value)
            except BadValueError as error:
                raise DiffPoseError(f"{source}: {key}: {error}") from None
            remark = kind.remark(value)
            if remark:
                found.remarks.append(f"{source}: {key}: {remark}")
    return values


def _nearest(key: str) -> str:
    """The known key most like an unknown one, by its last part (also in other sections) and by the whole."""

    def likeness(known: str) -> tuple[float, float]:
        whole = difflib.SequenceMatcher(None, key.upper(), known).ratio()
        last = difflib.SequenceMatcher(None, key.upper().rpartition(".")[2], known.rpartition(".")[2]).ratio()
        return whole + last, whole

    return max([*_FIELDS, *sorted(_SECTIONS)], key=likeness)


def _build(values: dict[str, Any], source: str) -> Config:
    def make(section: type[Section], prefix: str) -> Section:
        arguments: dict[str, Any] = {}
        for field in dataclasses.fields(section):
            key = prefix + field.name.upper()
            if "kind" not in field.metadata:
                arguments[field.name] = make(section_of(field), f"{key}.")
            elif key in values:
                arguments[field.name] = values[key]
        return section(**arguments)

    try:
        return cast(Config, make(Config, ""))
    except DiffPoseError as error:
        raise DiffPoseError(f"{source}: {error}") from None
