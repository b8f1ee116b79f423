"""Every configuration key that shapes the model does what it says; the other keys are in test_run_keys.py."""

import pytest
import torch

from data.splits import training_set
from models import build_model
from models.condition_embedding import CandidateConcatenation, HeatmapEmbedding, PoseCondition
from models.flow import FlowMatching
from tests.support.config_keys import CONCAT, covers
from utils.errors import DiffPoseError

pytestmark = pytest.mark.usefixtures("narrow")


@covers("DATASET.DATASET", "DATASET.NUM_JOINTS", "DATASET.COND_JOINTS", "DATASET.DATA_FORMAT")
def test_dataset(make):
    assert build_model(make()).denoise_fn.parts[0] == 48
    smpl = make("DATASET.DATASET=3dpw", "DATASET.NUM_JOINTS=23")
    assert build_model(smpl).denoise_fn.parts[0] == 72
    for setting in ("DATASET.COND_JOINTS=17", "DATASET.NUM_JOINTS=23", "DATASET.DATA_FORMAT=npz"):
        with pytest.raises(DiffPoseError, match=setting.partition("=")[0]):
            make(setting)


@covers("MODEL.CONDITION_TYPE", "MODEL.CONDITION_KEY", "MODEL.DENOISER_TYPE", "MODEL.CONDITION_DIM")
def test_condition(make):
    assert isinstance(build_model(make()).condition_emb, HeatmapEmbedding)
    assert build_model(make("MODEL.CONDITION_DIM=5")).denoise_fn.parts[2] == 80
    concatenated = build_model(make(*CONCAT))
    assert isinstance(concatenated.condition_emb, CandidateConcatenation)
    assert concatenated.denoise_fn.parts[2] == 16 * 4 * 2
    for key in ("p2d_hrnet", "p2d_gt"):
        pose = make("MODEL.CONDITION_TYPE=pose_2d", f"MODEL.CONDITION_KEY={key}", "MODEL.CONDITION_DIM=32")
        assert isinstance(build_model(pose).condition_emb, PoseCondition)
        assert training_set(pose)[0]["pose_2d"].shape == (32,)
    with pytest.raises(DiffPoseError, match="DENOISER_TYPE"):
        make("MODEL.DENOISER_TYPE=base_concat")


@covers("MODEL.DIFFUSION_OBJECTIVE", "LOSS.LOSS_TYPE", "MODEL.TIMESTEPS", "MODEL.NOISE_SCALE", "TRAIN.SCALE_3D_POSE")
def test_diffusion(make):
    model = build_model(
        make(
            "MODEL.DIFFUSION_OBJECTIVE=pred_noise",
            "LOSS.LOSS_TYPE=l1",
            "MODEL.TIMESTEPS=7",
            "MODEL.NOISE_SCALE=0.5",
            "TRAIN.SCALE_3D_POSE=3",
        )
    )
    assert (model.objective, model.loss_type, len(model.betas)) == ("pred_noise", "l1", 7)
    assert (model.noise_scale, model.pose_scale) == (0.5, 3)  # what they do: test_sampling.py, test_diffusion.py


@covers("MODEL.START_DEVIATION")
def test_start_deviation(make):
    """What it does: test_diffusion.py."""
    model = build_model(make("MODEL.DIFFUSION_OBJECTIVE=pred_x0", "MODEL.START_DEVIATION=0.5"))
    assert model.start_deviation == 0.5
    with pytest.raises(DiffPoseError, match=r"START_DEVIATION: it is for DIFFUSION_OBJECTIVE pred_x0, not pred_noise"):
        make("MODEL.DIFFUSION_OBJECTIVE=pred_noise", "MODEL.START_DEVIATION=0.5")


@covers("MODEL.FLOW_TIME")
def test_flow(make):
    flow = build_model(make("MODEL.DIFFUSION_OBJECTIVE=velocity", "MODEL.FLOW_TIME=logit_normal"))
    assert (type(flow), flow.time) == (FlowMatching, "logit_normal")  # what it does: test_flow.py
    assert build_model(make("MODEL.DIFFUSION_OBJECTIVE=velocity")).time == "uniform"


@covers("TRAIN.COSINE_OFFSET")
def test_cosine_offset(make):
    betas = [build_model(make(f"TRAIN.COSINE_OFFSET={offset}")).betas for offset in (0.008, 0.1)]
    assert not torch.allclose(*betas)


@covers(
    "MODEL.EXTRA.NUM_SAMPLES",
    "MODEL.EXTRA.WITHOUT_ARGMAX",
    "MODEL.EXTRA.NO_REPLACEMENT",
    "MODEL.EXTRA.NORM_METHOD",
    "MODEL.EXTRA.CONDITION_ORDERED_SAMPLES",
)
def test_candidates(make):
    sampler = build_model(
        make(
            *CONCAT,
            "MODEL.EXTRA.NUM_SAMPLES=9",
            "MODEL.EXTRA.WITHOUT_ARGMAX=true",
            "MODEL.EXTRA.NO_REPLACEMENT=true",
            "MODEL.EXTRA.NORM_METHOD=mean_std_per_sample",
            "MODEL.EXTRA.CONDITION_ORDERED_SAMPLES=true",
        )
    ).heatmap_sampler
    assert (sampler.num_samples, sampler.num_drawn, sampler.replacement, sampler.ordered) == (9, 9, False, True)
    assert sampler.norm_method == "mean_std_per_sample"  # what they do: test_heatmap_sampler.py
    assert build_model(make("MODEL.EXTRA.NORM_METHOD=mean_std")).heatmap_sampler.norm_method == "image"
    other = make("MODEL.EXTRA.NORM_METHOD=mean_std", "MODEL.EXTRA.POS_EMB=sin")
    assert build_model(other).heatmap_sampler.norm_method == "mean_std"


@covers("MODEL.EXTRA.SAMPLEABLE", "MODEL.EXTRA.FULL_HEATMAP")
def test_sampleable(make):
    assert build_model(make()).sampleable
    assert not build_model(make("MODEL.EXTRA.SAMPLEABLE=false")).sampleable
    assert build_model(make("MODEL.EXTRA.FULL_HEATMAP=true")).heatmap_sampler is None


@covers(
    "MODEL.EXTRA.POS_EMB",
    "MODEL.EXTRA.PROJ_POS_EMB",
    "MODEL.EXTRA.WITHOUT_TRANSFORMER",
    "MODEL.EXTRA.OLD",
    "MODEL.EXTRA.WITHOUT_POSEMB_SCALING",
    "MODEL.EXTRA.DROP_METHOD",
    "MODEL.EXTRA.DROP_PROB",
)
def test_embedding(make):
    plain = build_model(make()).condition_emb
    assert plain.pos_proj is not None
    assert plain.transformer is not None
    assert plain.scale_by_likelihood
    assert plain.pos_out.in_features == 2048
    other = build_model(
        make(
            "MODEL.EXTRA.POS_EMB=linear",
            "MODEL.EXTRA.PROJ_POS_EMB=false",
            "MODEL.EXTRA.OLD=true",
            "MODEL.EXTRA.WITHOUT_TRANSFORMER=true",
            "MODEL.EXTRA.WITHOUT_POSEMB_SCALING=true",
            "MODEL.EXTRA.DROP_METHOD=uncertain",
            "MODEL.EXTRA.DROP_PROB=0.4",
        )
    ).condition_emb
    assert not other.separable
    assert other.pos_proj is None
    assert other.transformer is None
    assert not other.scale_by_likelihood
    assert other.pos_out.in_features == 128
    assert (other.drop_method, other.drop_prob) == ("uncertain", 0.4)  # what they do: test_condition_embedding.py


@covers("MODEL.EXTRA.CONCAT_LIKELIHOOD")
def test_concat_likelihood(make):
    assert build_model(make(*CONCAT, "MODEL.EXTRA.CONCAT_LIKELIHOOD=true")).denoise_fn.parts[2] == 16 * 4 * 3
