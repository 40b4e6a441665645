"""MobileCLIP 2, general encoders trained on pictures and texts of the web to be quick, by open_clip."""

from dataclasses import replace

from retrieval.encoders.literals import text_sides
from retrieval.encoders.literals.contrastive import OPEN_CLIP_CUSTOM, POOLING, PROJECTED
from retrieval.encoders.literals.normalisations import CLIP_MEAN, CLIP_STD
from retrieval.encoders.specs import EncoderSpec, Pixels, WeightsSource

# Sizes of files: four bytes for each number of both sides. All come from open_clip's table of pretrained weights.
_FILE, _OTHER_FILE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
_TRAINING = "DFNDR-2B: pictures of the web with texts, and what larger models say of them; what else is unknown"
_PAPER = "Faghri et al., MobileCLIP2: Improving Multi-Modal Reinforced Training, TMLR 2025"
_LICENCE = "Apple Machine Learning Research Model licence (apple-amlr): for research only"
_UNREAD = ("The licence is that of Apple's own release; the page of these copies of its weights was not read.",)

# Three of them take pictures in 0 to 1 as they are, two take CLIP's mean and deviation off.
_UNIT_256 = Pixels(size=256, fit="shortest", crop=256, interpolation="pil_bilinear")
_UNIT_224 = replace(_UNIT_256, size=224, crop=224)
_CLIP_256 = replace(_UNIT_256, mean=CLIP_MEAN, std=CLIP_STD)

ENCODERS: tuple[EncoderSpec, ...] = (
    EncoderSpec(
        name="mobileclip2_s0",
        title="MobileCLIP 2 S0",
        about="The quickest of MobileCLIP 2: convolutions and a little attention.",
        library="open_clip",
        architecture="MobileCLIP2-S0",
        dim=512,
        pooling=POOLING,
        pixels=_UNIT_256,
        slices=_UNIT_256,
        weights=WeightsSource(
            filename=_FILE, files=(_OTHER_FILE,), repo="timm/MobileCLIP2-S0-OpenCLIP", bytes=299_340_292
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/timm/MobileCLIP2-S0-OpenCLIP",
        paper=_PAPER,
        training=_TRAINING,
        domain="language",
        ms_at_224=25,
        layout=OPEN_CLIP_CUSTOM,
        steps=PROJECTED,
        parameters=11_406_976,
        text=text_sides.CLIP_CUSTOM,
        unverified=_UNREAD,
    ),
    EncoderSpec(
        name="mobileclip2_s2",
        title="MobileCLIP 2 S2",
        about="MobileCLIP 2, a size larger than S0.",
        library="open_clip",
        architecture="MobileCLIP2-S2",
        dim=512,
        pooling=POOLING,
        pixels=_UNIT_256,
        slices=_UNIT_256,
        weights=WeightsSource(
            filename=_FILE, files=(_OTHER_FILE,), repo="timm/MobileCLIP2-S2-OpenCLIP", bytes=396_973_316
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/timm/MobileCLIP2-S2-OpenCLIP",
        paper=_PAPER,
        training=_TRAINING,
        domain="language",
        ms_at_224=60,
        layout=OPEN_CLIP_CUSTOM,
        steps=PROJECTED,
        parameters=35_815_232,
        text=text_sides.CLIP_CUSTOM,
        unverified=_UNREAD,
    ),
    EncoderSpec(
        name="mobileclip2_s3",
        title="MobileCLIP 2 S3",
        about="MobileCLIP 2, a size larger than S2, with a longer vector.",
        library="open_clip",
        architecture="MobileCLIP2-S3",
        dim=768,
        pooling=POOLING,
        pixels=_CLIP_256,
        slices=_CLIP_256,
        weights=WeightsSource(
            filename=_FILE, files=(_OTHER_FILE,), repo="timm/MobileCLIP2-S3-OpenCLIP", bytes=995_543_812
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/timm/MobileCLIP2-S3-OpenCLIP",
        paper=_PAPER,
        training=_TRAINING,
        domain="language",
        ms_at_224=110,
        layout=OPEN_CLIP_CUSTOM,
        steps=PROJECTED,
        parameters=125_235_648,
        text=text_sides.CLIP_CUSTOM,
        unverified=_UNREAD,
    ),
    EncoderSpec(
        name="mobileclip2_s4",
        title="MobileCLIP 2 S4",
        about="The largest of MobileCLIP 2's networks of convolutions.",
        library="open_clip",
        architecture="MobileCLIP2-S4",
        dim=768,
        pooling=POOLING,
        pixels=_CLIP_256,
        slices=_CLIP_256,
        weights=WeightsSource(
            filename=_FILE, files=(_OTHER_FILE,), repo="timm/MobileCLIP2-S4-OpenCLIP", bytes=1_781_740_548
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/timm/MobileCLIP2-S4-OpenCLIP",
        paper=_PAPER,
        training=_TRAINING,
        domain="language",
        ms_at_224=250,
        layout=OPEN_CLIP_CUSTOM,
        steps=PROJECTED,
        parameters=321_784_832,
        text=text_sides.CLIP_CUSTOM,
        unverified=_UNREAD,
    ),
    EncoderSpec(
        name="mobileclip2_b",
        title="MobileCLIP 2 B",
        about="MobileCLIP 2 as a vision transformer of base size.",
        library="open_clip",
        architecture="MobileCLIP2-B",
        dim=512,
        pooling=POOLING,
        pixels=_UNIT_224,
        slices=_UNIT_224,
        weights=WeightsSource(
            filename=_FILE, files=(_OTHER_FILE,), repo="timm/MobileCLIP2-B-OpenCLIP", bytes=599_108_612
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/timm/MobileCLIP2-B-OpenCLIP",
        paper=_PAPER,
        training=_TRAINING,
        domain="language",
        ms_at_224=62,
        layout=OPEN_CLIP_CUSTOM,
        steps=PROJECTED,
        parameters=86_349_056,
        text=text_sides.CLIP_CUSTOM,
        unverified=_UNREAD,
    ),
)
