"""A Cell is the address of every number: dataset, size, encoder, protocol."""

from dataclasses import dataclass

from retrieval.datasets.catalogue import DATASETS, find_dataset
from retrieval.datasets.specs import Dataset
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import Unavailable, UnknownName
from retrieval.protocols import PROTOCOLS, Protocol, find_protocol


@dataclass(frozen=True)
class Cell:
    """(dataset, size, encoder, protocol), by name; build one with `cell`, which checks the names."""

    dataset: str
    size: int
    encoder: str
    protocol: str

    @property
    def key(self) -> str:
        """Where its numbers lie, relative to a root's folder of results or neighbours."""
        return f"{self.dataset}/{self.size}/{self.encoder}/{self.protocol}"

    @property
    def data(self) -> Dataset:
        return find_dataset(self.dataset)

    @property
    def spec(self) -> EncoderSpec:
        return find_encoder(self.encoder)

    @property
    def rules(self) -> Protocol:
        return find_protocol(self.protocol)


def cell(dataset: str, size: int, encoder: str, protocol: str | None = None) -> Cell:
    """The Cell of these names; without a protocol, of the first under which the encoder may be compared: `paper`.

    Raises:
        UnknownName: One does not exist, or the encoder cannot take the dataset's items.
        Unavailable: The protocol takes float32 features only, and the encoder gives others; or it cannot be had.
    """
    data, spec = find_dataset(dataset), find_encoder(encoder)
    if size not in data.sizes:
        raise UnknownName(f"size of {dataset}", size, data.sizes)
    if not spec.takes(data.ndim):
        fitting = [other.name for other in ENCODERS if other.takes(data.ndim)]
        raise UnknownName(f"extractor for {data.ndim}D items", encoder, fitting)
    rules = _fitting(spec)[0] if protocol is None else find_protocol(protocol)
    if not _fits(rules, spec):
        raise _too_exact(rules, spec)
    return Cell(dataset=dataset, size=size, encoder=encoder, protocol=rules.name)


def _fits(rules: Protocol, spec: EncoderSpec) -> bool:
    return spec.precision == "fp32" or not rules.exact


def _fitting(spec: EncoderSpec) -> list[Protocol]:
    return [rules for rules in PROTOCOLS if _fits(rules, spec)]


def _too_exact(rules: Protocol, spec: EncoderSpec) -> Unavailable:
    others = ", ".join(other.name for other in _fitting(spec))
    return Unavailable(
        f"{spec.title} is not compared under the protocol {rules.name}, whose numbers stand beside the study's: "
        "they are float32 only, since bf16 changes most lists of neighbours.",
        remedy=f"Choose {spec.plain}, the same network in float32, or another protocol: {others}.",
    )


def grid() -> tuple[Cell, ...]:
    """Every meaningful Cell, in the order of the catalogues."""
    return tuple(
        Cell(dataset=data.name, size=size, encoder=spec.name, protocol=protocol.name)
        for data in DATASETS
        for size in data.sizes
        for spec in ENCODERS
        if spec.takes(data.ndim)
        for protocol in PROTOCOLS
    )
