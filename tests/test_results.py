"""Statistics over seeds, verdicts on claims; the tables in the documents are those of the committed results."""

import json

import pytest

from experiments.claims import claims_table
from experiments.report_table import report_table, table_of, with_report
from experiments.results import effect, read_results, spread
from experiments.tables import TABLES, csv_of, tables_of, text_of, with_tables
from tests.support.helpers import ROOT
from utils.errors import DiffPoseError

RESULTS = ROOT / "experiments" / "synthetic" / "results"
PRECISION = ROOT / "experiments" / "synthetic" / "precision" / "results"
DOCUMENTS = {
    ROOT / "experiments" / "README.md": RESULTS,
    ROOT / "docs" / "speed.md": PRECISION,
}


def file_report(folder, name, seed, *, full, hard, easy_frames=50.0, hard_frames=60.0):
    """A report like the sweep's, with the given best-of-N errors."""

    def rows(error):
        scores = {"mpjpe": error, "pa_mpjpe": error / 2, "pck": 0.9, "cps": 200.0}
        return {row: scores for row in ("best", "mean_pose", "zero_noise")}

    def result(split, error):
        parts = {"easy frames": easy_frames, "hard frames": hard_frames} if split == "full" else {}
        return {
            "info": {"split": split, "source": "synthetic: made up", "stride": 16, "is_human36m": False},
            "num_frames": 10,
            "num_hypotheses": 3,
            "rows": rows(error),
            "subsets": {part: {"num_frames": 5, "rows": rows(value)} for part, value in parts.items()},
            "best_of_n": {"mpjpe": [2 * error, 1.5 * error, error], "pa_mpjpe": [error, error, error / 2]},
            "calibration": {"error": 0.25},
            "sharpness_mm": 30.0,
        }

    about = {"name": name, "seed": seed, "steps": 800, "batch": 64, "minutes": 4.0}
    path = folder / name / f"seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"experiment": about, "results": [result("full", full), result("hard", hard)]}))


@pytest.fixture
def experiments(tmp_path):
    for seed, main, argmax in ((1, 60.0, 66.0), (2, 62.0, 64.0), (3, 61.0, 65.0)):
        file_report(tmp_path, "a/diffpose", seed, full=main, hard=main + 10, hard_frames=main)
        file_report(
            tmp_path,
            "a/components/diffpose_argmax_only",
            seed,
            full=main + 0.5,
            hard=argmax + 10,
            easy_frames=50.5,
            hard_frames=argmax + 1,
        )
    return read_results(tmp_path)


def test_an_effect_is_weighed_against_the_spread_over_seeds():
    found = effect([66.0, 64.0, 65.0], [60.0, 62.0, 61.0])
    assert (found.size, found.spread) == (pytest.approx(4.0), pytest.approx(1.0))
    assert found.verdict == "yes"
    assert effect([60.0, 62.0], [66.0, 64.0]).verdict == "no"
    assert effect([60.0, 64.0], [61.0, 62.0]).verdict == "open (within the spread)"
    assert effect([60.0], [50.0]).verdict == "open (one seed)"
    assert (spread([60.0, 62.0]), spread([60.0]), spread([])) == ("61.0 ± 1.4", "60.0", "-")


def test_claims_say_by_how_much_and_whether_they_hold(experiments):
    table = claims_table(experiments)
    line = next(line for line in table.splitlines() if line.startswith("| heatmap samples beat"))
    assert "| +0.5 (spread 1.0) | +0.2 (spread 0.5) | +4.0 (spread 1.0) | +2.0 (spread 0.5) |" in line
    assert line.endswith("| +4.0 (spread 1.0) | open (within the spread) / yes |")
    more = next(line for line in table.splitlines() if "hard frames than on easy" in line)
    assert "easy frames: +0.5" in more
    assert more.endswith("yes |")
    assert "transformer" not in table  # no results, no claim
    assert "| best of N falls from N = 1 to 3 | 122.0 → 61.0 | 61.0 → 30.5 | 142.0 → 71.0 | 71.0 → 35.5 |" in table
    assert table.endswith("by 50 % / 50 % |")


def test_tables_name_what_was_measured(experiments):
    text = text_of(experiments)
    assert "800 x 64" in text
    assert "(1, 2, 3)" in text
    assert "| diffpose | 3 | 800 x 64 | 61.0 ± 1.0 | 30.5 ± 0.5 |" in text
    assert "| diffpose_argmax_only | full | 123.0 | 92.2 |" in text
    assert len(csv_of(experiments).splitlines()) == 7


def test_marked_tables_are_replaced_and_nothing_else(experiments, tmp_path):
    text = "before\n<!-- table: claims -->\nold\n<!-- end of table -->\nafter\n"
    new = with_tables(text, tables_of(experiments), tmp_path / "x.md")
    assert new == text.replace("old", claims_table(experiments))
    assert with_tables(new, tables_of(experiments), tmp_path / "x.md") == new
    with pytest.raises(DiffPoseError, match="no table 'nonsense': they are summary"):
        with_tables(text.replace("claims", "nonsense"), tables_of(experiments), tmp_path / "x.md")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_in_the_documents_are_those_of_the_committed_results(path):
    text = path.read_text(encoding="utf-8")
    assert any(f"<!-- table: {name} -->" in text for name in TABLES)
    assert with_tables(text, tables_of(read_results(DOCUMENTS[path])), path) == text, (
        "run experiments/tables.py --into again"
    )


@pytest.mark.parametrize("results", [RESULTS, PRECISION], ids=lambda path: path.parent.name)
def test_committed_tables_are_those_of_the_committed_results(results):
    experiments = read_results(results)
    assert (results.parent / "tables.md").read_text(encoding="utf-8") == text_of(experiments)
    assert (results.parent / "tables.csv").read_text(encoding="utf-8") == csv_of(experiments)


def test_the_readmes_results_are_those_of_the_committed_report():
    report = json.loads((ROOT / "experiments" / "synthetic" / "quickstart.json").read_text(encoding="utf-8"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_report(text, report_table(report), "quickstart") == text, "run experiments/report_table.py --into again"
    assert all(result["info"]["source"].startswith("synthetic") for result in report["results"])


@pytest.mark.parametrize("name", ["quickstart_frontier", "pred_x0", "velocity"])
def test_the_frontiers_in_the_documents_are_the_committed_ones(name):
    content = json.loads((ROOT / "experiments" / "synthetic" / "frontiers" / f"{name}.json").read_text())
    text = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    assert with_report(text, table_of(content), name) == text, "run experiments/report_table.py --into docs/samplers.md"


def test_a_report_becomes_a_table(tmp_path):
    scores = {"mpjpe": 50.04, "pa_mpjpe": 30.06}
    result = {
        "info": {"split": "full"},
        "num_frames": 7,
        "num_hypotheses": 9,
        "averaging": "by action",
        "rows": {"best": scores},
        "calibration": {"levels": [0.5, 0.8], "observed": [0.1, 0.25], "error": 0.4},
    }
    table = report_table({"results": [result]})
    assert "| best of 9 (oracle) | 50.0 / 30.1 |" in table
    assert table.endswith("in 80% of the cases hold it in 25%.")
    with pytest.raises(DiffPoseError, match="no line '<!-- report: other -->'"):
        with_report("nothing", table, "other")


def test_longer_training_is_what_the_committed_runs_say():
    """docs/benchmark.md's table of four times as many steps, a row for each run; every error falls with each seed."""
    folder, rows = ROOT / "experiments" / "synthetic" / "longer", {}
    for path in folder.glob("*.json"):
        steps, seed = path.stem.split("_")
        numbers = next(r for r in json.loads(path.read_text())["results"] if r["name"] == "ddim")["numbers"]
        value = {name: number["value"] for name, number in numbers.items()}
        pairs = [f"{value[f'{row}_mpjpe']:.1f} / {value[f'{row}_pa_mpjpe']:.1f}" for row in ("best", "mean_pose")]
        cells = [*pairs, f"{value['energy_score']:.1f}", f"{value['calibration_error']:.3f}"]
        rows[int(steps), seed] = value, f"| {seed} | {' | '.join(cells)} |"
    text = (ROOT / "docs" / "benchmark.md").read_text()
    assert len(rows) == 6
    for (steps, seed), (value, row) in rows.items():
        assert row in text
        if steps == 10000:
            for name in ("best_mpjpe", "best_pa_mpjpe", "mean_pose_mpjpe", "mean_pose_pa_mpjpe", "energy_score"):
                assert value[name] < rows[2500, seed][0][name]
