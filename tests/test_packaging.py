"""What stands around the code: dependencies, the citation, CI, and the paths that CONTRIBUTING.md names."""

import ast
import re
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.helpers import ROOT
from tests.test_structure import FILES, OURS, imported

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Name of a module where it differs from its distribution's.
MODULES = {"opencv-python-headless": "cv2", "pyyaml": "yaml", "ai-edge-litert": "ai_edge_litert"}
# Not needed to run: fetched on request, an extra, or built into the packages above.
OPTIONAL = {"torchvision", "onnxruntime", "hdf5plugin"}


def pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def test_pinned_versions_are_the_declared_dependencies():
    declared = {requirement.name.lower(): requirement for requirement in map(Requirement, PROJECT["dependencies"])}
    assert set(declared) == {requirement.name.lower() for requirement in pinned()}
    for requirement in pinned():
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert Version(pin.version) in declared[requirement.name.lower()].specifier, requirement.name


def test_what_the_code_imports_is_declared():
    names = {requirement.name.lower() for requirement in pinned()}
    known = {MODULES.get(name, name) for name in names} | set(sys.stdlib_module_names) | set(OURS) | OPTIONAL
    found = {name: path for path in FILES for name in imported(ast.parse(path.read_text()))}
    assert {name: path for name, path in found.items() if name not in known} == {}


def test_the_version_stands_in_pyproject_and_is_the_changelogs_latest():
    released = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == PROJECT["version"]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_citation_names_the_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Holmquist", "Wandt"]
    assert (paper["year"], paper["type"]) == (2023, "conference-paper")


def test_ci_runs_what_its_script_runs():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    assert {"make lint", "make test"} <= set((ROOT / ".ci/run").read_text().splitlines())
    for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]:
        assert hook["entry"].startswith("ruff ")


PATHS = sorted(set(re.findall(r"`([\w./-]+(?:/|\.py|\.yaml|\.txt))`", (ROOT / "CONTRIBUTING.md").read_text())))


@pytest.mark.parametrize("name", PATHS)
def test_contributing_names_paths_that_exist(name):
    places = (ROOT / name, ROOT / "data/preprocessing" / name)
    assert any(place.exists() for place in places)


def test_contributing_names_functions_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sources = "\n".join(path.read_text() for path in FILES)
    names = set(re.findall(r"`(?:Config\.)?([a-z_]*_[a-z_]+|[A-Z_]*_[A-Z_]+|METRICS|RULES)`", text)) - {"_mm"}
    assert {"build_sampler", "condition_width", "pose_scores", "METRICS"} <= names
    for name in names:
        assert re.search(rf"(def {name}\(|^{name}\b)", sources, re.MULTILINE), name
