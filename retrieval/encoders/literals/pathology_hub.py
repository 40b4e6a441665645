"""Pathology encoders whose checkpoints bear the names of transformers, or of Meta's DINOv2; built by timm."""

from dataclasses import replace

from retrieval.encoders.literals.namings import DINOV2, DINOV2_REGISTERS
from retrieval.encoders.literals.normalisations import HALF, IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Pixels, Rule, Step, WeightsSource

# As transformers' BitImageProcessor halves an odd border.
_PHIKON = Pixels(
    size=224,
    fit="shortest",
    crop=224,
    centre="down",
    interpolation="pil_bicubic",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
_MIDNIGHT = Pixels(size=224, fit="shortest", crop=224, interpolation="pil_bilinear", mean=HALF, std=HALF)
_HIBOU = Pixels(
    size=224,
    fit="shortest",
    crop=224,
    interpolation="pil_bicubic",
    mean=(0.7068, 0.5755, 0.722),
    std=(0.195, 0.2316, 0.1816),
)
_HIBOU_PAPER = "Nechaev et al., Hibou: A Family of Foundational Vision Transformers for Pathology, 2024"
_HIBOU_TRAINING = "more than a million private slides of HistAI, without labels (DINOv2 with registers)"

ENCODERS = (
    EncoderSpec(
        name="phikon_v2",
        title="Phikon-v2 (ViT-L/16, pathology)",
        about="Owkin's encoder, trained without labels on public slides of more than thirty sites of cancer.",
        library="timm",
        architecture="vit_large_patch14_dinov2",
        arguments={"patch_size": 16, "img_size": 224, "num_classes": 0},
        dim=1024,
        pooling="class token after the last layer norm",
        steps=(Step("cls"),),
        pixels=_PHIKON,
        slices=_PHIKON,
        layout=DINOV2,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin",),
            repo="owkin/phikon-v2",
            revision="419e8285b80eac3b60beca0d9b91942d48ad7b8e",
            config="preprocessor_config.json",
            bytes=1_213_000_000,
        ),
        licence="Owkin non-commercial licence",
        licence_url="https://huggingface.co/owkin/phikon-v2",
        paper="Filiot et al., Phikon-v2, A large and public feature extractor for biomarker prediction, 2024",
        training="460 million tiles of public slides (TCGA, CPTAC, GTEx, TCIA and others), without labels (DINOv2)",
        domain="pathology",
        ms_at_224=190,
        parameters=303_350_784,
        unverified=(
            "That pictures are resized with the bicubic kernel: the repository's processor rules, and was not read.",
        ),
        rules=(
            Rule("resample", "pixels.interpolation", settles="bicubic kernel"),
            Rule("size", "pixels.size"),
            Rule("crop_size", "pixels.crop", must=(224,)),
            Rule("do_center_crop", "pixels.crop"),
            Rule("image_mean", "pixels.mean"),
            Rule("image_std", "pixels.std"),
            Rule("do_normalize", must=(True,)),
        ),
    ),
    EncoderSpec(
        name="midnight_12k",
        title="Midnight-12k (ViT-g/14, pathology)",
        about="Kaiko's giant, trained without labels on the 12 thousand slides of TCGA alone.",
        library="timm",
        architecture="vit_giant_patch14_dinov2",
        arguments={"img_size": 224, "num_classes": 0},
        dim=3072,
        pooling="class token and mean of the patch tokens, joined, after the last layer norm",
        steps=(Step("cls_and_mean", skip=1),),
        pixels=_MIDNIGHT,
        slices=_MIDNIGHT,
        # transformers resamples a grid of another size so, each time a picture goes through
        layout=replace(DINOV2, positions="bicubic"),
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin",),
            repo="kaiko-ai/midnight",
            revision="adc6b15679c981cce6f9b018bbad09d16eeeda9f",
            config="config.json",
            bytes=4_540_000_000,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/kaiko-ai/midnight",
        paper="Karasikov et al., Training state-of-the-art pathology foundation models with orders of magnitude less "
        "data, 2025",
        training="12 thousand slides of TCGA, without labels (DINOv2), from Meta's DINOv2 giant",
        domain="pathology",
        ms_at_224=900,
        parameters=1_134_769_664,
        unverified=(
            "Whether its positions are stored for 224 or for 518 pixels. Those for 518 are resampled here as "
            "transformers 5 does it (bicubic, to the exact size, no antialiasing); its early versions did otherwise.",
        ),
        rules=(
            Rule("image_size", must=(224, 518), settles="positions are stored"),
            Rule("patch_size", must=(14,)),
            Rule("use_swiglu_ffn", must=(True,)),
        ),
    ),
    EncoderSpec(
        name="hibou_b",
        title="Hibou-B (ViT-B/14, pathology)",
        about="HistAI's base encoder, trained without labels on private slides and cytology.",
        library="timm",
        architecture="vit_base_patch14_reg4_dinov2",
        arguments={
            "img_size": 224,
            "init_values": 1e-5,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "SiLU",
            "mlp_ratio": 5.33334,
            "num_classes": 0,
        },
        dim=768,
        pooling="class token after the last layer norm",
        steps=(Step("cls"),),
        pixels=_HIBOU,
        slices=_HIBOU,
        layout=DINOV2_REGISTERS,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "hibou-b.pth"),
            repo="histai/hibou-b",
            revision="5cc6343e7d777b4dd6e78954162b9772af27f274",
            bytes=343_000_000,
        ),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/histai/hibou-b",
        paper=_HIBOU_PAPER,
        training=_HIBOU_TRAINING,
        gated=True,
        domain="pathology",
        ms_at_224=80,
        parameters=85_739_520,
    ),
    EncoderSpec(
        name="hibou_l",
        title="Hibou-L (ViT-L/14, pathology)",
        about="HistAI's large encoder, trained without labels on private slides and cytology.",
        library="timm",
        architecture="vit_large_patch14_reg4_dinov2",
        arguments={
            "img_size": 224,
            "init_values": 1e-5,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "SiLU",
            "mlp_ratio": 5.34375,
            "num_classes": 0,
        },
        dim=1024,
        pooling="class token after the last layer norm",
        steps=(Step("cls"),),
        pixels=_HIBOU,
        slices=_HIBOU,
        layout=DINOV2_REGISTERS,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "hibou-l.pth"),
            repo="histai/hibou-L",
            bytes=1_214_000_000,
        ),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/histai/hibou-L",
        paper=_HIBOU_PAPER,
        training=_HIBOU_TRAINING,
        gated=True,
        domain="pathology",
        ms_at_224=250,
        parameters=303_657_216,
    ),
)
