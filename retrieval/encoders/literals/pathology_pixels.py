"""Pixels that several pathology encoders share, as their authors' transforms have them (torchvision on PIL)."""

from retrieval.encoders.literals.normalisations import HALF, IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import Pixels

# Resize(224), which is bilinear, and CenterCrop(224): UNI2-h, mSTAR, OpenMidnight, CROWN.
IMAGENET_224 = Pixels(
    size=224, interpolation="pil_bilinear", fit="shortest", crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD
)
# The same with mean and deviation 0.5: Kaiko.
HALF_224 = Pixels(size=224, interpolation="pil_bilinear", fit="shortest", crop=224, mean=HALF, std=HALF)
# Resize(256, bicubic) and CenterCrop(224): Prov-GigaPath and its Flash.
GIGAPATH = Pixels(size=256, interpolation="pil_bicubic", fit="shortest", crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
# The means and deviations on Bioptimus' cards: H-optimus and H0-mini.
BIOPTIMUS = Pixels(
    size=224,
    interpolation="pil_bicubic",
    fit="shortest",
    crop=224,
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
)
