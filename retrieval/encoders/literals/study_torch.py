"""The study's four convolutional networks with the weights of its PyTorch side: other weights, other numbers.

Its PyTorch scripts flatten VGG19, leave DenseNet121 without its last ReLU and use class scores for volumes; here all
four are pooled, as its Keras side is. The published tables are of the Keras side.
"""

from retrieval.encoders.literals.normalisations import HALF, IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource

_NO_CROP = (
    "Squashed to the square without a centre crop, which would cut the border of the picture away; slices of volumes "
    "stay at their own size, and are enlarged to 32 where they are smaller."
)
_NOT_THE_TABLES = "Its tables are of the Keras side; these are other weights, and pooled, which its own script is not."

ENCODERS: tuple[EncoderSpec, ...] = (
    EncoderSpec(
        name="vgg19_torch",
        title="VGG19 (torchvision's weights)",
        about="VGG19 in PyTorch's weights, pooled: not the study's published one. Most of its file is the classifier.",
        library="timm",
        runtime="onnx",
        architecture="vgg19",
        dim=512,
        pooling="global average of the last pooled activation",
        pixels=Pixels(size=224, interpolation="pil_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        slices=Pixels(at_least=32, interpolation="pil_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin",),
            repo="timm/vgg19.tv_in1k",
            bytes=574_670_000,
        ),
        licence="BSD-3-Clause",
        licence_url="https://huggingface.co/timm/vgg19.tv_in1k",
        paper="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
        training="ImageNet-1k, supervised",
        ms_at_224=350,
        steps=(Step("map_mean"),),
        parameters=139_570_240,
        study=_NOT_THE_TABLES,
        on_purpose=_NO_CROP,
    ),
    EncoderSpec(
        name="resnet50_torch",
        title="ResNet50 v1.5 (torchvision's weights)",
        about="ResNet50 in PyTorch's weights: the later design with its stride in the 3 x 3; not the study's one.",
        library="timm",
        runtime="onnx",
        architecture="resnet50",
        dim=2048,
        pooling="global average after the last ReLU",
        pixels=Pixels(size=224, interpolation="pil_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        slices=Pixels(at_least=32, interpolation="pil_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "resnet50-0676ba61.pth"),
            repo="timm/resnet50.tv_in1k",
            bytes=102_470_000,
        ),
        licence="BSD-3-Clause",
        licence_url="https://huggingface.co/timm/resnet50.tv_in1k",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        training="ImageNet-1k, supervised",
        ms_at_224=90,
        layout=Layout(absent=(r".*\.num_batches_tracked",)),
        steps=(Step("map_mean"),),
        parameters=23_508_032,
        study=_NOT_THE_TABLES,
        on_purpose=_NO_CROP,
    ),
    EncoderSpec(
        name="densenet121_torch",
        title="DenseNet121 (torchvision's weights)",
        about="DenseNet121 in PyTorch's weights: close to the study's, which descend from the same, and not the same.",
        library="timm",
        runtime="onnx",
        architecture="densenet121",
        dim=1024,
        pooling="global average after the last batch norm and ReLU",
        pixels=Pixels(size=224, interpolation="pil_bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        slices=Pixels(at_least=32, interpolation="pil_bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "densenet121-a639ec97.pth"),
            repo="timm/densenet121.tv_in1k",
            bytes=32_340_000,
        ),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/timm/densenet121.tv_in1k",
        paper="Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
        training="ImageNet-1k, supervised",
        ms_at_224=90,
        # torchvision's own file writes norm.1 where both libraries now have norm1
        layout=Layout(rename=((r"\.(norm|conv)\.(\d)\.", r".\1\2."),), absent=(r".*\.num_batches_tracked",)),
        steps=(Step("map_mean"),),
        parameters=6_953_856,
        study=_NOT_THE_TABLES,
        unverified=("That the study's Keras weights descend from the same training.",),
        on_purpose=_NO_CROP,
    ),
    EncoderSpec(
        name="efficientnetv2m_torch",
        title="EfficientNetV2-M (timm's weights)",
        about="EfficientNetV2-M in PyTorch, with the authors' weights brought over by timm; seen at 384 pixels.",
        library="timm",
        runtime="onnx",
        architecture="tf_efficientnetv2_m",
        dim=1280,
        pooling="global average of the top activation",
        pixels=Pixels(size=384, interpolation="pil_bicubic", mean=HALF, std=HALF),
        slices=Pixels(at_least=32, interpolation="pil_bicubic", mean=HALF, std=HALF),
        weights=WeightsSource(
            filename="model.safetensors",
            files=("pytorch_model.bin", "tf_efficientnetv2_m-cc09e0cd.pth"),
            repo="timm/tf_efficientnetv2_m.in1k",
            bytes=218_000_000,
        ),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/timm/tf_efficientnetv2_m.in1k",
        paper="Tan and Le, EfficientNetV2: Smaller Models and Faster Training, ICML 2021",
        training="ImageNet-1k, supervised",
        ms_at_224=550,
        layout=Layout(absent=(r".*\.num_batches_tracked",)),
        steps=(Step("map_mean"),),
        parameters=52_858_356,
        study=f"{_NOT_THE_TABLES} Its script has torchvision's weights, which are a third kind.",
        on_purpose="At 384, where it was trained, not at 480; slices of volumes stay at their own size, at least 32.",
    ),
)
