"""Strict YAML: plain values only, without aliases, tags or duplicate keys, of bounded size and depth."""

import re
from pathlib import Path
from typing import Any

import yaml

from utils.errors import DiffPoseError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20

# YAML 1.2 scalars: unlike PyYAML's own table, 1e-4 is a number, yes/on are text, and 010 is ten.
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}


def _resolvers() -> dict[str, list]:
    table: dict[str, list] = {}
    for name, (pattern, first) in _SCALARS.items():
        for letter in first:
            entry = (f"tag:yaml.org,2002:{name}", re.compile(rf"^(?:{pattern})$"))
            table.setdefault(letter, []).append(entry)
    return table


def _refusal(problem: str, place: Any) -> yaml.MarkedYAMLError:
    """The error for a node or an event; :func:`_reason` makes one line of it."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


class _Loader(yaml.SafeLoader):
    """Composes nodes only; aliases, tags and deep nesting are refused before they can grow."""

    yaml_implicit_resolvers = _resolvers()
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases are not allowed here", event)
        if getattr(event, "tag", None) is not None:
            raise _refusal("tags are not allowed here", event)
        if self.depth >= MAX_DEPTH:
            raise _refusal("nested too deeply", event)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Dumper(yaml.SafeDumper):
    """Quotes exactly what the loader would otherwise not read as text."""

    yaml_implicit_resolvers = _resolvers()


def _scalar(node: yaml.ScalarNode) -> Any:
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        if len(text) > 40:
            raise _refusal("a number with too many digits", node)
        return int(text)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return None if kind == "null" else text


def _plain(node: yaml.Node) -> Any:
    """Node -> dict, list or scalar; keys are kept as the text that was written."""
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal("a key must be a plain word", key)
        if key.value in mapping:
            raise _refusal(f"duplicate key {key.value!r}", key)
        mapping[key.value] = _plain(value)
    return mapping


def _reason(error: yaml.YAMLError, text: str) -> str:
    """'line 3: what is wrong', on one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if isinstance(error, yaml.MarkedYAMLError) and mark is not None:
        problem = error.problem or error.context or "not valid YAML"
        return f"line {mark.line + 1}: {' '.join(problem.split())}"
    position = getattr(error, "position", 0)
    line = text.count("\n", 0, position) + 1
    return f"line {line}: {getattr(error, 'reason', 'not valid YAML')}"


def parse_yaml(text: str, source: str) -> Any:
    """YAML text -> dicts, lists and scalars. Raises DiffPoseError '<source>: line N: ...'."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return None if node is None else _plain(node)
    except yaml.YAMLError as error:
        raise DiffPoseError(f"{source}: invalid YAML, {_reason(error, text)}") from None


def read_yaml(path: Path) -> Any:
    """A YAML file of at most 256 KiB in UTF-8. Raises DiffPoseError that names the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DiffPoseError(f"{path}: no such configuration file; check the path given by --config") from None
    except IsADirectoryError:
        raise DiffPoseError(f"{path}: a folder, not a configuration file; name a YAML file in it") from None
    except (OSError, ValueError) as error:
        raise DiffPoseError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > MAX_BYTES:
        raise DiffPoseError(f"{path}: larger than {MAX_BYTES // 1024} KiB, too large for a configuration file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DiffPoseError(f"{path}: line {line}: not UTF-8 text; save the file as UTF-8") from None
    return parse_yaml(text, str(path))


def yaml_line(key: str, value: Any) -> str:
    """'KEY: value' on one line, read back unchanged by :func:`parse_yaml`."""
    if isinstance(value, tuple):
        return f"{key}: {_dump(list(value), default_flow_style=True)}"
    return _dump({key: value}, default_flow_style=False)


def dump_scalar(value: Any) -> str:
    """A plain value as it would stand in a file."""
    return yaml_line("", value).partition(": ")[2]


def _dump(value: Any, **style: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, width=float("inf"), **style).rstrip("\n")
