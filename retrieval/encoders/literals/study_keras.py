"""The study's four convolutional networks, as its Keras code ran them (arXiv 2409.09430).

Items smaller than 32 are enlarged to it, since Keras takes nothing smaller: in plane by OpenCV, linear for pictures and
cubic for slices, in depth by a spline. Everything else reaches the network at its own size.
"""

from retrieval.encoders.literals.normalisations import IMAGENET_MEAN, IMAGENET_STD
from retrieval.encoders.specs import EncoderSpec, Pixels, WeightsSource

_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"

# Keras' mode "caffe": blue, green, red at 0..255, less the mean of ImageNet in that order; nothing is divided.
_CAFFE_MEAN = (103.939, 116.779, 123.68)

ENCODERS = (
    EncoderSpec(
        name="vgg19",
        title="VGG19 (Keras, as in the study)",
        about="The study's VGG19, on Keras' ImageNet weights; large pictures take it long.",
        library="keras",
        runtime="onnx",
        architecture="VGG19",
        dim=512,
        pooling="global average of the last pooled activation",
        pixels=Pixels(at_least=32, interpolation="cv2_linear", scale="none", mean=_CAFFE_MEAN, channels="bgr"),
        slices=Pixels(
            at_least=32, interpolation="cv2_cubic", depth="spline", scale="none", mean=_CAFFE_MEAN, channels="bgr"
        ),
        weights=WeightsSource(
            filename="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            url=f"{_ADDRESS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="253f8cb515780f3b799900260a226db6",
            bytes=80_134_624,
        ),
        licence="CC-BY-4.0",
        licence_url="https://www.robots.ox.ac.uk/~vgg/research/very_deep/",
        paper="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
        training="ImageNet-1k, supervised",
        ms_at_224=350,
        parameters=20_024_384,
        study="Pooled and with Keras' weights, as in its tables; its PyTorch side has other weights and flattens.",
        unverified=(
            "The licence is that of Oxford's VGG group, from whose files Keras converted its own; its page was not "
            "read here.",
        ),
    ),
    EncoderSpec(
        name="resnet50",
        title="ResNet50 (Keras, as in the study)",
        about="The study's ResNet50, the first version of the design, on Keras' ImageNet weights.",
        library="keras",
        runtime="onnx",
        architecture="ResNet50",
        dim=2048,
        pooling="global average after the last ReLU",
        pixels=Pixels(at_least=32, interpolation="cv2_linear", scale="none", mean=_CAFFE_MEAN, channels="bgr"),
        slices=Pixels(
            at_least=32, interpolation="cv2_cubic", depth="spline", scale="none", mean=_CAFFE_MEAN, channels="bgr"
        ),
        weights=WeightsSource(
            filename="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            url=f"{_ADDRESS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="4d473c1dd8becc155b73f8504c6f6626",
            bytes=94_765_736,
        ),
        licence="MIT",
        licence_url="https://github.com/KaimingHe/deep-residual-networks/blob/master/LICENSE",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        training="ImageNet-1k, supervised",
        ms_at_224=90,
        parameters=23_587_712,
        study="Keras' first version (stride in the first 1 x 1 of a block); torchvision's ResNet50 is another network.",
        unverified=(
            "The licence is that of Kaiming He's release, from which Keras converted its file; its page was not read "
            "here.",
        ),
    ),
    EncoderSpec(
        name="densenet121",
        title="DenseNet121 (Keras, as in the study)",
        about="The study's DenseNet121, on Keras' ImageNet weights; its published rows are met to the hit.",
        library="keras",
        runtime="onnx",
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
            url=f"{_ADDRESS}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
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
        parameters=7_037_504,
        study="Met with no hit of difference on the four published rows whose data are at hand, 2D and 3D.",
    ),
    EncoderSpec(
        name="efficientnetv2m",
        title="EfficientNetV2-M (Keras, as in the study)",
        about="The study's EfficientNetV2-M, on Keras' ImageNet weights; the network scales its pixels itself.",
        library="keras",
        runtime="onnx",
        architecture="EfficientNetV2M",
        dim=1280,
        pooling="global average of the top activation",
        # 0 to 255: the network's first layer makes them x / 128 - 1.
        pixels=Pixels(at_least=32, interpolation="cv2_linear", scale="none"),
        slices=Pixels(at_least=32, interpolation="cv2_cubic", depth="spline", scale="none"),
        weights=WeightsSource(
            filename="efficientnetv2-m_notop.h5",
            url=f"{_ADDRESS}/efficientnet_v2/efficientnetv2-m_notop.h5",
            md5="1b8dc055df72dde80d614482840fe342",
            bytes=214_201_816,
        ),
        licence="Apache-2.0",
        licence_url="https://github.com/google/automl/blob/master/LICENSE",
        paper="Tan and Le, EfficientNetV2: Smaller Models and Faster Training, ICML 2021",
        training="ImageNet-1k, supervised",
        ms_at_224=180,
        parameters=53_150_388,
        study="The pixels go in at 0 to 255, as Keras' own preprocessing leaves them for this network.",
        unverified=(
            "That Keras' weights were trained on ImageNet-1k alone, without ImageNet-21k before.",
            "The licence is that of the authors' repository, from whose files Keras converted its own.",
        ),
    ),
)
