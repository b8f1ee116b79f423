"""experiments/flags.py: rates of the flags and scores of the modes on poses whose answer is known."""

import numpy as np
import pytest
import torch

from experiments.flags import flag_rates, main, mode_scores
from utils.errors import DiffPoseError
from utils.evaluation.predictions import PredictionWriter
from utils.skeleton import COMMON13, H36M17


def test_rates_of_a_threshold():
    spread = torch.tensor([[10.0, 150.0, 150.0, 30.0]])
    errors = torch.tensor([[20.0, 140.0, 60.0, 300.0]])
    assert flag_rates(spread, errors, 100.0) == {"flagged": 0.5, "right": 0.5, "found": 0.5}
    assert flag_rates(spread, errors, 20.0) == pytest.approx({"flagged": 0.75, "right": 2 / 3, "found": 1.0})
    assert np.isnan(flag_rates(spread, errors, 500.0)["right"])


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_two_far_groups_are_two_modes_of_which_one_is_right(generator):
    truth = COMMON13.select(torch.randn(1, 17, 3, generator=generator) * 200)
    wrong = truth + torch.tensor([0.0, 0.0, 500.0]) * (torch.arange(13) % 2)[:, None]
    hypotheses = torch.cat([wrong[:, None].expand(-1, 30, -1, -1), truth[:, None].expand(-1, 20, -1, -1)], dim=1)
    scores = mode_scores(hypotheses, truth, 100.0)
    assert (scores["modes"], scores["best_mpjpe"]) == (2.0, pytest.approx(0.0, abs=1e-3))
    assert scores["first_mpjpe"] == pytest.approx(500 * 6 / 13, rel=1e-4)
    assert mode_scores(hypotheses, truth, 1000.0)["modes"] == 1.0


def test_command_line(monkeypatch, capsys, generator, tmp_path):
    path = tmp_path / "predictions_full.h5"
    truth = torch.randn(4, 17, 3, generator=generator) * 200
    truth = truth - truth[:, :1]
    noise = torch.randn(4, 8, 17, 3, generator=generator) * 120 * (torch.arange(17) / 16)[:, None]
    with PredictionWriter(path, skeleton=H36M17, attrs={"split": "full"}) as writer:
        writer.append(
            {
                "row": np.arange(4),
                "hypotheses_mm": (truth[:, None] + noise).numpy(),
                "gt_mm": truth.numpy(),
                "z0_mm": None,
            }
        )
    monkeypatch.setattr("sys.argv", ["flags.py", str(path), "--thresholds", "1", "--radii", "150"])
    main()
    out = capsys.readouterr().out
    assert "4 frames, 8 hypotheses each" in out
    assert "| 1 mm | 100% |" in out
    assert "| 150 mm | " in out
    monkeypatch.setattr("sys.argv", ["flags.py", str(tmp_path / "none.h5")])
    with pytest.raises(DiffPoseError, match=r"none\.h5"):
        main()
