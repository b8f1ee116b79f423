"""Configuration: defaults, the main experiment, published files, what goes together, changes and saving."""

import dataclasses
import re

import pytest

from tests.support.config_files import MAIN, failure, quiet
from tests.support.helpers import FIXTURES
from utils.config import (
    Config,
    change_config,
    config_differences,
    dump_config,
    flatten_config,
    known_keys,
    load_config,
    parse_config,
    save_config,
)
from utils.config.schema import leaves
from utils.config.values import Choice
from utils.errors import DiffPoseError

PUBLISHED = FIXTURES / "published_main.yaml"
FIELDS = leaves()

# What is taken when a key is absent, as published files rely on it.
DEFAULTS = {
    "DATASET.DATASET": "h36m",
    "DATASET.DATA_FORMAT": "h5",
    "DATASET.NUM_JOINTS": 16,
    "DATASET.COND_JOINTS": 16,
    "MODEL.CONDITION_TYPE": "pose_2d",
    "MODEL.CONDITION_KEY": "p2d_hrnet",
    "MODEL.DENOISER_TYPE": "base",
    "MODEL.CONDITION_DIM": 32,
    "MODEL.TIMESTEPS": 1000,
    "MODEL.NOISE_SCALE": 1.0,
    "MODEL.DIFFUSION_OBJECTIVE": "pred_noise",
    "MODEL.EXTRA.SAMPLEABLE": False,
    "MODEL.EXTRA.PROJ_POS_EMB": False,
    "MODEL.EXTRA.DROP_METHOD": "none",
    "MODEL.EXTRA.DROP_PROB": 0.1,
    "MODEL.EXTRA.NORM_METHOD": "mean_std",
    "MODEL.EXTRA.POS_EMB": "sin",
    "MODEL.EXTRA.OLD": True,
    "LOSS.LOSS_TYPE": "l1",
    "TRAIN.OPTIMIZER": "adam",
    "TRAIN.NUM_STEPS": 70_000,
    "TRAIN.LR": 0.001,
    "TRAIN.GRADIENT_ACCUMULATE_EVERY": 2,
    "TRAIN.BATCH_SIZE_PER_GPU": 32,
    "TEST.BATCH_SIZE_PER_GPU": 64,
    "TEST.NUM_HYPO": 200,
    "TRAIN.AMP": True,
    "TRAIN.EMA_DECAY": 0.995,
    "TRAIN.SCALE_3D_POSE": 1.0,
    "TRAIN.COSINE_OFFSET": 0.008,
    "TRAIN.CLIP_GRAD": False,
    "TRAIN.SAVE_EVERY": 10_000,
    "TRAIN.KEEP": 2,
    "TEST.STRIDE": 16,
    "TEST.WEIGHTS": "raw",
    "WORKERS": 2,
}
# The main experiment of the paper.
MAIN_VALUES = {
    "MODEL.CONDITION_TYPE": "embedded_poseformer",
    "MODEL.CONDITION_DIM": 128,
    "MODEL.CONDITION_KEY": "heatmaps",
    "MODEL.DENOISER_TYPE": "base",
    "MODEL.DIFFUSION_OBJECTIVE": "pred_noise",
    "MODEL.TIMESTEPS": 25,
    "MODEL.EXTRA.NUM_SAMPLES": 32,
    "MODEL.EXTRA.NORM_METHOD": "mean_std",
    "MODEL.EXTRA.DROP_METHOD": "any",
    "MODEL.EXTRA.SAMPLEABLE": True,
    "MODEL.EXTRA.POS_EMB": "channel",
    "MODEL.EXTRA.OLD": False,
    "MODEL.EXTRA.PROJ_POS_EMB": True,
    "LOSS.LOSS_TYPE": "l2",
    "TRAIN.BATCH_SIZE_PER_GPU": 64,
    "TRAIN.GRADIENT_ACCUMULATE_EVERY": 1,
    "TRAIN.NUM_STEPS": 700_000,
    "TRAIN.LR": 1e-4,
    "TRAIN.SCALE_3D_POSE": 10.0,
    "TEST.NUM_HYPO": 200,
}
CONCATENATED = "MODEL.CONDITION_TYPE=heatmap_sampling_concatenated"
BASELINE = (
    "MODEL:\n  CONDITION_TYPE: heatmap_sampling_concatenated\n  CONDITION_DIM: -1\n"
    "  CONDITION_KEY: heatmaps\n  DENOISER_TYPE: base_concat\n"
)


def test_defaults_are_those_published_files_rely_on():
    values = flatten_config(Config())
    assert {key: values[key] for key in DEFAULTS} == DEFAULTS


def test_fields_mirror_the_yaml_in_lower_case():
    config = load_config(MAIN, report=quiet)
    assert config.model.extra.num_samples == 32
    assert config.train.lr == 1e-4
    assert config.dataset.trainfile == "H36M_dataset_h36m_hrnet.h5"
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.lr = 1.0


def test_main_experiment_is_the_published_one():
    values = flatten_config(load_config(MAIN, report=quiet))
    assert {key: values[key] for key in MAIN_VALUES} == MAIN_VALUES
    untouched = values.keys() - MAIN_VALUES.keys() - {"DATASET.TRAINFILE", "DATASET.TESTFILE"}
    assert {key: values[key] for key in untouched} == {key: FIELDS[key].default for key in untouched}


def test_main_file_has_every_key_once_with_its_description():
    text = MAIN.read_text(encoding="utf-8")
    described = {}
    path: list[str] = []
    for line in text.splitlines():
        match = re.fullmatch(r"( *)([A-Z0-9_]+):(?: (.*?))?(?: +# (.*))?", line)
        if not match:
            assert not line or line.startswith("#"), line
            continue
        path = [*path[: len(match[1]) // 2], match[2]]
        if match[3] is not None:
            assert ".".join(path) not in described
            described[".".join(path)] = match[4]
    assert described == known_keys()
    assert text.endswith(dump_config(load_config(MAIN, report=quiet), comments=True))
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("key", [key for key, field in FIELDS.items() if isinstance(field.metadata["kind"], Choice)])
def test_description_names_every_choice(key):
    assert all(value in FIELDS[key].metadata["doc"] for value in FIELDS[key].metadata["kind"].choices)


def test_published_file_loads_unchanged_and_names_legacy_keys_in_one_line():
    lines: list[str] = []
    config = load_config(PUBLISHED, report=lines.append)
    assert len(lines) == 1
    for key in ("AUTO_RESUME", "GPUS", "CUDNN", "DEBUG", "MODEL.DIFFUSION_PRIOR_WEIGHT", "TRAIN.LR_STEP"):
        assert key in lines[0]
    assert str(PUBLISHED) in lines[0]
    values = flatten_config(config)
    assert {key: values[key] for key in MAIN_VALUES} == MAIN_VALUES
    assert (config.workers, config.pin_memory, config.output_dir) == (24, True, "output")


def test_legacy_keys_are_reported_on_stderr_by_default(write, capsys):
    load_config(write("GPUS: (0,1,2,3)\n"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("warning: ")
    assert err.count("\n") == 1
    assert "GPUS" in err


def test_legacy_keys_of_a_chain_are_named_once(write):
    write("GPUS: (0)\nLOG_DIR: log\n", "base.yaml")
    lines: list[str] = []
    load_config(write("EXTENDS: base.yaml\nGPUS: (1)\nRANK: 0\n"), ["DEBUG.DEBUG=true"], report=lines.append)
    assert len(lines) == 1
    assert [lines[0].count(key) for key in ("GPUS", "LOG_DIR", "RANK", "DEBUG")] == [1, 1, 1, 1]


def test_norm_method_default_follows_the_condition_type(write):
    assert load_config(write(BASELINE)).model.extra.norm_method == "image_half"
    assert load_config(write("WORKERS: 1")).model.extra.norm_method == "mean_std"
    assert load_config(write(BASELINE + "  EXTRA: {NORM_METHOD: mean_std}")).model.extra.norm_method == "mean_std"
    # An empty value asks for the default again, so that a baseline can extend the main experiment.
    path = write(f"EXTENDS: {MAIN}\n{BASELINE}  EXTRA: {{NORM_METHOD: }}")
    assert load_config(path).model.extra.norm_method == "image_half"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["DATASET.DATASET=3dpw"], "DATASET.NUM_JOINTS: 3dpw needs 23, got 16"),
        (["DATASET.NUM_JOINTS=23"], "DATASET.NUM_JOINTS: h36m needs 16, got 23"),
        (["MODEL.CONDITION_KEY=p2d_hrnet"], "MODEL.CONDITION_KEY: .* embedded_poseformer needs heatmaps"),
        (["MODEL.CONDITION_TYPE=pose_2d"], "MODEL.CONDITION_KEY: .* pose_2d needs p2d_hrnet or p2d_gt"),
        (
            ["MODEL.CONDITION_TYPE=pose_2d", "MODEL.CONDITION_KEY=p2d_gt"],
            "MODEL.CONDITION_DIM: .* needs 32, got 128",
        ),
        (["MODEL.CONDITION_DIM=-1"], "MODEL.CONDITION_DIM: .* needs a positive number"),
        (["MODEL.DENOISER_TYPE=base_concat"], "MODEL.DENOISER_TYPE: base_concat needs"),
        ([CONCATENATED], r"MODEL.CONDITION_DIM: .* -1 \(here .* 1024\), got 128"),
        (
            [CONCATENATED, "MODEL.CONDITION_DIM=-1", "MODEL.EXTRA.FULL_HEATMAP=true"],
            "MODEL.EXTRA.FULL_HEATMAP: .* drawn candidates only",
        ),
        (
            ["MODEL.EXTRA.NO_REPLACEMENT=true", "MODEL.EXTRA.NUM_SAMPLES=4098"],
            "NO_REPLACEMENT draws at most 4096",
        ),
    ],
)
def test_what_cannot_work_together_is_refused(overrides, reason):
    message = failure(MAIN, overrides)
    assert message.startswith(f"{MAIN}: ")
    assert re.search(reason, message)


@pytest.mark.parametrize(
    "overrides",
    [
        ["DATASET.DATASET=3DPW", "DATASET.NUM_JOINTS=23"],
        ["DATASET.DATASET=3dhp"],
        ["MODEL.EXTRA.NUM_SAMPLES=1", "MODEL.EXTRA.WITHOUT_ARGMAX=true"],
        ["MODEL.EXTRA.NO_REPLACEMENT=true", "MODEL.EXTRA.NUM_SAMPLES=4097"],
        ["MODEL.EXTRA.FULL_HEATMAP=true"],
        [CONCATENATED, "MODEL.CONDITION_DIM=-1"],
        [CONCATENATED, "MODEL.CONDITION_DIM=1536", "MODEL.EXTRA.CONCAT_LIKELIHOOD=true"],
        ["MODEL.CONDITION_TYPE=none", "MODEL.CONDITION_DIM=32", "MODEL.CONDITION_KEY=p2d_gt"],
    ],
)
def test_what_can_work_is_let_through(overrides):
    load_config(MAIN, overrides, report=quiet)


@pytest.mark.parametrize(
    ("overrides", "width"),
    [
        ([], 2048),
        (["MODEL.CONDITION_DIM=5"], 80),
        ([CONCATENATED, "MODEL.CONDITION_DIM=-1", "MODEL.EXTRA.NUM_SAMPLES=3"], 96),
        ([CONCATENATED, "MODEL.CONDITION_DIM=1536", "MODEL.EXTRA.CONCAT_LIKELIHOOD=true"], 1536),
        (["MODEL.CONDITION_TYPE=pose_2d", "MODEL.CONDITION_DIM=32", "MODEL.CONDITION_KEY=p2d_gt"], 32),
    ],
)
def test_condition_width(overrides, width):
    assert load_config(MAIN, overrides, report=quiet).condition_width == width


def test_resume_from(write):
    assert Config().train.resume_from == ""
    assert load_config(MAIN, ["TRAIN.CHECKPOINT=a.pt"]).train.resume_from == ""
    assert load_config(MAIN, ["TRAIN.CHECKPOINT=a.pt", "TRAIN.RESUME=true"]).train.resume_from == "a.pt"
    assert load_config(MAIN, ["TRAIN.CHECKPOINT=a.pt", "TRAIN.RESUME=b.pt"]).train.resume_from == "b.pt"
    with pytest.raises(DiffPoseError, match=r"TRAIN\.CHECKPOINT"):
        _ = load_config(MAIN, ["TRAIN.RESUME=true"]).train.resume_from


def test_sections_check_themselves_and_replace_is_as_strict_as_a_file():
    config = Config()
    with pytest.raises(DiffPoseError, match=r"TRAIN\.LR: got -1, expected a number above 0"):
        dataclasses.replace(config.train, lr=-1)
    with pytest.raises(DiffPoseError, match=r"DATASET\.NUM_JOINTS"):
        dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, num_joints=23))
    assert dataclasses.replace(config.train, subjects=["S1"]).subjects == ("S1",)


def test_parse_config_is_strict_too():
    assert parse_config({}) == Config()
    assert parse_config({"TRAIN": {"LR": 1}}).train.lr == 1.0
    with pytest.raises(DiffPoseError, match="run: unknown key EXTENDS"):
        parse_config({"EXTENDS": "a.yaml"}, source="run")


def test_change_config():
    config = load_config(MAIN)
    changed = change_config(config, ["TRAIN.LR=3e-4", "MODEL.EXTRA.OLD=true"])
    assert config_differences(config, changed) == [("MODEL.EXTRA.OLD", False, True), ("TRAIN.LR", 1e-4, 3e-4)]
    assert config_differences(config, changed, within=("MODEL", "TEST")) == [("MODEL.EXTRA.OLD", False, True)]
    assert config_differences(config, changed, within=("TRAIN.LR",)) == [("TRAIN.LR", 1e-4, 3e-4)]
    assert config_differences(config, changed, within=("TRAIN.L",)) == []
    assert change_config(changed, ["TRAIN.LR=1e-4", "MODEL.EXTRA.OLD=false"]) == config


def test_save_config_is_whole_or_absent(tmp_path):
    config = load_config(PUBLISHED, ["TRAIN.SUBJECTS=[S1]"], report=lambda line: None)
    path = tmp_path / "config.yaml"
    save_config(config, path)
    assert load_config(path, report=quiet) == config
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]
    with pytest.raises(DiffPoseError, match="cannot be written"):
        save_config(config, path / "below" / "config.yaml")
    (tmp_path / "taken").mkdir()
    with pytest.raises(DiffPoseError, match="taken: cannot be written"):
        save_config(config, tmp_path / "taken")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["config.yaml", "taken"]
