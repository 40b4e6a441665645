"""Encoders trained on medical pictures and their texts."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
