"""The feature extractors, one literal each. Adding one of a known library is one literal and no code."""

from retrieval.encoders.literals import (
    baselines,
    medical_language,
    mobileclip,
    open_language,
    pathology_giants,
    pathology_hub,
    pathology_kaiko,
    pathology_timm,
    radiology_retina,
    self_supervised,
    small,
    study_foundation,
    study_keras,
    study_torch,
)
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import UnknownName

# The first is the default: it works with what is installed.
ENCODERS: tuple[EncoderSpec, ...] = (
    *small.ENCODERS,
    *study_keras.ENCODERS,
    *study_foundation.ENCODERS,
    *study_torch.ENCODERS,
    *self_supervised.ENCODERS,
    *open_language.ENCODERS,
    *mobileclip.ENCODERS,
    *medical_language.ENCODERS,
    *pathology_timm.ENCODERS,
    *pathology_giants.ENCODERS,
    *pathology_kaiko.ENCODERS,
    *pathology_hub.ENCODERS,
    *radiology_retina.ENCODERS,
    *baselines.ENCODERS,
)


def find_encoder(name: str) -> EncoderSpec:
    """The spec of this name; UnknownName lists the valid ones."""
    for spec in ENCODERS:
        if spec.name == name:
            return spec
    raise UnknownName("extractor", name, [spec.name for spec in ENCODERS])
