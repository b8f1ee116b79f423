"""Which configuration keys have a test, and the settings of the small models that those tests build."""

BASE = ("MODEL.CONDITION_DIM=8", "MODEL.TIMESTEPS=3", "MODEL.EXTRA.NUM_SAMPLES=4", "TRAIN.NUM_STEPS=6")
CONCAT = (
    "MODEL.CONDITION_TYPE=heatmap_sampling_concatenated",
    "MODEL.CONDITION_DIM=-1",
    "MODEL.DENOISER_TYPE=base_concat",
)
COVERED: set[str] = set()


def covers(*keys):
    """Decorator: the test shows that these keys do what they say."""
    COVERED.update(keys)
    return lambda test: test
