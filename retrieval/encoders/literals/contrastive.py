"""What the encoders of pictures and texts share: pixels, layouts."""

from retrieval.encoders.literals.normalisations import CLIP_MEAN, CLIP_STD
from retrieval.encoders.specs import Layout, Pixels, Step

# The picture's vector in the space that it shares with texts; compared by cosine, as it was trained.
PROJECTED = (Step("pooled"), Step("l2"))
POOLING = "projected picture vector, length 1 (L2), as the contrastive training compares it"

CLIP_224 = Pixels(size=224, fit="shortest", crop=224, interpolation="pil_bicubic", mean=CLIP_MEAN, std=CLIP_STD)

# The temperature (and offset) of the training say nothing of a picture; some files have them as one number, some as a
# vector of one. What torch.save wrote of a training is unwrapped.
_TEMPERATURE = ("logit_scale", "logit_bias")
OPEN_CLIP = Layout(unwrap=("state_dict",), drop=_TEMPERATURE, rename=((r"^module\.", ""),), absent=_TEMPERATURE)
# Before open_clip knew text sides of other makes, the text's tensors stood beside `visual.` without a prefix.
OPEN_CLIP_CUSTOM = Layout(
    unwrap=("state_dict",),
    drop=_TEMPERATURE,
    rename=(
        (r"^module\.", ""),
        (r"^(?=(?:positional_embedding|token_embedding|transformer|ln_final|text_projection)(?:\.|$))", "text."),
    ),
    absent=_TEMPERATURE,
)
# The two sides of transformers' CLIPModel and SiglipModel; files of version 4 have counted positions besides.
TRANSFORMERS = Layout(
    unwrap=("state_dict",), drop=(r"text_(?:model|projection)\..*", *_TEMPERATURE, r".*\.position_ids")
)
