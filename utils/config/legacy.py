"""Keys of the published files that have no effect here."""

# A trailing * stands for any ending, a section for all in it.
LEGACY = (
    "AUTO_RESUME",
    "GPUS",
    "DATA_DIR",
    "LOG_DIR",
    "PRINT_FREQ",
    "RANK",
    "CUDNN",
    "DEBUG",
    "MODEL.INIT_WEIGHTS",
    "MODEL.DIFFUSION_TYPE",
    "MODEL.DIFFUSION_PRIOR*",
    "MODEL.EXTRA.CAT_SAMPLES",
    "DATASET.TEST_SET",
    "DATASET.TRAIN_SET",
    "DATASET.FLIP",
    "TRAIN.LR_FACTOR",
    "TRAIN.LR_STEP",
    "TRAIN.WD",
    "TRAIN.GAMMA1",
    "TRAIN.GAMMA2",
    "TRAIN.MOMENTUM",
    "TRAIN.NESTEROV",
)
