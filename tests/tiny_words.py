"""An encoder of pictures and words small enough for tests: CLIP's shape, its pieces, and random weights.

As a script it is the command line, or with `serve` the page, with this encoder in the catalogue beside the others.
"""

import sys
from dataclasses import replace
from pathlib import Path

from retrieval.encoders import catalogue
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def tiny_spec() -> EncoderSpec:
    """The literal of OpenCLIP's ViT-B/32 with smaller networks and pictures."""
    model = catalogue.find_encoder("openclip_vit_b_32")
    assert model.pixels is not None
    pixels = replace(model.pixels, size=32, crop=32)
    return replace(
        model,
        name="tiny_words",
        title="Tiny CLIP (random)",
        about="A small network with random weights, for tests.",
        dim=64,
        arguments={"config": CONFIG},
        pixels=pixels,
        slices=pixels,
        weights=WeightsSource(filename="tiny.safetensors", repo="owner/tiny"),
        ms_at_224=1,
        parameters=0,
    )


def list_tiny() -> EncoderSpec:
    """Put it into the catalogue of this process; it stays there."""
    catalogue.ENCODERS = (*catalogue.ENCODERS, tiny_spec())
    return catalogue.ENCODERS[-1]


def put_weights(roots: Roots) -> Path:
    """Its weights in open_clip's layout, where a person would put them."""
    import open_clip
    from encoders.upstream import put, random_tensors

    model = open_clip.CLIP(**CONFIG)  # type: ignore[arg-type]
    keys = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return put(random_tensors(keys), tiny_spec(), roots)


if __name__ == "__main__":
    list_tiny()
    if sys.argv[1:] == ["serve"] or len(sys.argv) == 1:
        from retrieval.page.serve import serve
        from retrieval.roots import roots_from_environment

        serve(roots_from_environment())
    else:
        from retrieval.cli.commands import main

        main()
