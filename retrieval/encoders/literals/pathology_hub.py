"""Pathology encoders whose checkpoints bear the names of transformers, or of Meta's DINOv2."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
