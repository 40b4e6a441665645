"""The study's foundation models, as its code ran them (arXiv 2409.09430), and the two that its tables leave out."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
