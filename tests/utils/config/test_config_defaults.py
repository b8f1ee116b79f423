"""A file that leaves out model keys names the defaults it falls back on; published files load as they always did."""

from tests.support.config_files import MAIN, failure, quiet
from utils.config import Config, change_config, flatten_config, load_config, save_config
from utils.config.schema import PUBLISHED_DEFAULTS, leaves

SHAPES_THE_MODEL = ("MODEL.", "LOSS.", "TRAIN.SCALE_3D_POSE", "TRAIN.COSINE_OFFSET")


def reported(path, overrides=()):
    lines: list[str] = []
    load_config(path, overrides, report=lines.append)
    return lines


def test_the_named_keys_are_those_whose_default_is_not_the_main_experiments():
    main, fields = flatten_config(load_config(MAIN)), leaves()
    differ = {key for key in main if key.startswith(SHAPES_THE_MODEL) and main[key] != fields[key].default}
    # NORM_METHOD's default depends on the condition; for the main experiment's it is the same.
    assert set(PUBLISHED_DEFAULTS) == differ - {"MODEL.EXTRA.NORM_METHOD"}
    assert Config().model.extra.norm_method == main["MODEL.EXTRA.NORM_METHOD"]


def test_a_file_without_model_keys_names_every_default_in_one_line(write):
    path = write("WORKERS: 0\n")
    (line,) = reported(path)
    assert line.startswith(f"{path}: ")
    assert all(f"{key}=" in line for key in PUBLISHED_DEFAULTS)
    for words in ("MODEL.TIMESTEPS=1000,", "MODEL.EXTRA.POS_EMB=sin,", "MODEL.EXTRA.OLD=true,", "EXTENDS: "):
        assert words in line


def test_only_what_is_left_out_is_named(write):
    write("MODEL: {TIMESTEPS: 25, CONDITION_TYPE: embedded_poseformer}\n", "base.yaml")
    path = write("EXTENDS: base.yaml\nMODEL: {CONDITION_DIM: 16, CONDITION_KEY: heatmaps}\nLOSS: {LOSS_TYPE: l2}\n")
    (line,) = reported(path, ["MODEL.EXTRA.OLD=false"])
    named = {key for key in PUBLISHED_DEFAULTS if f"{key}=" in line}
    extra = ("DROP_METHOD", "SAMPLEABLE", "POS_EMB", "PROJ_POS_EMB")
    assert named == {"TRAIN.SCALE_3D_POSE", *(f"MODEL.EXTRA.{name}" for name in extra)}


def test_keys_of_the_embedding_do_not_matter_to_other_conditions(write):
    text = "MODEL: {CONDITION_TYPE: pose_2d, CONDITION_DIM: 32, CONDITION_KEY: p2d_gt, TIMESTEPS: 25}\n"
    (line,) = reported(write(text))
    assert "MODEL.EXTRA" not in line
    assert "LOSS.LOSS_TYPE=l1" in line
    assert reported(write(text + "LOSS: {LOSS_TYPE: l2}\nTRAIN: {SCALE_3D_POSE: 10}\n")) == []


def test_a_published_file_says_nothing_of_defaults(write):
    (line,) = reported(write("GPUS: (0,1,2,3)\n"))
    assert "GPUS" in line
    assert "default" not in line


def test_a_legacy_key_among_the_overrides_does_not_make_a_file_published(write):
    lines = reported(write("WORKERS: 0\n"), ["GPUS=(0)"])
    assert sum("MODEL.TIMESTEPS=1000" in line for line in lines) == 1


def test_whole_files_and_what_extends_them_say_nothing(write, tmp_path):
    saved = tmp_path / "run" / "config.yaml"
    saved.parent.mkdir()
    save_config(change_config(load_config(MAIN), ["MODEL.CONDITION_DIM=8"]), saved)
    for path in (MAIN, saved, write(f"EXTENDS: {saved}\nWORKERS: 0\n")):
        load_config(path, report=quiet)


def test_denoiser_type_is_checked_though_it_decides_nothing(write):
    concatenated = ["MODEL.CONDITION_TYPE=heatmap_sampling_concatenated", "MODEL.CONDITION_DIM=-1"]
    widths = {
        load_config(MAIN, [*concatenated, f"MODEL.DENOISER_TYPE={name}"]).condition_width
        for name in ("base", "base_concat")
    }
    assert widths == {1024}
    assert "MODEL.DENOISER_TYPE: base_concat needs" in failure(MAIN, ["MODEL.DENOISER_TYPE=base_concat"])
