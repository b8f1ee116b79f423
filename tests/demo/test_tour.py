"""The notebook docs/tour.ipynb runs, on its two frames, and shows what its copy in the repository shows."""

import os
import re
import sys

import pytest

from tests.support.helpers import ROOT

PATH = ROOT / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def stored():
    return pytest.importorskip("nbformat", reason="nbclient is not installed").read(PATH, as_version=4)


def printed(notebook):
    """Lines that its cells print, without warnings."""
    return [
        line
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
        for line in output.text.splitlines()
    ]


def shown(notebook):
    """The kinds of pictures that each code cell shows."""
    kinds = [
        sorted(kind for output in cell.outputs for kind in output.get("data", {}) if kind != "text/plain")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return [cell for cell in kinds if cell]


def test_it_runs_in_its_folder_and_shows_what_is_stored(stored, fetched):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    fresh = stored.copy()
    fresh.cells = [cell.copy() for cell in stored.cells]
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(
        fresh, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(PATH.parent)}}
    ).execute()
    assert shown(fresh) == shown(stored) == [["image/jpeg"], *[["image/png"]] * 4, ["text/html"], ["image/png"]]
    lines, wanted = printed(fresh), printed(stored)
    assert len(lines) == len(wanted) >= 7
    for line, documented in zip(lines, wanted, strict=True):
        # On another machine a limit may be passed that isn't here.
        line, documented = (re.sub(r"(guessed: ).*|, \d+ modes", r"\1", text) for text in (line, documented))
        assert re.sub(r"\d+", "n", line) == re.sub(r"\d+", "n", documented)
        numbers, stored_numbers = ([int(n) for n in re.findall(r"\d+", text)] for text in (line, documented))
        assert numbers == pytest.approx(stored_numbers, abs=5)
    turning = next(o for cell in fresh.cells for o in cell.get("outputs", []) if "text/html" in o.get("data", {}))
    assert turning.data["text/html"].startswith("<img alt=")


def test_a_web_page_can_show_it(stored):
    assert PATH.stat().st_size < 500_000
    assert all(cell.outputs or cell.source.startswith(("import", "def")) for cell in stored.cells if "outputs" in cell)
    assert not [o for cell in stored.cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert "/root/" not in PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", [ROOT, ROOT / "docs"], ids=["root", "docs"])
def test_it_finds_the_project_from(stored, folder, monkeypatch):
    first = next(cell.source for cell in stored.cells if cell.cell_type == "code")
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    monkeypatch.chdir(folder)
    exec(first, {})
    assert [os.path.realpath(path) for path in sys.path[:1]] == [os.path.realpath(ROOT)]
