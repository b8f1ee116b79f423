"""The paper's model. models/reference.py shows the whole method in one short file."""

from models.build import build_model, build_plain_model, build_sampler, build_trainer

__all__ = ["build_model", "build_plain_model", "build_sampler", "build_trainer"]
