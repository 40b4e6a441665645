"""Pathology encoders of up to 0.3 billion numbers, whose checkpoints are timm's own or Meta's DINOv2.

Sizes of files that no page states are four bytes for each number, as the known ones are.
"""

from retrieval.encoders.literals.namings import DINOV2
from retrieval.encoders.literals.normalisations import IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.literals.pathology_pixels import BIOPTIMUS, GIGAPATH, IMAGENET_224
from retrieval.encoders.literals.publisher_rules import TIMM_REGISTERS
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource

_CLS = (Step("cls"),)
_CONCH = Pixels(size=448, interpolation="pil_bilinear", fit="shortest", crop=448, mean=IMAGENET_MEAN, std=IMAGENET_STD)
_GPFM = Pixels(size=224, interpolation="pil_bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD)

ENCODERS = (
    EncoderSpec(
        name="conch_v1_5",
        title="CONCH v1.5 (pathology)",
        about="The picture side of a vision-language model for histology; the tile encoder of TITAN.",
        library="timm",
        architecture="vit_large_patch16_224",
        dim=768,
        pooling="one query's attention on all tokens, then layer norm",
        pixels=_CONCH,
        slices=_CONCH,
        weights=WeightsSource(
            filename="pytorch_model_vision.bin",
            files=("conch_v1_5_pytorch_model.bin",),
            repo="MahmoodLab/conchv1_5",
            revision="3e5766a5d1500d53c73c03005e24c30c1f27be13",
            bytes=1_224_000_000,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/MahmoodLab/conchv1_5",
        paper="Lu et al., CONCH, Nat Med 2024; Ding et al., TITAN, 2024 (arXiv 2411.19666)",
        training="pairs of histology pictures and captions, starting from a self-supervised encoder",
        gated=True,
        domain="pathology",
        ms_at_224=850,
        arguments={"num_classes": 0, "img_size": 448, "init_values": 1.0},
        # The positions are for 224 pixels; upstream resamples them at run time, as DINO's code does.
        layout=Layout(
            rename=(
                (r"^trunk\.", ""),
                (r"^attn_pool_contrast\.", "feature.pool."),
                (r"^ln_contrast\.", "feature.norm."),
            ),
            positions="bicubic_offset",
        ),
        steps=(
            Step("attend", name="pool", shape=(768, 1024), heads=8, perceiver=True),
            Step("norm", name="norm", shape=(768,)),
        ),
        parameters=306_711_296,
        overlaps={
            "pathmnist": "Some of its captioned pictures come from articles; whether figures of NCT-CRC-HE-100K, the "
            "source of PathMNIST, are among them is not known."
        },
        unverified=("What it was trained on was written from memory.",),
    ),
    EncoderSpec(
        name="h0_mini",
        title="H0-mini (pathology)",
        about="H-optimus-0 distilled to a thirteenth of its size.",
        library="timm",
        architecture="vit_base_patch14_reg4_dinov2",
        dim=1536,
        pooling="class token and mean of the patches, joined",
        pixels=BIOPTIMUS,
        slices=BIOPTIMUS,
        weights=WeightsSource(
            filename="pytorch_model.bin",
            files=("model.safetensors",),
            repo="bioptimus/H0-mini",
            config="config.json",
            bytes=343_000_000,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/bioptimus/H0-mini",
        paper="Filiot et al., Distilling foundation models for robust and efficient models in digital pathology, 2025",
        training="40 million tiles of TCGA, distilled from H-optimus-0",
        gated=True,
        domain="pathology",
        ms_at_224=80,
        arguments={
            "num_classes": 0,
            "img_size": 224,
            "mlp_ratio": 5.33334,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "SiLU",
            "init_values": 1e-5,
            "global_pool": "",
        },
        steps=(Step("cls_and_mean", skip=5),),
        parameters=85_739_520,
        unverified=(
            "The network's arguments were written from memory, as the only ones of 85.7 million numbers: 4 registers "
            "and gated layers of ratio 5.33334 (the Hub's config.json settles it).",
        ),
        rules=TIMM_REGISTERS,
        on_purpose="The authors expect tiles of 224 pixels: the shorter side is brought to 224 by bicubic "
        "interpolation and the middle is kept, where others squash.",
    ),
    EncoderSpec(
        name="gigapath_flash",
        title="GigaPath-Flash (pathology)",
        about="Prov-GigaPath's small and quick successor.",
        library="timm",
        architecture="vit_small_patch16_224",
        dim=384,
        pooling="class token after the last norm",
        pixels=GIGAPATH,
        slices=GIGAPATH,
        # The Hub's configuration names an architecture that timm fills with random numbers: only the file is read.
        weights=WeightsSource(filename="pytorch_model.bin", repo="prov-gigapath/prov-gigapath-flash", bytes=86_700_000),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/prov-gigapath/prov-gigapath-flash",
        paper="Usuyama et al., GigaPath-Flash, 2026 (arXiv 2607.18218)",
        training="tiles of whole slides, DINOv2",
        gated=True,
        domain="pathology",
        ms_at_224=20,
        arguments={
            "num_classes": 0,
            "mlp_ratio": 2048 / 384,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "SiLU",
            "init_values": 1e-5,
        },
        steps=_CLS,
        parameters=21_681_024,
        unverified=("Which slides it was trained on was not read.",),
    ),
    EncoderSpec(
        name="mstar",
        title="mSTAR (pathology)",
        about="UNI's network, trained further with reports and gene expression of whole slides.",
        library="timm",
        architecture="vit_large_patch16_224",
        dim=1024,
        pooling="class token after the last norm",
        pixels=IMAGENET_224,
        slices=IMAGENET_224,
        weights=WeightsSource(
            filename="pytorch_model.bin",
            files=("model.safetensors", "mSTAR.pth"),
            repo="Wangyh/mSTAR",
            bytes=1_213_000_000,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/Wangyh/mSTAR",
        paper="Xu et al., mSTAR, Nat Commun 2025 (arXiv 2407.15362)",
        training="slides with reports and RNA sequencing, starting from UNI",
        gated=True,
        domain="pathology",
        ms_at_224=190,
        arguments={"num_classes": 0, "init_values": 1e-5},
        steps=_CLS,
        parameters=303_350_784,
        unverified=(
            "The name of its file on the Hub, and that its training started from UNI, were written from memory.",
        ),
        on_purpose="A picture that is not square is cut to its middle; the authors' transform leaves it long.",
    ),
    EncoderSpec(
        name="gpfm",
        title="GPFM (pathology)",
        about="Distilled from several pathology encoders at once.",
        library="timm",
        architecture="vit_large_patch14_dinov2",
        dim=1024,
        pooling="class token after the last norm",
        pixels=_GPFM,
        slices=_GPFM,
        weights=WeightsSource(
            filename="GPFM.pth",
            files=("gpfm_github.pth",),
            repo="majiabo/GPFM",
            url="https://github.com/birkhoffkiki/GPFM/releases/download/ckpt/GPFM.pth",
            md5="0dc7e345de84f385d09c8c782b4b3236",
            bytes=1_213_000_000,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/majiabo/GPFM",
        paper="Ma et al., GPFM, Nat Biomed Eng 2025 (arXiv 2407.18449)",
        training="slides of many public collections, TCGA among them; distillation and DINOv2",
        domain="pathology",
        ms_at_224=250,
        arguments={"num_classes": 0, "img_size": 224, "init_values": 1e-5},
        layout=DINOV2,
        steps=_CLS,
        parameters=303_227_904,
        overlaps={
            "pathmnist": "It was trained on many public collections; whether NCT-CRC-HE-100K, the source of PathMNIST, "
            "is among them is not known."
        },
        unverified=("That its slides are those of public collections was written from memory.",),
    ),
    EncoderSpec(
        name="crown",
        title="CROWN (cytology)",
        about="For single cells and smears rather than tissue.",
        library="timm",
        architecture="vit_large_patch16_224",
        dim=1024,
        pooling="class token after the last norm",
        pixels=IMAGENET_224,
        slices=IMAGENET_224,
        weights=WeightsSource(filename="CROWN.pth", repo="LexieK/Crown", bytes=1_215_000_000),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/LexieK/Crown",
        paper="Zheng et al., CROWN, Nat Cancer 2026 (doi 10.1038/s43018-026-01240-0)",
        training="more than 10 million patches of cytology, DINOv2",
        gated=True,
        domain="pathology",
        ms_at_224=190,
        # A hidden width of 2736: two thirds of 4096, rounded up to a multiple of 8.
        arguments={
            "num_classes": 0,
            "mlp_ratio": 5472 / 1024,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "SiLU",
            "init_values": 1.0,
        },
        layout=DINOV2,
        steps=_CLS,
        parameters=303_777_024,
        overlaps={
            "bloodmnist": "Its authors do not list the sources of its cytology; whether Acevedo's blood cells, the "
            "source of BloodMNIST, are among them is not known."
        },
    ),
)
