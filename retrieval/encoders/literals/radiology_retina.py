"""Encoders for chest radiographs and for retinas."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
