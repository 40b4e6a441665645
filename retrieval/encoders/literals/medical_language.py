"""Encoders trained on medical pictures and their texts."""

from dataclasses import replace

from retrieval.encoders.literals import text_sides
from retrieval.encoders.literals.contrastive import (
    CLIP_224,
    OPEN_CLIP,
    POOLING,
    PROJECTED,
    TRANSFORMERS,
)
from retrieval.encoders.literals.normalisations import HALF, IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Rule, Step, WeightsSource

# As transformers' processor crops: an odd border is halved down.
_PROCESSED = replace(CLIP_224, centre="down")
_IMAGENET_224 = replace(CLIP_224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
_SIGLIP_448 = Pixels(size=448, fit="squash", interpolation="pil_bilinear", mean=HALF, std=HALF)

_CLIP_B_32 = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "projection_dim": 512,
    "hidden_act": "quick_gelu",
}
_CLIP_L_14 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
_SIGLIP_SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
}
_PROCESSOR_UNREAD = "The publisher's processor file was not read: the pixels are CLIP's own, on which its users agree."
_BY_PROCESSOR = (
    Rule("image_mean", "pixels.mean", settles="processor file"),
    Rule("image_std", "pixels.std", settles="processor file"),
    Rule("resample", "pixels.interpolation", settles="processor file"),
    Rule("size", "pixels.size"),
    Rule("crop_size", "pixels.crop", must=(224,)),  # the positions are for that side
    Rule("do_normalize", must=(True,)),
)
# Where it was read nothing is left to settle; another file beside the weights still rules.
_PROCESSOR_READ = tuple(replace(rule, settles="") for rule in _BY_PROCESSOR)
_PAPER_FIGURES = "Figures of papers that used this dataset's source may be among its pictures; no list exists: unknown."

ENCODERS: tuple[EncoderSpec, ...] = (
    EncoderSpec(
        name="plip",
        title="PLIP (pathology and tweets)",
        about="A CLIP ViT-B/32 trained further on pathology pictures and what pathologists wrote of them on Twitter.",
        library="transformers",
        architecture="CLIPVisionModelWithProjection",
        arguments=_CLIP_B_32,
        dim=512,
        pooling=POOLING,
        pixels=_PROCESSED,
        slices=_PROCESSED,
        weights=WeightsSource(
            filename="pytorch_model.bin",
            files=("model.safetensors",),
            repo="vinid/plip",
            revision="67ade53ddd32195868f422585f72698ef5d15094",
            config="preprocessor_config.json",
            bytes=605_000_000,
        ),
        licence="none stated with the weights; others call it non-commercial",
        licence_url="https://huggingface.co/vinid/plip",
        paper="Huang et al., A visual-language foundation model for pathology image analysis using medical Twitter, "
        "Nature Medicine 2023",
        training="OpenPath: pathology pictures with their texts from Twitter and LAION; started from OpenAI's CLIP",
        domain="pathology",
        ms_at_224=18,
        layout=TRANSFORMERS,
        steps=PROJECTED,
        parameters=87_849_216,
        text=text_sides.CLIP_512,
        unverified=(_PROCESSOR_UNREAD, "Under which licence the weights are."),
        rules=_BY_PROCESSOR,
    ),
    EncoderSpec(
        name="pubmedclip",
        title="PubMedCLIP ViT-B/32 (radiology and captions)",
        about="A CLIP trained further on radiology figures of open papers and their captions.",
        library="transformers",
        architecture="CLIPVisionModelWithProjection",
        arguments=_CLIP_B_32,
        dim=512,
        pooling=POOLING,
        pixels=_PROCESSED,
        slices=_PROCESSED,
        weights=WeightsSource(
            filename="pytorch_model.bin",
            files=("model.safetensors",),
            repo="flaviagiammarino/pubmed-clip-vit-base-patch32",
            revision="342245164c761f6876a908f6a79f4ee9c1c5090d",
            config="preprocessor_config.json",
            bytes=605_109_252,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/flaviagiammarino/pubmed-clip-vit-base-patch32",
        paper="Eslami et al., PubMedCLIP: How Much Does CLIP Benefit Visual Question Answering in the Medical Domain?, "
        "Findings of EACL 2023",
        training="ROCO: radiology figures of PubMed Central with captions; started from OpenAI's CLIP",
        domain="radiology",
        ms_at_224=18,
        layout=TRANSFORMERS,
        steps=PROJECTED,
        parameters=87_849_216,
        text=text_sides.CLIP_512,
        overlaps=dict.fromkeys(("chestmnist", "pneumoniamnist", "breastmnist"), _PAPER_FIGURES),
        rules=_PROCESSOR_READ,
    ),
    EncoderSpec(
        name="monet",
        title="MONET ViT-L/14 (skin and captions)",
        about="A CLIP trained further on dermatology figures of papers and textbooks, to name concepts in pictures.",
        library="transformers",
        architecture="CLIPVisionModelWithProjection",
        arguments=_CLIP_L_14,
        dim=768,
        pooling=POOLING,
        pixels=_IMAGENET_224,
        slices=_IMAGENET_224,
        weights=WeightsSource(
            filename="pytorch_model.bin",
            files=("model.safetensors",),
            repo="chanwkim/monet",
            revision="1d1efd0b8d61bde82cde22d2e93c28d73441f29e",
            config="preprocessor_config.json",
            bytes=1_710_467_076,
        ),
        licence="none stated with the weights",
        licence_url="https://huggingface.co/chanwkim/monet",
        paper="Kim et al., Transparent medical image AI via an image-text foundation model grounded in medical "
        "literature, Nature Medicine 2024",
        training="dermatology figures of PubMed papers and textbooks with captions; started from OpenAI's CLIP",
        domain="skin",
        ms_at_224=200,
        layout=TRANSFORMERS,
        steps=PROJECTED,
        parameters=303_966_208,
        text=text_sides.CLIP_768,
        overlaps={"dermamnist": _PAPER_FIGURES},
        unverified=(
            "What the processor file beside these weights says: the pixels are those of the authors' own code, which "
            "takes ImageNet's mean and deviation where CLIP has others.",
            "Under which licence the weights are.",
        ),
        rules=_BY_PROCESSOR,
    ),
    EncoderSpec(
        name="quiltnet",
        title="QuiltNet-B-32 (pathology and narrations)",
        about="A CLIP ViT-B/32 trained further on a million pathology pictures with what teaching videos say of them.",
        library="open_clip",
        architecture="ViT-B-32",
        dim=512,
        pooling=POOLING,
        pixels=CLIP_224,
        slices=CLIP_224,
        weights=WeightsSource(
            filename="open_clip_pytorch_model.bin",
            files=("open_clip_model.safetensors",),
            repo="wisdomik/QuiltNet-B-32",
            revision="8ce77289ce35a90b2f1db1137dfa4bc2df175e33",
            config="open_clip_config.json",
            bytes=605_109_252,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/wisdomik/QuiltNet-B-32",
        paper="Ikezogwo et al., Quilt-1M: One Million Image-Text Pairs for Histopathology, NeurIPS 2023",
        training="Quilt-1M: pathology pictures with texts from teaching videos, Twitter and papers",
        domain="pathology",
        ms_at_224=18,
        layout=OPEN_CLIP,
        steps=PROJECTED,
        parameters=87_849_216,
        text=text_sides.CLIP,
        overlaps={"pathmnist": _PAPER_FIGURES},
        rules=(Rule("model_cfg.quick_gelu", must=(False,), absent=False),),
    ),
    EncoderSpec(
        name="dermlip",
        title="DermLIP ViT-B/16 (skin and captions)",
        about="A CLIP trained further on a million skin pictures with captions.",
        library="open_clip",
        architecture="ViT-B-16",
        arguments={"quick_gelu": True},
        dim=512,
        pooling=POOLING,
        pixels=CLIP_224,
        slices=CLIP_224,
        weights=WeightsSource(
            filename="open_clip_model.safetensors",
            files=("open_clip_pytorch_model.bin",),
            repo="redlessone/DermLIP_ViT-B-16",
            config="open_clip_config.json",
            bytes=598_482_948,
        ),
        licence="CC-BY-NC-4.0 (the publisher's code and data; its page is said to carry CC-BY-4.0)",
        licence_url="https://huggingface.co/redlessone/DermLIP_ViT-B-16",
        paper="Yan et al., Derm1M: A Million-scale Vision-Language Dataset, ICCV 2025 (arXiv 2503.14911)",
        gated=True,
        training="Derm1M: a million skin pictures with captions; started from OpenAI's CLIP",
        domain="skin",
        ms_at_224=60,
        layout=OPEN_CLIP,
        steps=PROJECTED,
        parameters=86_192_640,
        text=text_sides.CLIP,
        overlaps={
            "dermamnist": "Derm1M holds public datasets, and its authors report HAM10000 zero-shot; whether pictures "
            "of HAM10000, DermaMNIST's source, are among its training pictures is unknown."
        },
        unverified=(
            "Its activation: the training script builds QuickGELU, but a published configuration without `quick_gelu` "
            "would be rebuilt with GELU.",
            "Whether its page asks for agreement to terms, and which licence it carries.",
        ),
        rules=(Rule("model_cfg.quick_gelu", "arguments.quick_gelu", absent=False, settles="Its activation"),),
    ),
    EncoderSpec(
        name="keep",
        title="KEEP (pathology, texts and a graph of diseases)",
        about="A ViT-L/16 aligned with texts that were ordered by what is known of diseases.",
        library="timm",
        architecture="vit_large_patch16_224",
        arguments={"init_values": 1e-5, "num_classes": 0},
        dim=768,
        pooling="class token after the last norm, two linear layers with GELU between, length 1 (L2)",
        pixels=_IMAGENET_224,
        slices=_IMAGENET_224,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin",),
            repo="Astaxanthin/KEEP",
            bytes=1_657_000_000,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/Astaxanthin/KEEP",
        paper="Zhou et al., A Knowledge-enhanced Pathology Vision-language Foundation Model for Cancer Diagnosis, "
        "2024 (arXiv 2412.13126)",
        training="pathology pictures with captions, grouped by a graph of diseases",
        domain="pathology",
        ms_at_224=190,
        layout=Layout(
            drop=(r"text\..*", "logit_scale"),
            rename=(
                (r"^visual_head\.", "feature.visual_head."),
                (r"^visual\.", ""),
                (r"\.ls([12])\.weight$", r".ls\1.gamma"),
            ),
        ),
        steps=(
            Step("cls"),
            Step("linear", name="visual_head.0", shape=(768, 1024), bias=True),
            Step("gelu"),
            Step("linear", name="visual_head.2", shape=(768, 768), bias=True),
            Step("l2"),
        ),
        parameters=304_728_576,
        text=text_sides.KEEP,
    ),
    EncoderSpec(
        name="medsiglip",
        title="MedSigLIP 448 (many kinds of medical pictures)",
        about="Google's SigLIP for medical pictures (chest, skin, eye, pathology); large, and slow at 448 pixels.",
        library="transformers",
        architecture="SiglipVisionModel",
        arguments=_SIGLIP_SO400M,
        dim=1152,
        pooling="attention pooling over the patches, length 1 (L2); the picture's vector in the shared space",
        pixels=_SIGLIP_448,
        slices=_SIGLIP_448,
        weights=WeightsSource(
            filename="model.safetensors",
            repo="google/medsiglip-448",
            revision="9cea28a1a1195f665105faa6e8544c112fd960a4",
            bytes=3_513_309_984,
        ),
        licence="Health AI Developer Foundations terms of use",
        licence_url="https://huggingface.co/google/medsiglip-448",
        paper="Sellergren et al., MedGemma Technical Report, 2025 (arXiv 2507.05201)",
        gated=True,
        training="medical pictures of many kinds with texts (MIMIC-CXR, EyePACS, PAD-UFES-20, SCIN and others)",
        domain="biomedical",
        ms_at_224=1700,
        layout=TRANSFORMERS,
        steps=PROJECTED,
        parameters=428_565_440,
        text=text_sides.MEDSIGLIP,
        overlaps={
            "pathmnist": "Its pictures of pathology are not listed: unknown. Google's notebook trains these weights "
            "further on NCT-CRC, PathMNIST's source, with its labels as captions: a copy made so must not be used here."
        },
        unverified=(
            "Of its training sets, MIMIC-CXR and EyePACS were written from memory.",
            "That pictures are resized with the bilinear kernel: a copy of its processor file says bicubic.",
        ),
        on_purpose="Enlarged by Pillow's bilinear kernel, as in the authors' notebooks; their training shrank pictures "
        "without antialiasing and padded to a square what was none.",
    ),
)
