"""The feature extractors, one literal each. Adding one of a known library is one literal and no code."""

from collections.abc import Iterable
from dataclasses import replace

from retrieval.datasets.specs import Dataset
from retrieval.encoders.literals import (
    baselines,
    imported,
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


def encoders_for(dataset: Dataset) -> tuple[EncoderSpec, ...]:
    """The extractors that take a dataset's items, in the order of the catalogue; of vectors the one that keeps them."""
    return tuple(spec for spec in (*ENCODERS, imported.IMPORTED) if takes(spec, dataset))


def takes(spec: EncoderSpec, dataset: Dataset) -> bool:
    """Whether an extractor takes a dataset's items: pictures or volumes that it is made for, or vectors as they are."""
    return spec.takes(dataset.ndim) and (spec.name == imported.IMPORTED.name) == bool(dataset.vectors)


def find_encoder(name: str) -> EncoderSpec:
    """The spec of this name, such as `resnet50`; or `resnet50.bf16`, the same network in bfloat16.

    UnknownName lists the valid ones.
    """
    listed = {spec.name: spec for spec in ENCODERS}
    if name in listed:
        return listed[name]
    if name == imported.IMPORTED.name:
        return imported.IMPORTED
    plain, _, precision = name.rpartition(".")
    network = plain in listed and listed[plain].library != "builtin"
    if network and precision == "bf16":
        return _in_bfloat16(listed[plain])
    raise UnknownName("extractor", name, [*listed, *([f"{plain}.bf16"] if network else [])])


def with_named(names: Iterable[str]) -> tuple[EncoderSpec, ...]:
    """The catalogue, and after it the specs in another precision that are among these names."""
    derived = (_derived(name) for name in dict.fromkeys(names) if "." in name)
    return (*ENCODERS, *(spec for spec in derived if spec is not None))


def _derived(name: str) -> EncoderSpec | None:
    try:
        return find_encoder(name)
    except UnknownName:  # of a row that an earlier version left
        return None


def _in_bfloat16(spec: EncoderSpec) -> EncoderSpec:
    """The same network and weights in bfloat16: by torch always, and never set beside the study's rows."""
    title, _, rest = spec.title.removesuffix(")").partition(" (")
    notes = [note for note in rest.split(", ") if note and note != "as in the study"]
    return replace(
        spec,
        name=f"{spec.name}.bf16",
        title=f"{title} ({', '.join([*notes, 'bf16'])})",
        about=f"{spec.about} In bfloat16, on a GPU.",
        study="",
        precision="bf16",
        runtime="torch",
    )
