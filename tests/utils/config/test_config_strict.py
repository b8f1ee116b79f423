"""What a configuration must not be: unknown keys, wrong values, unreadable YAML, circles. One line for each."""

import pytest

from tests.support.config_files import MAIN, failure, quiet
from utils.config import config_differences, flatten_config, ignore_warning, load_config, parse_config


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("MODEL:\n  EXTRA:\n    NUM_SAMPELS: 8", "MODEL.EXTRA.NUM_SAMPELS", "MODEL.EXTRA.NUM_SAMPLES"),
        ("TRAIN:\n  lr: 1", "TRAIN.lr", "TRAIN.LR"),
        ("MODEL:\n  NUM_SAMPLES: 8", "MODEL.NUM_SAMPLES", "MODEL.EXTRA.NUM_SAMPLES"),
        ("TRIAN: {}", "TRIAN", "TRAIN"),
        ("NUM_HYPO: 3", "NUM_HYPO", "TEST.NUM_HYPO"),
        ("WORKRES: 3", "WORKRES", "WORKERS"),
        ("7: 3", "7", ""),
        ('"a\\Lb": 3', r"'a\u2028b'", ""),
    ],
)
def test_unknown_key_names_file_path_and_nearest(write, text, key, nearest):
    path = write(text)
    message = failure(path)
    assert message.startswith(f"{path}: unknown key {key} (nearest: {nearest}")
    if nearest:
        assert message.endswith(f"(nearest: {nearest})")


def test_dotted_keys_in_a_file_are_not_sections(write):
    assert "unknown key TRAIN.LR (write sections as nested keys)" in failure(write("TRAIN.LR: 0.1"))


@pytest.mark.parametrize(
    ("override", "got", "expected"),
    [
        ("TRAIN.LR=fast", "the text 'fast'", "a number above 0"),
        ("TRAIN.LR=0", "got 0", "above 0"),
        ("TRAIN.LR=.nan", "nan", "a number above 0"),
        ("TRAIN.LR=1e999", "inf", "a number above 0"),
        ("TRAIN.LR=true", "true", "a number above 0"),
        ("TRAIN.LR=", "nothing", "a number above 0"),
        ("TRAIN.LR={A: 1}", "a section", "a number above 0"),
        ("TRAIN.NUM_STEPS=2.5", "2.5", "a whole number of at least 1"),
        ("TRAIN.NUM_STEPS=true", "true", "a whole number"),
        ("TRAIN.NUM_STEPS=1e300", "1e+300", "a whole number"),
        ("TRAIN.NUM_STEPS=-1", "-1", "at least 1"),
        ("TRAIN.EMA_DECAY=1.01", "1.01", "from 0 to 1"),
        ("MODEL.EXTRA.DROP_PROB=-0.1", "-0.1", "from 0 to 1"),
        ("MODEL.EXTRA.NUM_SAMPLES=0", "got 0", "1 to 100000"),
        ("MODEL.EXTRA.NUM_SAMPLES='8'", "the text '8'", "whole number"),
        ("MODEL.EXTRA.OLD=yes", "the text 'yes'", "true or false"),
        ("MODEL.EXTRA.OLD='true'", "the text 'true'", "true or false"),
        ("MODEL.EXTRA.OLD=1", "got 1", "true or false"),
        ("MODEL.EXTRA.POS_EMB=chanel", "'chanel'", "channel, sin, linear (nearest: channel)"),
        ("MODEL.EXTRA.POS_EMB=[sin]", "a list", "channel, sin, linear"),
        ("MODEL.CONDITION_DIM=0", "got 0", "at least 1 or -1"),
        ("DATASET.COND_JOINTS=17", "17", "expected 16"),
        ("DATASET.NUM_JOINTS=17", "17", "16 or 23"),
        ("DATASET.ROOT=7", "got 7", "text that is not empty (in quotes)"),
        ("OUTPUT_DIR=", "nothing", "not empty"),
        ('OUTPUT_DIR="a\\nb"', "the text", "on one line without control characters"),
        ("TRAIN.CLIP_GRAD=0", "got 0", "true, false or a number above 0"),
        ("TRAIN.CLIP_GRAD=-1", "-1", "true, false or a number above 0"),
        ("TRAIN.RESUME=3", "got 3", "true, false or text"),
        ("TRAIN.SUBJECTS=[S1, 5]", "got 5", "a list of names"),
        ("TRAIN.SUBJECTS=3", "got 3", "a list of names"),
        ("TEST.NUM_HYPO=0", "got 0", "at least 1"),
        ("TEST.PRECISION=float64", "'float64'", "float32"),
        ("TRAIN=3", "got 3", "a section of keys"),
        ("WORKERS=9999999999999999999999999999999999999999999", "too many digits", "invalid YAML"),
    ],
)
def test_wrong_value_names_key_what_was_got_and_what_is_expected(override, got, expected):
    message = failure(MAIN, [override])
    assert override.partition("=")[0] in message
    assert got in message
    assert expected in message


def test_wrong_type_in_a_file_names_the_file_that_has_it(write):
    base = write("TRAIN: {LR: high}", "base.yaml")
    assert failure(write("EXTENDS: base.yaml")).startswith(f"{base}: TRAIN.LR: got the text 'high'")
    section = write("TRAIN: 5")
    assert failure(section).startswith(f"{section}: TRAIN: got 5, expected a section")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("TRAIN.LR=1e-4", 1e-4),
        ("TRAIN.LR=3.E-4", 3e-4),
        ("TRAIN.LR=1", 1.0),
        ("TRAIN.NUM_STEPS=7e5", 700_000),
        ("TRAIN.NUM_STEPS=+020", 20),
        ("TRAIN.NUM_STEPS=16.0", 16),
        ("MODEL.NOISE_SCALE=0", 0.0),
        ("TRAIN.CLIP_GRAD=true", 1.0),
        ("TRAIN.CLIP_GRAD=false", False),
        ("TRAIN.CLIP_GRAD=2", 2.0),
        ("TRAIN.RESUME=out/state.pt", "out/state.pt"),
        ("TRAIN.RESUME=true", True),
        ("TRAIN.CHECKPOINT=", ""),
        ("TRAIN.SUBJECTS=[S1, S6]", ("S1", "S6")),
        ("TRAIN.SUBJECTS=S1,S6", ("S1", "S6")),
        ("TRAIN.SUBJECTS=", ()),
        ("TRAIN.OPTIMIZER=AdamW", "adamw"),
        ("MODEL.EXTRA.OLD=True", True),
        ("MODEL.EXTRA.NORM_METHOD=none", "image"),
        ("MODEL.NAME=a=b", "a=b"),
        ("MODEL.NAME=no", "no"),
        ("OUTPUT_DIR=2024-01-01", "2024-01-01"),
        ("OUTPUT_DIR=12:30", "12:30"),
    ],
)
def test_override_is_read_as_yaml(override, value):
    key = override.partition("=")[0]
    got = flatten_config(load_config(MAIN, [override], report=quiet))[key]
    assert got == value
    assert type(got) is type(value)


def test_last_override_counts_and_malformed_ones_are_refused():
    assert load_config(MAIN, ["WORKERS=1", "WORKERS=3"]).workers == 3
    for item in ("TRAIN.LR", "=3", ""):
        assert "expected KEY=value" in failure(MAIN, [item])
    assert "unknown key TRAIN.LRR (nearest: TRAIN.LR)" in failure(MAIN, ["TRAIN.LRR=3"])
    with pytest.raises(TypeError):
        load_config(MAIN, "TRAIN.LR=3")


def test_unknown_names_that_the_published_code_takes_are_said():
    lines: list[str] = []
    config = load_config(MAIN, ["MODEL.EXTRA.NORM_METHOD=meanstd", "TRAIN.OPTIMIZER=sgd"], report=lines.append)
    assert (config.model.extra.norm_method, config.train.optimizer) == ("image", "adamw")
    assert len(lines) == 2
    assert "MODEL.EXTRA.NORM_METHOD: the text 'meanstd' is not one of" in lines[0]
    assert "acts as adamw" in lines[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("TRAIN:\n  LR: 1\n bad", "line 3"),
        ("OUTPUT_DIR: 'open", "line 1"),
        ("WORKERS: 1\nTRAIN:\n  LR: 1\nWORKERS: 2", "line 4: duplicate key 'WORKERS'"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "line 2: aliases are not allowed"),
        ("TRAIN: &t\n  <<: *t", "line 2: aliases are not allowed"),
        ("OUTPUT_DIR: !!python/object/apply:os.system [ls]", "line 1: tags are not allowed"),
        ("WORKERS: !!int '3'", "line 1: tags are not allowed"),
        ("x: " + "[" * 5000, "line 1: nested too deeply"),
        ("x:\n" + "".join(" " * n + "- \n" for n in range(1, 60)), "nested too deeply"),
        ("? [a, b]\n: c", "line 1: a key must be a plain word"),
        ("WORKERS: 1\n---\nWORKERS: 2", "line 2"),
        ("WORKERS: 1\nNAME: \x07", "line 2"),
        (b"WORKERS: 1\nOUTPUT_DIR: \xff\xfe", "line 2: not UTF-8"),
        ("WORKERS: 1\n".encode("utf-16"), "not UTF-8"),
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("- a\n- b", "got a list"),
        ("only text", "got the text 'only text'"),
        (b"#" * 300_000, "larger than 256 KiB"),
    ],
)
def test_unreadable_yaml_is_one_line_with_the_place(write, content, reason):
    path = write(content)
    message = failure(path)
    assert message.startswith(f"{path}: ")
    assert reason in message


def test_missing_file_and_folder(tmp_path):
    assert "no such configuration file" in failure(tmp_path / "none.yaml")
    assert "a folder" in failure(tmp_path)
    assert "cannot be read" in failure("nul\0.yaml")


def test_byte_order_mark_empty_section_and_windows_lines(write):
    text = "\ufeffTRAIN:\r\nMODEL:\r\n  EXTRA:\r\nWORKERS: 1\r\n"
    config = load_config(write(text), report=ignore_warning)
    assert config == parse_config({"WORKERS": 1})


def test_extends_holds_only_what_changes(write):
    write(f"EXTENDS: {MAIN}\nTRAIN: {{LR: 1e-3, SUBJECTS: [S1]}}\n", "shared/base.yaml")
    path = write("EXTENDS: ../shared/base.yaml\nTRAIN:\n  LR: 5e-4\nMODEL: {EXTRA: {OLD: true}}", "a/b.yaml")
    config = load_config(path, ["WORKERS=0"], report=quiet)
    differences = config_differences(load_config(MAIN), config)
    assert differences == [
        ("MODEL.EXTRA.OLD", False, True),
        ("TRAIN.LR", 1e-4, 5e-4),
        ("TRAIN.SUBJECTS", (), ("S1",)),
        ("WORKERS", 2, 0),
    ]


def test_extends_circle_missing_file_and_wrong_type(write, tmp_path):
    one = write("EXTENDS: sub/two.yaml", "one.yaml")
    two = write("EXTENDS: ../one.yaml", "sub/two.yaml")
    assert failure(one) == f"{tmp_path / 'sub/two.yaml'}: EXTENDS: ../one.yaml leads back to itself"
    assert "leads back to itself" in failure(two)
    assert "leads back to itself" in failure(write("EXTENDS: self.yaml", "self.yaml"))
    assert "no file" in failure(write("EXTENDS: gone.yaml"))
    assert "no file" in failure(write(f"EXTENDS: {'x' * 5000}"))
    assert "expected the path of a file" in failure(write("EXTENDS: [a.yaml]"))
    assert "expected the path of a file" in failure(write("EXTENDS:"))
    assert "unknown key EXTENDS" in failure(MAIN, ["EXTENDS=other.yaml"])
