"""A Cell is the address of every number: dataset, size, encoder, protocol."""

from dataclasses import dataclass, field, replace
from typing import Any

from retrieval.datasets.catalogue import DATASETS, datasets, find_dataset
from retrieval.datasets.specs import Dataset
from retrieval.encoders.catalogue import encoders_for, find_encoder, takes
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput, Unavailable, UnknownName
from retrieval.pictures.item import AS_THEY_ARE, size_choices
from retrieval.protocols import PROTOCOLS, Protocol, find_protocol
from retrieval.roots import Roots


@dataclass(frozen=True)
class Cell:
    """(dataset, size, encoder, protocol), by name; build one with `cell`, which checks the names.

    `own` is the collection that the dataset's name stands for, as it was when the cell was built.
    """

    dataset: str
    size: int
    encoder: str
    protocol: str
    own: Dataset | None = field(default=None, compare=False, repr=False)

    @property
    def names(self) -> dict[str, Any]:
        """The four parts of its address by their names, as documents have them."""
        return {"dataset": self.dataset, "size": self.size, "encoder": self.encoder, "protocol": self.protocol}

    @property
    def side(self) -> int:
        """About how many pixels its pictures have along a side: its size, or what a collection's have as they are."""
        return self.own.own.side if self.size == AS_THEY_ARE and self.own and self.own.own else self.size

    @property
    def key(self) -> str:
        """Where its numbers lie, relative to a root's folder of results or neighbours."""
        return f"{self.dataset}/{self.size}/{self.encoder}/{self.protocol}"

    @property
    def data(self) -> Dataset:
        return find_dataset(self.dataset) if self.own is None else self.own

    @property
    def spec(self) -> EncoderSpec:
        spec = find_encoder(self.encoder)
        return replace(spec, title=self.own.vectors) if self.own and self.own.vectors else spec

    @property
    def rules(self) -> Protocol:
        return find_protocol(self.protocol)


def cell(
    dataset: str, size: int | None, encoder: str, protocol: str | None = None, *, roots: Roots | None = None
) -> Cell:
    """The Cell of these names; without a protocol, of the first under which the encoder may be compared: `paper`.

    Args:
        size: None: of a collection its pictures as they are; its volumes at their smallest size.
        roots: Where collections lie; without, only the datasets known by name are found.

    Raises:
        UnknownName: One does not exist, or the encoder cannot take the dataset's items.
        BadInput: No size is named, and the dataset is no collection.
        Unavailable: The protocol takes float32 features only, and the encoder gives others; or it cannot be had.
    """
    data, spec = find_dataset(dataset, roots), find_encoder(encoder)
    size = _side(data) if size is None else size
    if size not in data.sizes:
        raise UnknownName(f"size of {dataset}", size, size_choices(data.sizes))
    if not takes(spec, data):
        fitting = [other.name for other in encoders_for(data)]
        raise UnknownName(f"extractor for {'vectors' if data.vectors else f'{data.ndim}D items'}", encoder, fitting)
    rules = _fitting(spec)[0] if protocol is None else find_protocol(protocol)
    if not _fits(rules, spec):
        raise _too_exact(rules, spec)
    return Cell(dataset, size, encoder, rules.name, own=None if data.own is None else data)


def _side(data: Dataset) -> int:
    if data.own is None:
        sizes = ", ".join(str(size) for size in data.sizes)
        raise BadInput(f"{data.title} comes in several sizes.", remedy=f"Name one: --size with one of {sizes}.")
    return data.sizes[0]


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


def grid(roots: Roots | None = None) -> tuple[Cell, ...]:
    """Every meaningful Cell, in the order of the catalogues; with roots, collections as they are among them."""
    return tuple(
        Cell(data.name, size, spec.name, protocol.name, own=None if data.own is None else data)
        for data in (DATASETS if roots is None else datasets(roots))
        for size in usual_sizes(data)
        for spec in encoders_for(data)
        for protocol in PROTOCOLS
    )


def usual_sizes(data: Dataset) -> tuple[int, ...]:
    """The sizes that are meant where none is named: all; of a collection its first, pictures as they are."""
    return data.sizes if data.own is None else data.sizes[:1]
