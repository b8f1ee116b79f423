"""Any configuration survives the way to YAML and back, and any file gives a configuration or one line."""

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.config_files import MAIN
from utils.config import dump_config, load_config, parse_config
from utils.config.schema import leaves
from utils.config.values import BadValueError, Choice, Flag, FlagOr, Integer, Names, Number, Text
from utils.errors import DiffPoseError

FIELDS = leaves()


# Keys that must fit each other, and sets of them that do.
COUPLED = (
    "DATASET.DATASET",
    "DATASET.NUM_JOINTS",
    "MODEL.DENOISER_TYPE",
    "MODEL.CONDITION_TYPE",
    "MODEL.CONDITION_DIM",
    "MODEL.CONDITION_KEY",
    "MODEL.DIFFUSION_OBJECTIVE",
    "MODEL.START_DEVIATION",
    "MODEL.FLOW_TIME",
    "MODEL.EXTRA.FULL_HEATMAP",
    "MODEL.EXTRA.NO_REPLACEMENT",
    "TRAIN.AUGMENT",
    "TRAIN.ON_DEVICE",
    "TEST.SAMPLER",
    "TEST.STEPS",
    "TEST.ETA",
    "TEST.VARIANCE",
    "TEST.CONDITION_SETS",
    "TEST.FLIP",
)
BASES = (
    {},
    {"MODEL.DIFFUSION_OBJECTIVE": "pred_x0", "MODEL.START_DEVIATION": 0.7, "TEST.SAMPLER": "ddim", "TEST.ETA": 0.5},
    {"MODEL.DIFFUSION_OBJECTIVE": "velocity", "MODEL.FLOW_TIME": "logit_normal", "TEST.SAMPLER": "heun"},
    {"TEST.SAMPLER": "ancestral", "TEST.VARIANCE": "upper"},
    {"DATASET.DATASET": "3dpw", "DATASET.NUM_JOINTS": 23, "MODEL.CONDITION_DIM": 36},
    {
        "MODEL.CONDITION_TYPE": "heatmap_sampling_concatenated",
        "MODEL.DENOISER_TYPE": "base_concat",
        "MODEL.CONDITION_KEY": "heatmaps",
        "MODEL.CONDITION_DIM": -1,
        "TRAIN.ON_DEVICE": True,
    },
    {
        "MODEL.CONDITION_TYPE": "embedded_poseformer",
        "MODEL.CONDITION_KEY": "heatmaps",
        "MODEL.EXTRA.FULL_HEATMAP": True,
        "TRAIN.AUGMENT": True,
    },
)
WORDS = st.text(max_size=12) | st.sampled_from(
    [
        "yes",
        "null",
        "~",
        "1e-4",
        "010",
        "true",
        "'",
        "#",
        "a # b",
        "a: b",
        "-",
        "*x",
        "&x",
        "!x",
        "[S1]",
        "<<",
        "=",
        "?",
    ]
)


def _values(kind) -> st.SearchStrategy:
    """Values of a kind that it takes."""
    if isinstance(kind, Flag):
        return st.booleans()
    if isinstance(kind, Integer):
        single = [*kind.choices, *kind.also]
        free = st.integers(kind.minimum, min(kind.maximum, 10**12))
        return st.sampled_from(single) if kind.choices else (free | st.sampled_from(single) if single else free)
    if isinstance(kind, Number):
        low = kind.minimum if kind.above is None else kind.above
        return st.floats(low, kind.maximum, allow_infinity=False, exclude_min=kind.above is not None)
    if isinstance(kind, Choice):
        return st.sampled_from(kind.choices)
    if isinstance(kind, Names):
        return st.lists(WORDS, max_size=4)
    if isinstance(kind, FlagOr):
        return st.booleans() | _values(kind.other)
    assert isinstance(kind, Text)
    return WORDS


def takes(kind, value) -> bool:
    try:
        kind.parse(value)
    except BadValueError:
        return False
    return True


@st.composite
def override_values(draw):
    """Key -> value: one of the bases with any values for keys that don't depend on others."""
    keys = draw(st.lists(st.sampled_from([key for key in FIELDS if key not in COUPLED]), unique=True, max_size=12))
    kinds = {key: FIELDS[key].metadata["kind"] for key in keys}
    values = {key: draw(_values(kind).filter(partial(takes, kind))) for key, kind in kinds.items()}
    return draw(st.sampled_from(BASES)) | values


@settings(max_examples=80, deadline=None)
@given(override_values(), st.booleans())
def test_dump_loads_back_to_an_equal_config(tmp_path_factory, values, comments):
    mapping: dict = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = mapping
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    config = parse_config(mapping)
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(dump_config(config, comments=comments), encoding="utf-8")
    assert load_config(path) == config


@st.composite
def damaged_main_file(draw):
    """The main file with a piece of it replaced by something else."""
    data = MAIN.read_bytes()
    start = draw(st.integers(0, len(data)))
    end = start + draw(st.integers(0, 40))
    return data[:start] + draw(st.binary(max_size=8) | st.text(max_size=8).map(str.encode)) + data[end:]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | damaged_main_file())
def test_any_bytes_give_a_config_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        message = f"{path}: {load_config(path, report=lambda line: None)}"
    except DiffPoseError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
