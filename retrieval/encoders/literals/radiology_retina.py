"""Encoders of X-rays and of the eye."""

from dataclasses import replace

from retrieval.encoders.literals.namings import DINOV2
from retrieval.encoders.literals.normalisations import IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.literals.publisher_rules import PROCESSOR_518
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource

# As transformers' BitImageProcessor halves an odd border.
_RAD_DINO = Pixels(
    size=518,
    fit="shortest",
    crop=518,
    centre="down",
    interpolation="pil_bicubic",
    mean=(0.5307, 0.5307, 0.5307),
    std=(0.2583, 0.2583, 0.2583),
)
_RETFOUND = Pixels(
    size=256, fit="shortest", crop=224, interpolation="pil_bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD
)
_RETFOUND_LICENCE = "CC-BY-NC-4.0"
_RETFOUND_PAPER = "Zhou et al., A foundation model for generalizable disease detection from retinal images, Nature 2023"
_RETFOUND_V2_PAPER = "Zhou et al., Revealing the Impact of Pre-training Data on Medical Foundation Models, 2025"
_RETFOUND_PIXELS = (
    "As the authors' evaluation prepares pictures. Their notebook for features squashes each to 224 x 224 instead and "
    "standardises every picture by its own mean and deviation, which hides brightness and colour."
)

# The decoder of the masked autoencoder is not needed, nor is its last norm: with the mean of the patches the authors'
# network has a norm of its own after the mean, which the file does not hold, and which stays the identity.
_RETFOUND_MAE = Layout(
    unwrap=("model",),
    drop=("mask_token", r"decoder_.*", r"norm\..*"),
    allow=("argparse.Namespace",),
    absent=(r"fc_norm\.(?:weight|bias)",),
)
# Its positions are for 518 pixels; the authors resample them to 224 so (util/pos_embed.py).
_RETFOUND_DINOV2 = replace(DINOV2, positions="bicubic")

ENCODERS = (
    EncoderSpec(
        name="rad_dino",
        title="RAD-DINO (ViT-B/14, chest X-rays)",
        about="Microsoft's encoder of chest X-rays, trained without labels or reports, at 518 pixels.",
        library="timm",
        architecture="vit_base_patch14_dinov2",
        arguments={"img_size": 518, "num_classes": 0},
        dim=768,
        pooling="class token after the last layer norm",
        steps=(Step("cls"),),
        pixels=_RAD_DINO,
        slices=_RAD_DINO,
        layout=DINOV2,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("backbone_compatible.safetensors", "pytorch_model.bin"),
            repo="microsoft/rad-dino",
            revision="2ec9ca0e7a73c23aded999b844acd2f07c7e46b9",
            config="preprocessor_config.json",
            bytes=346_345_912,
        ),
        licence="MIT",
        licence_url="https://huggingface.co/microsoft/rad-dino",
        paper="Perez-Garcia et al., Exploring scalable medical image encoders beyond text supervision, 2025",
        training="public chest X-rays of three countries, without labels (DINOv2)",
        domain="radiology",
        ms_at_224=550,
        parameters=86_579_712,
        overlaps={
            "chestmnist": "Trained on public chest X-rays of three countries (its card). That ChestX-ray14, the "
            "dataset's source, is among them is from memory; training_images.csv in its repository settles it.",
        },
        unverified=(
            "Mean, deviation and kernel of its pictures: they are those that its users give; its processor file was "
            "not read.",
            "That ChestX-ray14 is among its training pictures: training_images.csv in its repository was not read.",
        ),
        rules=PROCESSOR_518,
    ),
    EncoderSpec(
        name="retfound_mae_cfp",
        title="RETFound MAE, fundus photographs (ViT-L/16)",
        about="The first foundation model of the eye: a masked autoencoder of colour fundus photographs.",
        library="timm",
        architecture="vit_large_patch16_224",
        arguments={"global_pool": "avg", "num_classes": 0},
        dim=1024,
        pooling="mean of the patch tokens, then a layer norm without weights",
        pixels=_RETFOUND,
        slices=_RETFOUND,
        layout=_RETFOUND_MAE,
        weights=WeightsSource(
            filename="RETFound_mae_natureCFP.pth",
            files=("RETFound_cfp_weights.pth",),
            repo="YukunZhou/RETFound_mae_natureCFP",
            revision="556830f78214f0e8da35af965292ac5a3180ac47",
            bytes=3_950_000_000,
        ),
        licence=_RETFOUND_LICENCE,
        licence_url="https://huggingface.co/YukunZhou/RETFound_mae_natureCFP",
        paper=_RETFOUND_PAPER,
        training="colour fundus photographs of Moorfields Eye Hospital and (about a tenth) of EyePACS, without labels",
        gated=True,
        domain="retina",
        ms_at_224=190,
        parameters=303_301_632,
        unverified=("That about a tenth of its training pictures are from EyePACS.",),
        on_purpose=_RETFOUND_PIXELS,
    ),
    EncoderSpec(
        name="retfound_mae_oct",
        title="RETFound MAE, OCT scans (ViT-L/16)",
        about="The first foundation model of the eye: a masked autoencoder of optical coherence tomography.",
        library="timm",
        architecture="vit_large_patch16_224",
        arguments={"global_pool": "avg", "num_classes": 0},
        dim=1024,
        pooling="mean of the patch tokens, then a layer norm without weights",
        pixels=_RETFOUND,
        slices=_RETFOUND,
        layout=_RETFOUND_MAE,
        weights=WeightsSource(
            filename="RETFound_mae_natureOCT.pth",
            files=("RETFound_oct_weights.pth",),
            repo="YukunZhou/RETFound_mae_natureOCT",
            revision="8e551e2f547d3e27aedf43c9cf1c5bcea1c17171",
            bytes=3_950_000_000,
        ),
        licence=_RETFOUND_LICENCE,
        licence_url="https://huggingface.co/YukunZhou/RETFound_mae_natureOCT",
        paper=_RETFOUND_PAPER,
        training="OCT scans of Moorfields Eye Hospital and (about 15 in a hundred) of Kermany et al., without labels",
        gated=True,
        domain="retina",
        ms_at_224=190,
        parameters=303_301_632,
        overlaps={
            "octmnist": "About 15 in a hundred of its training scans are from Kermany et al., the dataset's source "
            "(from memory of the paper); labels were not used.",
        },
        unverified=("That about 15 in a hundred of its training scans are from Kermany et al.",),
        on_purpose=_RETFOUND_PIXELS,
    ),
    EncoderSpec(
        name="retfound_dinov2_meh",
        title="RETFound DINOv2, Moorfields (ViT-L/14)",
        about="The second RETFound: DINOv2 trained on with fundus photographs of Moorfields Eye Hospital.",
        library="timm",
        architecture="vit_large_patch14_dinov2",
        arguments={"img_size": 224, "num_classes": 0},
        dim=1024,
        pooling="class token after the last layer norm",
        steps=(Step("cls"),),
        pixels=_RETFOUND,
        slices=_RETFOUND,
        layout=_RETFOUND_DINOV2,
        weights=WeightsSource(
            filename="RETFound_dinov2_meh.pth",
            repo="YukunZhou/RETFound_dinov2_meh",
            revision="6dff4c76632983267a6ae3000f7852b1f8667d9c",
        ),
        licence=_RETFOUND_LICENCE,
        licence_url="https://huggingface.co/YukunZhou/RETFound_dinov2_meh",
        paper=_RETFOUND_V2_PAPER,
        training="fundus photographs of Moorfields Eye Hospital, without labels (DINOv2), from Meta's DINOv2 large",
        gated=True,
        domain="retina",
        ms_at_224=250,
        parameters=303_227_904,
        on_purpose=_RETFOUND_PIXELS,
    ),
    EncoderSpec(
        name="retfound_dinov2_shanghai",
        title="RETFound DINOv2, Shanghai (ViT-L/14)",
        about="The second RETFound: DINOv2 trained on with fundus photographs of Shanghai.",
        library="timm",
        architecture="vit_large_patch14_dinov2",
        arguments={"img_size": 224, "num_classes": 0},
        dim=1024,
        pooling="class token after the last layer norm",
        steps=(Step("cls"),),
        pixels=_RETFOUND,
        slices=_RETFOUND,
        layout=_RETFOUND_DINOV2,
        weights=WeightsSource(
            filename="RETFound_dinov2_shanghai.pth",
            files=("model.safetensors",),
            repo="YukunZhou/RETFound_dinov2_shanghai",
        ),
        licence=_RETFOUND_LICENCE,
        licence_url="https://huggingface.co/YukunZhou/RETFound_dinov2_shanghai",
        paper=_RETFOUND_V2_PAPER,
        training="fundus photographs of Shanghai, without labels (DINOv2), from Meta's DINOv2 large",
        gated=True,
        domain="retina",
        ms_at_224=250,
        parameters=303_227_904,
        overlaps={
            "retinamnist": "DeepDRiD, the dataset's source, was gathered in Shanghai; whether its pictures are among "
            "the training pictures is not known.",
        },
        on_purpose=_RETFOUND_PIXELS,
    ),
)
