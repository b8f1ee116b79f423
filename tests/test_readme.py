"""The README keeps its promises: short, its links lead somewhere, and every command in it is one that works."""

import argparse
import re
import runpy
import shlex
import sys

import pytest

from tests.support.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md", *ROOT.glob("docs/*.md")]


class ParsedError(BaseException):
    """The command line was understood; nothing more is run."""


def commands(text):
    """A Markdown text's commands as lists of words: the lines of its shell blocks, and those amid the prose."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    for command in re.findall(r"`((?:python|make) [^`]+)`", prose):
        yield command.split()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M):
        if language not in ("", "bash", "sh"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


README_COMMANDS = list(commands(README))


def test_the_readme_is_short_and_opens_with_what_a_reader_wants():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert max(len(line) for line in lines if not line.startswith("|") and "](http" not in line) <= 120, "wrap it"
    first_screen = "\n".join(lines[:30])
    assert "make demo" in first_screen
    assert "make quickstart" in first_screen
    assert "PoseEstimator.load()" in first_screen
    assert "![" in first_screen


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_are_there(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#", "mailto")):
            assert (path.parent / target.partition("#")[0]).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_prose_is_wrapped(path):
    prose = re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    lines = [line for line in prose.splitlines() if not line.lstrip().startswith("|")]
    assert max(len(line) for line in lines if "](http" not in line) <= 120


@pytest.mark.parametrize("words", [w for w in README_COMMANDS if w[0] == "make"], ids=" ".join)
def test_make_targets_exist(words):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words[1:] if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.M), target


@pytest.mark.parametrize("words", [w for w in README_COMMANDS if w[0] != "make"], ids=" ".join)
def test_commands_are_understood_by_their_scripts(words, monkeypatch):
    """Each script is started with the README's arguments and stopped once it has understood them."""
    assert words[0] == "python"
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)  # exits with code 2 where an argument is unknown or missing
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    as_module = words[1] == "-m"
    script, arguments = (words[2], words[3:]) if as_module else (words[1], words[2:])
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    run = runpy.run_module if as_module else runpy.run_path
    with pytest.raises(ParsedError):
        run(script if as_module else str(ROOT / script), run_name="__main__")
