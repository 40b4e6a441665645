"""Vectors that people bring along, as if they were of an extractor of this catalogue."""

from retrieval.encoders.specs import EncoderSpec, Pixels

IMPORTED = EncoderSpec(
    name="imported",
    title="Imported vectors",
    about="Vectors as they were imported, to the bit; it embeds no pictures.",
    library="builtin",
    architecture="imported",
    dim=None,
    pooling="as imported",
    pixels=Pixels(scale="none", channels="native"),
    slices=None,
    weights=None,
    licence="your own",
    training="not known here",
)
