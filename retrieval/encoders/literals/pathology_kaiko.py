"""Kaiko's first pathology encoders, from small to large; plain vision transformers in timm's names.

Sizes of files are four bytes for each number.
"""

from retrieval.encoders.literals.pathology_pixels import HALF_224
from retrieval.encoders.specs import EncoderSpec, Layout, Step, WeightsSource

_LICENCE = "Kaiko Non-Commercial Public License 1 by its authors; the copy on the Hub is marked Apache-2.0"
_PAPER = "kaiko.ai et al., Towards Large-Scale Training of Pathology Foundation Models, 2024 (arXiv 2404.15217)"
_TENSORS = (
    "The authors resize a tensor, not a picture: with Pillow a value differs by up to two grey levels. The Hub's "
    "configuration, inherited from timm's own weights, names another kernel and other means, which are not used."
)
_CLS = (Step("cls"),)

ENCODERS = (
    EncoderSpec(
        name="kaiko_s16",
        title="Kaiko ViT-S/16 (pathology)",
        about="The smallest and quickest of Kaiko's tile encoders.",
        library="timm",
        architecture="vit_small_patch16_224",
        dim=384,
        pooling="class token after the last norm",
        pixels=HALF_224,
        slices=HALF_224,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "vits16.pth"),
            repo="1aurent/vit_small_patch16_224.kaiko_ai_towards_large_pathology_fms",
            bytes=86_700_000,
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/1aurent/vit_small_patch16_224.kaiko_ai_towards_large_pathology_fms",
        paper=_PAPER,
        training="tiles of TCGA's slides, DINO",
        domain="pathology",
        ms_at_224=18,
        arguments={"num_classes": 0},
        steps=_CLS,
        parameters=21_665_664,
        on_purpose=_TENSORS,
    ),
    EncoderSpec(
        name="kaiko_s8",
        title="Kaiko ViT-S/8 (pathology)",
        about="Small, with patches of 8 pixels: finer, and four times as slow as S/16.",
        library="timm",
        architecture="vit_small_patch8_224",
        dim=384,
        pooling="class token after the last norm",
        pixels=HALF_224,
        slices=HALF_224,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "vits8.pth"),
            repo="1aurent/vit_small_patch8_224.kaiko_ai_towards_large_pathology_fms",
            bytes=86_700_000,
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/1aurent/vit_small_patch8_224.kaiko_ai_towards_large_pathology_fms",
        paper=_PAPER,
        training="tiles of TCGA's slides, DINO",
        domain="pathology",
        ms_at_224=85,
        arguments={"num_classes": 0},
        steps=_CLS,
        parameters=21_670_272,
        on_purpose=_TENSORS,
    ),
    EncoderSpec(
        name="kaiko_b16",
        title="Kaiko ViT-B/16 (pathology)",
        about="Of middle size.",
        library="timm",
        architecture="vit_base_patch16_224",
        dim=768,
        pooling="class token after the last norm",
        pixels=HALF_224,
        slices=HALF_224,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "vitb16.pth"),
            repo="1aurent/vit_base_patch16_224.kaiko_ai_towards_large_pathology_fms",
            bytes=343_200_000,
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/1aurent/vit_base_patch16_224.kaiko_ai_towards_large_pathology_fms",
        paper=_PAPER,
        training="tiles of TCGA's slides, DINO",
        domain="pathology",
        ms_at_224=60,
        arguments={"num_classes": 0},
        steps=_CLS,
        parameters=85_798_656,
        on_purpose=_TENSORS,
    ),
    EncoderSpec(
        name="kaiko_b8",
        title="Kaiko ViT-B/8 (pathology)",
        about="Of middle size, with patches of 8 pixels: finer, and four times as slow as B/16.",
        library="timm",
        architecture="vit_base_patch8_224",
        dim=768,
        pooling="class token after the last norm",
        pixels=HALF_224,
        slices=HALF_224,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "vitb8.pth"),
            repo="1aurent/vit_base_patch8_224.kaiko_ai_towards_large_pathology_fms",
            bytes=343_200_000,
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/1aurent/vit_base_patch8_224.kaiko_ai_towards_large_pathology_fms",
        paper=_PAPER,
        training="tiles of TCGA's slides, DINO",
        domain="pathology",
        ms_at_224=270,
        arguments={"num_classes": 0},
        steps=_CLS,
        parameters=85_807_872,
        on_purpose=_TENSORS,
    ),
    EncoderSpec(
        name="kaiko_l14",
        title="Kaiko ViT-L/14 (pathology)",
        about="The largest of Kaiko's first encoders, with registers.",
        library="timm",
        architecture="vit_large_patch14_reg4_dinov2",
        dim=1024,
        pooling="class token after the last norm",
        pixels=HALF_224,
        slices=HALF_224,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "vitl14.pth"),
            repo="1aurent/vit_large_patch14_reg4_224.kaiko_ai_towards_large_pathology_fms",
            bytes=1_217_000_000,
        ),
        licence=_LICENCE,
        licence_url="https://huggingface.co/1aurent/vit_large_patch14_reg4_224.kaiko_ai_towards_large_pathology_fms",
        paper=_PAPER,
        training="tiles of TCGA's slides, DINOv2",
        domain="pathology",
        ms_at_224=250,
        arguments={"num_classes": 0, "img_size": 224, "init_values": 1e-5},
        # From a grid for 518 pixels, as timm brings it to 224 at run time.
        layout=Layout(positions="bicubic_antialias"),
        steps=_CLS,
        parameters=303_230_976,
        unverified=(
            "Whether the file's positions are for 224 or for 518 pixels is not known: both are read, and those for 518 "
            "are resampled as timm does it.",
        ),
        on_purpose=_TENSORS,
    ),
)
