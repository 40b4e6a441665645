"""What reaches the study's foundation models, beside the transforms of their authors."""

from typing import Any

import numpy as np
import open_clip
import pytest
from encoders.upstream import check_pixels, four_kinds
from PIL import Image
from timm.data.transforms_factory import create_transform
from torchvision import transforms

from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import network_input, pixels_for, seen_picture
from retrieval.encoders.specs import EncoderSpec

PIXELS = ("medclip", "medclip_upscaled", "biomedclip", "openclip", "conch", "uni", "virchow", "virchow2")
IMAGENET = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
BICUBIC = transforms.InterpolationMode.BICUBIC


def medclip_rule(picture: Image.Image, least: int) -> np.ndarray:
    """Of its image processor, by hand: grey by ITU-R 601 in whole numbers, in the middle of black, then 224.

    Its canvas is a PIL image of mode L, into which a colour picture is pasted and thereby converted; the corner is at
    int((side - length) / 2). Then bicubic to 224, which changes nothing where the canvas has that size.
    """
    colours = np.asarray(picture, np.int64)
    grey = (colours @ [19595, 38470, 7471] + 0x8000) >> 16
    side = max(least, *grey.shape)
    canvas = np.zeros((side, side), np.uint8)
    top, left = ((side - length) // 2 for length in grey.shape)
    canvas[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    seen = np.asarray(Image.fromarray(canvas).resize((224, 224), Image.Resampling.BICUBIC), np.float64) / 255
    return np.stack([(seen - 0.5862785803043838) / 0.27950088968644304] * 3)


def composed(size: int, mode: transforms.InterpolationMode, normal: Any) -> Any:
    return transforms.Compose(
        [transforms.Resize(size, mode), transforms.CenterCrop(size), transforms.ToTensor(), normal]
    )


def upstream_transform(name: str) -> Any:
    """open_clip's for its two, the authors' own lines for CONCH and UNI, timm's for Virchow, the rule for MedCLIP."""
    if name.startswith("medclip"):
        return lambda picture: medclip_rule(picture, 224 if name == "medclip" else 1)
    if name in ("biomedclip", "openclip"):
        return open_clip.image_transform(224, is_train=False)
    if name == "conch":
        return composed(448, BICUBIC, CLIP)
    if name == "uni":
        return composed(224, transforms.InterpolationMode.BILINEAR, IMAGENET)
    return create_transform(
        (3, 224, 224), interpolation="bicubic", mean=IMAGENET.mean, std=IMAGENET.std, crop_pct=1.0, crop_mode="center"
    )


@pytest.mark.parametrize("name", PIXELS)
def test_what_reaches_the_network_is_what_the_authors_transform_gives(name: str):
    check_pixels(find_encoder(name), upstream_transform(name))


def test_the_studys_transform_for_uni_is_the_same_for_a_square():
    theirs: Any = transforms.Compose([transforms.Resize(224), transforms.ToTensor(), IMAGENET])
    picture = four_kinds()["64 colour"]
    ours = network_input(picture[None], pixels_for(find_encoder("uni"), 2))[0]
    np.testing.assert_allclose(ours.transpose(2, 0, 1), theirs(Image.fromarray(picture)), rtol=0, atol=1e-6)


def test_a_small_picture_stays_a_stamp_unless_it_is_enlarged():
    """28 pixels fill rows and columns 98 to 125 of 224."""
    white = np.full((28, 28), 255, np.uint8)

    def bright(spec: EncoderSpec) -> np.ndarray:
        assert spec.pixels is not None
        return seen_picture(white, spec.pixels) > 0

    stamp = np.zeros((224, 224), bool)
    stamp[98:126, 98:126] = True
    assert np.array_equal(bright(find_encoder("medclip")), stamp)
    assert bright(find_encoder("medclip_upscaled")).all()
