"""Pathology encoders whose checkpoints are timm's own."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
