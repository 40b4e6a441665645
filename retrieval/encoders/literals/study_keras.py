"""The study's four convolutional networks, as its Keras code ran them (arXiv 2409.09430)."""

from retrieval.encoders.literals.normalisations import IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Pixels, WeightsSource

ENCODERS = (
    EncoderSpec(
        name="densenet121",
        title="DenseNet121 (Keras, as in the study)",
        about="The study's DenseNet121, on Keras' ImageNet weights; its published rows are met to the hit.",
        library="keras",
        architecture="DenseNet121",
        dim=1024,
        pooling="global average after the last batch norm and ReLU",
        pixels=Pixels(at_least=32, interpolation="cv2_linear", scale="unit", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        slices=Pixels(
            at_least=32,
            interpolation="cv2_cubic",
            depth="spline",
            scale="unit",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        weights=WeightsSource(
            filename="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            url="https://storage.googleapis.com/tensorflow/keras-applications/densenet/"
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="30ee3e1110167f948a6b9946edeeb738",
            digest="d5aa2fa6db26a501e0047c7b5369cc26",
            containers=("sha256:004ff5c85661f7c8a79fb9e8cc41b4e4514f7b7e8b8a44b2ed3c019844136faf",),
            bytes=29_084_464,
        ),
        licence="Apache-2.0",
        licence_url="https://github.com/keras-team/keras/blob/master/LICENSE",
        paper="Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
        training="ImageNet-1k, supervised",
        ms_at_224=90,
    ),
)
