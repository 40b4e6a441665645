"""The study's four convolutional networks with the weights of its PyTorch side: other weights, other numbers."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
