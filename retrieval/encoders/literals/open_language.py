"""General encoders trained on pictures and texts of the web, by open_clip."""

from retrieval.encoders.specs import EncoderSpec

ENCODERS: tuple[EncoderSpec, ...] = ()
