"""docs/claims.md and its pictures show what the committed runs give."""

import json
import struct

import numpy as np
import pytest

from experiments import claims_report
from experiments.claims_pictures import learning_curve
from experiments.paired import read_runs
from experiments.tables import with_tables
from tests.support.helpers import ROOT

COMMITTED = ROOT / "experiments" / "synthetic" / "claims"


@pytest.fixture(scope="module")
def committed():
    """The report of the committed runs."""
    named = {"rates": COMMITTED.with_name("rates"), "frontiers": COMMITTED.with_name("objectives")}
    folders = {name: path for name, path in named.items() if path.is_dir()}
    return claims_report.Report(*read_runs(COMMITTED), folders)


def test_documents_hold_what_the_committed_runs_give(committed):
    path = ROOT / "docs" / "claims.md"
    text = path.read_text()
    assert with_tables(text, committed.tables(), path) == text, "run experiments/claims_report.py again"


def comment_of(path):
    """The JSON in a PNG's comment."""
    data, place = path.read_bytes(), 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"tEXt" and data[place + 8 :].startswith(b"Comment\0"):
            return json.loads(data[place + 16 : place + 8 + length])
        place += 12 + length
    raise AssertionError(f"{path}: no comment")


def test_pictures_show_what_the_committed_runs_give(committed):
    images = ROOT / "docs" / "images"
    shown = comment_of(images / "best_of_n.png")
    for split, experiments in committed.curves().items():
        assert set(shown[split]) == set(experiments)
        for name, (_, errors) in experiments.items():
            np.testing.assert_allclose(shown[split][name], errors, atol=0.006)
    shown = comment_of(images / "ambiguity_gain.png")
    gains = committed.gains()
    assert gains is not None
    for name, curves in gains[1].items():
        np.testing.assert_allclose(shown[name], curves, atol=0.02)
    shown = comment_of(images / "learning_curves.png")
    logs = sorted(COMMITTED.with_name("curves").glob("*.jsonl"))
    assert set(shown) == {log.stem for log in logs}
    for log in logs:
        np.testing.assert_allclose(shown[log.stem], learning_curve(log), atol=0.006)
