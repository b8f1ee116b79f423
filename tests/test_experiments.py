"""The paper's configurations: each the main one with exactly the stated changes, and each trains and samples."""

import pytest
import torch

from models import build_model, build_sampler
from models.trainer import Trainer
from tests.support.helpers import ROOT
from train import fit
from utils.config import change_config, config_differences, load_config
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")

FOLDER = ROOT / "experiments" / "iccv2023" / "h36m"
SYNTHETIC = ROOT / "experiments" / "synthetic" / "ablations"
CONCATENATION = {
    "MODEL.DENOISER_TYPE": "base_concat",
    "MODEL.CONDITION_TYPE": "heatmap_sampling_concatenated",
    "MODEL.CONDITION_DIM": -1,
    "MODEL.EXTRA.CONDITION_ORDERED_SAMPLES": True,
}
STATED = {
    "diffpose": {},
    "diffpose_orig_hrnet": {
        "DATASET.TRAINFILE": "H36M_dataset_orig_hrnet.h5",
        "DATASET.TESTFILE": "H36M_dataset_orig_hrnet.h5",
    },
    "ablations/components/baseline_argmax": CONCATENATION | {"MODEL.EXTRA.NUM_SAMPLES": 1},
    "ablations/components/baseline_concat": CONCATENATION,
    "ablations/components/diffpose_argmax_only": {"MODEL.EXTRA.NUM_SAMPLES": 1},
    "ablations/components/diffpose_no_argmax": {"MODEL.EXTRA.WITHOUT_ARGMAX": True},
    "ablations/components/diffpose_no_likelihood": {"MODEL.EXTRA.WITHOUT_POSEMB_SCALING": True},
    "ablations/components/diffpose_no_proj": {"MODEL.EXTRA.PROJ_POS_EMB": False},
    "ablations/components/diffpose_no_transformer": {"MODEL.EXTRA.WITHOUT_TRANSFORMER": True},
    "ablations/components/diffpose_wo_dropout": {"MODEL.EXTRA.DROP_METHOD": "none"},
    **{
        f"ablations/num_diffusionsteps/diffpose_T{steps}": {"MODEL.TIMESTEPS": steps}
        for steps in (10, 50, 100, 250, 500, 1000)
    },
    **{
        f"ablations/num_samples/diffpose_S{samples}": {"MODEL.EXTRA.NUM_SAMPLES": samples}
        for samples in (8, 16, 24, 40, 48, 56, 64, 72, 80, 88, 96)
    },
    **{
        f"ablations/num_samples/wo_argmax/diffpose_S{samples}": {
            "MODEL.EXTRA.NUM_SAMPLES": samples,
            "MODEL.EXTRA.WITHOUT_ARGMAX": True,
        }
        for samples in (1, 8, 16, 24, 40, 48, 56, 64)
    },
}


def without_defaults(stated):
    """The changes that differ from the main experiment's own values."""
    return {key: value for key, value in stated.items() if (key, value) != ("MODEL.EXTRA.NUM_SAMPLES", 32)}


def test_every_file_is_stated_and_every_statement_has_a_file():
    files = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml")}
    assert files == set(STATED)


@pytest.mark.parametrize("name", STATED)
def test_differences_from_the_main_experiment(name):
    main, config = load_config(ROOT / "diffpose.yaml"), load_config(FOLDER / f"{name}.yaml")
    differences = {key: value for key, _, value in config_differences(main, config)}
    assert differences.pop("OUTPUT_DIR").startswith("output/iccv2023/")
    assert differences == without_defaults(STATED[name])


@pytest.mark.parametrize("name", [name for name in STATED if name.startswith("ablations/")])
def test_synthetic_namesake_makes_the_same_change(name):
    """Nothing but the stated change: the same budget, rate and data for every one of them."""
    main, config = load_config(SYNTHETIC / "diffpose.yaml"), load_config(SYNTHETIC.parent / f"{name}.yaml")
    differences = {key: value for key, _, value in config_differences(main, config)}
    assert differences.pop("OUTPUT_DIR").startswith("output/synthetic/")
    if config.model.timesteps > main.model.timesteps:
        assert differences.pop("TEST.STEPS") == main.model.timesteps, "as many network calls as the main model's chain"
    assert differences == without_defaults(STATED[name])


@pytest.mark.parametrize(
    ("name", "stated"),
    [("pred_noise", {}), ("velocity", {"TEST.SAMPLER": "heun"})],
)
def test_synthetic_objective_changes_nothing_else_but_its_rate(name, stated):
    main = load_config(SYNTHETIC / "diffpose.yaml")
    config = load_config(SYNTHETIC / "objectives" / f"diffpose_{name}.yaml")
    differences = {key: value for key, _, value in config_differences(main, config)}
    assert differences.pop("OUTPUT_DIR") == f"output/synthetic/diffpose_{name}"
    differences.pop("TRAIN.LR", None)
    assert differences == {"MODEL.DIFFUSION_OBJECTIVE": name} | stated


def test_no_synthetic_ablation_without_a_namesake():
    files = {str(path.relative_to(SYNTHETIC.parent).with_suffix("")) for path in SYNTHETIC.rglob("*.yaml")}
    named = {name for name in STATED if name.startswith("ablations/")} | {"ablations/diffpose"}
    assert files - {"ablations/objectives/diffpose_pred_noise", "ablations/objectives/diffpose_velocity"} == named


@pytest.mark.parametrize("folder", [FOLDER, SYNTHETIC])
def test_output_folders_differ(folder):
    folders = [load_config(path).output_dir for path in folder.rglob("*.yaml")]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", [name for name in STATED if name != "diffpose_orig_hrnet"])
def test_configuration_takes_a_training_step_and_samples(name):
    config = change_config(load_config(FOLDER / f"{name}.yaml"), ["TRAIN.NUM_STEPS=1"])
    generator = torch.Generator().manual_seed(0)
    batch = {
        "heatmap": torch.rand(2, 16, 64, 64, generator=generator).half() ** 8,
        "target_m": torch.randn(2, 16, 3, generator=generator) / 4,
    }
    trainer = Trainer(build_model(config), config, seed=0)
    losses = []
    fit(trainer, iter([batch]), after_step=lambda result: losses.append(float(result.loss)))
    assert losses[0] > 0
    samples = build_sampler(trainer.model, config, num_hypotheses=2)(batch["heatmap"][:1], FrameDraws(0, [0]))
    assert samples.hypotheses_mm.shape == (1, 2, 17, 3)
    assert bool(samples.hypotheses_mm.isfinite().all())


def test_seeds_are_the_published_ones():
    assert (ROOT / "experiments" / "random_seeds.txt").read_text().split() == ["42", "2967", "6173", "5478", "989"]
