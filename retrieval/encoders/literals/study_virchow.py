"""Virchow and Virchow2, which the study's code can run and its tables leave out."""

from retrieval.encoders.literals.normalisations import IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Pixels, Step, WeightsSource

_PIXELS = Pixels(size=224, crop=224, fit="shortest", interpolation="pil_bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD)
_ARGUMENTS = {
    "img_size": 224,
    "init_values": 1e-5,
    "num_classes": 0,
    "mlp_ratio": 5.3375,
    "global_pool": "",
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "SiLU",
    "dynamic_img_size": True,
}
_NO_ROWS = "In the study's code, not in its tables: there are no published figures to compare with."

ENCODERS = (
    EncoderSpec(
        name="virchow",
        title="Virchow",
        about="Pathology slides without labels; a ViT-H, class token and patches together.",
        library="timm",
        architecture="vit_huge_patch14_224",
        dim=2560,
        pooling="class token, joined with the mean of the patches",
        pixels=_PIXELS,
        slices=_PIXELS,
        weights=WeightsSource(
            filename="pytorch_model.bin",
            files=("model.safetensors",),
            repo="paige-ai/Virchow",
            bytes=2_525_000_000,
        ),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/paige-ai/Virchow",
        paper="Vorontsov et al., A foundation model for clinical-grade computational pathology, Nature Medicine 2024",
        training="1.5 million slides of one hospital (MSKCC), self-supervised",
        gated=True,
        domain="pathology",
        ms_at_224=430,
        arguments=_ARGUMENTS,
        steps=(Step("cls_and_mean", skip=1),),
        parameters=631_229_184,
        study=_NO_ROWS,
        unverified=("What it was trained on is from memory.",),
    ),
    EncoderSpec(
        name="virchow2",
        title="Virchow2",
        about="Virchow on more slides, stains and magnifications; its four registers are left out of the mean.",
        library="timm",
        architecture="vit_huge_patch14_224",
        dim=2560,
        pooling="class token, joined with the mean of the patches after four registers",
        pixels=_PIXELS,
        slices=_PIXELS,
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin",),
            repo="paige-ai/Virchow2",
            revision="3158645804b69e3f3bc4439d4116edddf0840a72",
            bytes=2_525_000_000,
        ),
        licence="CC-BY-NC-ND-4.0",
        licence_url="https://huggingface.co/paige-ai/Virchow2",
        paper="Zimmermann et al., Virchow2: Scaling Self-Supervised Mixed Magnification Models in Pathology, 2024",
        training="3.1 million slides, self-supervised",
        gated=True,
        domain="pathology",
        ms_at_224=440,
        arguments={**_ARGUMENTS, "reg_tokens": 4},
        steps=(Step("cls_and_mean", skip=5),),
        parameters=631_239_424,
        study=_NO_ROWS,
        unverified=("What it was trained on is from memory.",),
    ),
)
