"""Pictures as they are, of several shapes: which encoders see them at one size, and how the others take them.

An encoder whose pixels name a size sees every picture at it, in batches. One that takes a picture at its own size gets
them one by one; raw pixels of differing size cannot be compared at all.
"""

from retrieval.datasets.specs import Dataset
from retrieval.encoders import preprocessing
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import Unavailable
from retrieval.pictures.item import AS_THEY_ARE

LARGEST = 4_000_000  # pixels of a picture that a network takes at its own size: about 2 GB of activations in VGG19


def are_one(dataset: Dataset, size: int, spec: EncoderSpec) -> bool:
    """Whether an encoder sees all pictures of a dataset at one size."""
    if dataset.own is None or size != AS_THEY_ARE or dataset.own.even:
        return True
    return preprocessing.is_fixed(preprocessing.pixels_for(spec, dataset.ndim))


def refusal(dataset: Dataset, size: int, spec: EncoderSpec) -> Unavailable | None:
    """Why an encoder cannot take the pictures of a collection as they are; None where it can."""
    if dataset.own is None or size != AS_THEY_ARE:
        return None
    remedy = f"Name a size, for instance --size {dataset.sizes[-1]}, or choose an extractor that resizes pictures."
    if spec.dim is None and not are_one(dataset, size, spec):
        why = f"{spec.title} compares pictures of one size, and those of {dataset.title} differ in size."
        return Unavailable(why, remedy=remedy)
    fixed = preprocessing.is_fixed(preprocessing.pixels_for(spec, dataset.ndim))
    if not fixed and spec.weights is not None and dataset.own.largest > LARGEST:
        return Unavailable(
            f"{spec.title} takes pictures at their own size, and the largest of {dataset.title} has "
            f"{dataset.own.largest / 1e6:,.1f} megapixels; {LARGEST / 1e6:.0f} are the most that it takes.",
            remedy=remedy,
        )
    return None
