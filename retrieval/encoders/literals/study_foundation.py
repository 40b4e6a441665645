"""The study's foundation models, as its code ran them (arXiv 2409.09430), and the two that its tables leave out."""

from retrieval.encoders.literals import text_sides
from retrieval.encoders.literals.normalisations import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.literals.publisher_rules import OPEN_CLIP_224
from retrieval.encoders.literals.study_virchow import ENCODERS as _VIRCHOW
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource

_UNDETERMINED = (
    "At size 28 its code can have enlarged everything to 32 first, volumes in depth too, or not: what it published "
    "does not say. Here nothing is enlarged first, and a volume keeps its slices (S = size)."
)

_GREY_MEAN, _GREY_STD = 0.5862785803043838, 0.27950088968644304  # of its constants.py
_MEAN, _STD = (_GREY_MEAN, _GREY_MEAN, _GREY_MEAN), (_GREY_STD, _GREY_STD, _GREY_STD)

_MEDCLIP_STAMP = Pixels(size=224, canvas=224, interpolation="pil_bicubic", mean=_MEAN, std=_STD)
_MEDCLIP_FULL = Pixels(size=224, canvas=1, interpolation="pil_bicubic", mean=_MEAN, std=_STD)

_MEDCLIP_WEIGHTS = WeightsSource(
    filename="pytorch_model.bin",
    url="https://storage.googleapis.com/pytrial/medclip-vit-pretrained.zip",
    member="pytorch_model.bin",
    containers=("sha256:07bf9f917ccce482ea30ec84e533a30c3ad395c424d3624f6b72edf8484f8126",),
    bytes=546_600_000,
)

# From Swin in the names of transformers 4 to timm's. The last stage's downsampling is renumbered first.
_MEDCLIP_LAYOUT = Layout(
    drop=(r"text_model\..*", r"logit_scale", r".*\.relative_position_index"),
    rename=(
        (r"^vision_model\.projection_head\.", "feature.projection."),
        (r"^vision_model\.model\.", ""),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.norm\.", "patch_embed.norm."),
        (r"^encoder\.", ""),
        *((rf"^layers\.{stage}\.downsample\.", f"layers.{stage + 1}.downsample.") for stage in (2, 1, 0)),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.self\.", ".attn."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"^layernorm\.", "norm."),
    ),
    fuse=(("attn.qkv", ("attn.query", "attn.key", "attn.value")),),
)

_MEDCLIP_STEPS = (Step("pooled"), Step("linear", name="projection", shape=(512, 768)), Step("l2"))
_MEDCLIP_LICENCE = "BSD (of its package; the weights' own is not stated)"
_MEDCLIP_PAPER = (
    "Wang et al., MedCLIP: Contrastive Learning from Unpaired Medical Images and Text, EMNLP 2022 (arXiv 2210.10163)"
)
_MEDCLIP_UNVERIFIED = ("The licence of the weights is not stated; BSD is what the package's setup file says.",)

_PAPER_FIGURES = "Figures of papers that used this dataset's source may be among its pictures; no list exists: unknown."
_PHOTOGRAPHED = (  # datasets whose sources are pictures as papers print them
    *("pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist"),
    *("retinamnist", "breastmnist", "bloodmnist", "tissuemnist"),
)

_CONCH_POOLER = (
    Step("attend", name="attn_pool_contrast", shape=(512, 768), heads=8, eps=1e-5),
    Step("norm", name="ln_contrast", shape=(512,), eps=1e-5),
)

ENCODERS: tuple[EncoderSpec, ...] = (
    EncoderSpec(
        name="medclip",
        title="MedCLIP ViT (as in the study)",
        about="Chest radiographs and reports; grey only, and a small picture stays a stamp in a black frame.",
        library="timm",
        architecture="swin_tiny_patch4_window7_224",
        dim=512,
        pooling="mean of the last tokens, linear to 512, length 1",
        pixels=_MEDCLIP_STAMP,
        slices=_MEDCLIP_STAMP,
        weights=_MEDCLIP_WEIGHTS,
        licence=_MEDCLIP_LICENCE,
        licence_url="https://github.com/RyanWangZf/MedCLIP",
        paper=_MEDCLIP_PAPER,
        training="CheXpert and MIMIC-CXR: chest radiographs and reports, from an ImageNet Swin",
        domain="radiology",
        ms_at_224=60,
        arguments={"num_classes": 0},
        layout=_MEDCLIP_LAYOUT,
        steps=_MEDCLIP_STEPS,
        parameters=27_912_570,
        text=text_sides.MEDCLIP,
        study=f"Pixels and feature as its processor and package make them. {_UNDETERMINED}",
        unverified=_MEDCLIP_UNVERIFIED,
    ),
    EncoderSpec(
        name="medclip_upscaled",
        title="MedCLIP ViT, pictures enlarged to its view",
        about="The same network on pictures that fill its view: beside medclip, it shows what never enlarging costs.",
        library="timm",
        architecture="swin_tiny_patch4_window7_224",
        dim=512,
        pooling="mean of the last tokens, linear to 512, length 1",
        pixels=_MEDCLIP_FULL,
        slices=_MEDCLIP_FULL,
        weights=_MEDCLIP_WEIGHTS,
        licence=_MEDCLIP_LICENCE,
        licence_url="https://github.com/RyanWangZf/MedCLIP",
        paper=_MEDCLIP_PAPER,
        training="CheXpert and MIMIC-CXR: chest radiographs and reports, from an ImageNet Swin",
        domain="radiology",
        ms_at_224=60,
        arguments={"num_classes": 0},
        layout=_MEDCLIP_LAYOUT,
        steps=_MEDCLIP_STEPS,
        parameters=27_912_570,
        text=text_sides.MEDCLIP,
        unverified=_MEDCLIP_UNVERIFIED,
        on_purpose="Padded to a square in grey as the authors do, but not to 224 pixels: a small picture is enlarged.",
    ),
    EncoderSpec(
        name="biomedclip",
        title="BiomedCLIP (as in the study)",
        about="Figures of biomedical papers and their captions, of all kinds of picture.",
        library="timm",
        architecture="vit_base_patch16_224",
        dim=512,
        pooling="class token, linear to 512, length 1",
        pixels=Pixels(size=224, crop=224, fit="shortest", interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD),
        slices=Pixels(size=224, crop=224, fit="shortest", interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD),
        weights=WeightsSource(
            filename="open_clip_pytorch_model.bin",
            files=("open_clip_model.safetensors",),
            repo="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            revision="9f341de24bfb00180f1b847274256e9b65a3a32e",
            config="open_clip_config.json",
            containers=("sha256:52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be",),
            bytes=783_705_670,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        paper="Zhang et al., BiomedCLIP: a multimodal biomedical foundation model, NEJM AI 2025 (arXiv 2303.00915)",
        training="PMC-15M: figures and captions of papers; those that show the datasets here may be among them",
        domain="biomedical",
        ms_at_224=60,
        arguments={"num_classes": 0},
        layout=Layout(
            drop=(r"text\..*", r"logit_scale"),
            rename=((r"^visual\.trunk\.", ""), (r"^visual\.head\.proj\.", "feature.proj.")),
        ),
        steps=(Step("cls"), Step("linear", name="proj", shape=(512, 768)), Step("l2")),
        parameters=86_191_872,
        text=text_sides.BIOMEDCLIP,
        study=f"The first output of its joint forward, of length 1. {_UNDETERMINED}",
        overlaps=dict.fromkeys(_PHOTOGRAPHED, _PAPER_FIGURES),
        unverified=("That its configuration has CLIP's mean and standard deviation: the file was not read here.",),
        rules=OPEN_CLIP_224,
    ),
    EncoderSpec(
        name="openclip",
        title="OpenCLIP ViT-g/14 (as in the study)",
        about="A large general network, trained on two billion pictures of the web and their texts.",
        library="open_clip",
        architecture="ViT-g-14",
        dim=1024,
        pooling="class token, projected, not normalised",
        pixels=Pixels(size=224, crop=224, fit="shortest", interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD),
        slices=Pixels(size=224, crop=224, fit="shortest", interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD),
        weights=WeightsSource(
            filename="open_clip_pytorch_model.bin",
            files=("open_clip_model.safetensors",),
            repo="laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
            bytes=5_467_000_000,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
        paper="Cherti et al., Reproducible scaling laws for contrastive language-image learning, CVPR 2023",
        training="LAION-2B: pictures of the web and their texts; whether the datasets here are among them is not known",
        domain="language",
        ms_at_224=700,
        parameters=1_012_645_632,
        text=text_sides.CLIP,
        study=(
            "Its figures were made in float16 and with an order of equal distances that is not stable: no correct "
            f"implementation can meet them to the hit. Here it runs in float32. {_UNDETERMINED}"
        ),
        incomparable="the study ran OpenCLIP in float16, where many distances are equal and their order is chance",
        unverified=("The licence is from memory.",),
    ),
    EncoderSpec(
        name="conch",
        title="CONCH (as in the study)",
        about="Pathology pictures and captions, at 448 pixels; the feature from before the contrastive projection.",
        library="timm",
        architecture="vit_base_patch16_224",
        dim=512,
        pooling="attention of one query on all tokens, layer norm, length 1",
        pixels=Pixels(size=448, crop=448, fit="shortest", interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD),
        slices=Pixels(size=448, crop=448, fit="shortest", interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD),
        weights=WeightsSource(
            filename="pytorch_model.bin",
            repo="MahmoodLab/conch",
            revision="f9ca9f877171a28ade80228fb195ac5d79003357",
            containers=("sha256:40a9644b9ba0e83a74576e0a5e5f7313599fa9c9cdaf3c20f8a3e271b0e9ae7c",),
            bytes=802_235_437,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/MahmoodLab/CONCH",
        paper="Lu et al., A visual-language foundation model for computational pathology, Nature Medicine 2024",
        training="1.17 million pathology pictures and captions, part of them from papers; overlaps are not known",
        gated=True,
        domain="pathology",
        ms_at_224=330,
        arguments={"img_size": 448, "num_classes": 0},
        layout=Layout(
            drop=(
                *(r"text\..*", r"text_decoder\..*", r"logit_scale", r"visual\.proj_contrast"),
                *(r"visual\.attn_pool_caption\..*", r"visual\.ln_caption\..*"),
            ),
            rename=((r"^visual\.trunk\.", ""), (r"^visual\.(attn_pool_contrast|ln_contrast)\.", r"feature.\1.")),
        ),
        steps=(*_CONCH_POOLER, Step("l2")),
        parameters=87_567_104,
        text=text_sides.CONCH,
        overlaps={"pathmnist": _PAPER_FIGURES},
        study=f"Not projected into the space of texts, and of length 1. {_UNDETERMINED}",
    ),
    EncoderSpec(
        name="uni",
        title="UNI (as in the study)",
        about="Pathology slides without labels; the class token of a ViT-L.",
        library="timm",
        architecture="vit_large_patch16_224",
        dim=1024,
        pooling="class token after the last norm",
        pixels=Pixels(
            size=224, crop=224, fit="shortest", interpolation="pil_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
        slices=Pixels(
            size=224, crop=224, fit="shortest", interpolation="pil_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
        weights=WeightsSource(
            filename="pytorch_model.bin",
            repo="MahmoodLab/UNI",
            revision="b55a5ec6cade1a39edfe6534189a9b8ca7a022f0",
            containers=("sha256:56ef09b44a25dc5c7eedc55551b3d47bcd17659a7a33837cf9abc9ec4e2ffb40",),
            bytes=1_213_527_781,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/MahmoodLab/UNI",
        paper="Chen et al., Towards a general-purpose foundation model for computational pathology, Nature Med. 2024",
        training="Mass-100K: slides of the authors' hospitals and of GTEx, self-supervised; no TCGA, CPTAC or PANDA",
        gated=True,
        domain="pathology",
        ms_at_224=190,
        arguments={"img_size": 224, "init_values": 1e-5, "num_classes": 0, "dynamic_img_size": True},
        steps=(Step("cls"),),
        parameters=303_350_784,
        study=(
            "Its transform has no centre crop, the authors' has: the same for square pictures, as all of the study's "
            f"are. {_UNDETERMINED}"
        ),
    ),
    *_VIRCHOW,
)
