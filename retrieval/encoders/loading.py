"""One loader per library: spec and weights in, Encoder out."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from retrieval import artifacts
from retrieval.encoders import (
    builtin,
    catalogue,
    checkpoints,
    configs,
    devices,
    memory,
    text_towers,
    vocabularies,
    weights,
    with_keras,
    with_onnx,
    with_open_clip,
    with_timm,
    with_transformers,
)
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.shelf import Shelf
from retrieval.encoders.specs import Encoder, EncoderSpec
from retrieval.encoders.text_towers import TextEncoder
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

_LOADERS = {
    "keras": with_keras.load,
    "timm": with_timm.load,
    "open_clip": with_open_clip.load,
    "transformers": with_transformers.load,
}

_SHELF: Shelf[Any] = Shelf()


def identify(spec: EncoderSpec, roots: Roots) -> weights.Weights:
    """The encoder's weights at hand with their digest; Unavailable where there are none."""
    read = with_keras.read_tensors if spec.library == "keras" else partial(checkpoints.read_arrays, layout=spec.layout)
    return weights.identify(spec, roots, read)


def identify_or_expect(spec: EncoderSpec, roots: Roots) -> weights.Weights:
    """The weights at hand, or where there are none those that the spec names: enough to read what is stored."""
    if weights.state(spec, roots) == "ready":
        return identify(spec, roots)
    return weights.expected(spec)


def received(spec: EncoderSpec, path: Path | None, roots: Roots) -> weights.Weights:
    """The weights after a download to `path`, with their digest; a file that came and cannot be used does not stay."""
    try:
        return identify(spec, roots)
    except BadInput as error:
        if not weights.discard(path, roots):
            raise
        raise BadInput(
            f"{error.message} It was removed from the cache.",
            remedy=f"Fetch it again; if it comes like this again, see the publisher's page: {weights.page(spec)}",
        ) from error


def load_encoder(spec_name: str, roots: Roots, *, device: str = "auto", side: with_onnx.Side | None = None) -> Encoder:
    """The Encoder of this name, ready to embed, on `cpu`, `cuda`, `cuda:1` or (`auto`) the GPU if there is one.

    float32 unless the name says otherwise: TensorFloat-32 is switched off, since reduced precision changes most
    neighbour lists. `side` as for `load`.
    """
    return load(find_encoder(spec_name), roots, device=device, side=side)


def load(
    spec: EncoderSpec,
    roots: Roots,
    *,
    device: str = "auto",
    side: with_onnx.Side | None = None,
    convert: bool = False,
) -> Encoder:
    """The Encoder of a spec, as the config file beside its weights rules; pixels alone make no other network.

    Networks are kept in memory up to a quarter of it (see `shelf`), by the digest of their weights, so that another
    file in the same place is another encoder.

    Args:
        side: Height and width at which every picture will reach the network: on a CPU, a stored graph for it serves
            where the spec asks for one, without torch. None: pictures of any side, by torch.
        convert: Whether such a graph is made where there is none.

    Raises:
        Unavailable: There are no weights; or the spec's precision is for a GPU, and this device is none.
    """
    if spec.library == "builtin":
        return builtin.load(spec)
    refusal = devices.refusal(spec, device)
    if refusal is not None:
        raise refusal
    spec = configs.at_hand(spec, roots)
    found = identify(spec, roots)
    if side is None or spec.runtime != "onnx" or not devices.on_cpu(device):
        return _by_torch(spec, found, roots, devices.ready(device))
    return _by_graph(spec, found, roots, side, convert) or _by_torch(spec, found, roots, devices.ready("cpu"))


def load_text_encoder(spec_name: str, roots: Roots, *, device: str = "auto") -> TextEncoder:
    """The text side of the Encoder of this name, ready to embed words, in float32; kept in memory as networks are.

    Raises:
        Unavailable: It has none; or its weights or its vocabulary are not at hand.
        BadInput: One of these files is not what it should be.
    """
    spec = find_encoder(spec_name)
    refusal = text_towers.without_words(spec, catalogue.ENCODERS)
    if refusal is not None:
        raise refusal
    spec = configs.at_hand(spec, roots)
    found, vocabulary = identify(spec, roots), vocabularies.read(spec, roots)
    where, text = devices.ready(device), text_towers.side(spec)

    def built() -> TextEncoder:
        made = text_towers.load(spec, found, vocabulary, device=where)
        check_same(spec, found.digest, identify(spec, roots).digest)
        return made

    kept = _SHELF.get(
        _key(text, found, where),
        built,
        device=where,
        needed=found.path.stat().st_size if found.path else 0,
        room=memory.room(where),
        held=lambda encoder: memory.held(encoder.network),
    )
    return replace(kept, spec=spec, vocabulary=vocabulary)


def fitting(specs: Sequence[EncoderSpec], *, device: str = "auto") -> list[list[EncoderSpec]]:
    """Specs in groups, in order, whose networks fill together what networks may; one that is larger stands alone."""
    room = memory.room("cpu" if devices.on_cpu(device) else devices.ready(device))
    groups: list[list[EncoderSpec]] = []
    filled = 0
    for spec in specs:
        needed = memory.needed(spec.parameters, spec.weights.bytes if spec.weights else 0)
        if not groups or filled + needed > room:
            groups.append([])
            filled = 0
        groups[-1].append(spec)
        filled += needed
    return groups


def _by_graph(
    spec: EncoderSpec, found: weights.Weights, roots: Roots, side: with_onnx.Side, convert: bool
) -> Encoder | None:
    """The Encoder of a stored graph, or of one that is made now if it may be; None where there is none."""
    mark = with_onnx.fingerprint_of(spec, found.digest, side)
    made = _SHELF.find(mark) or with_onnx.stored(spec, found.digest, side, roots)
    if made is None and convert:
        made = with_onnx.convert(_by_torch(spec, found, roots, devices.ready("cpu")), side, roots)
    if made is None:
        return None
    size = made.bytes
    kept = _SHELF.get(
        mark, lambda: made, device="cpu", needed=size, room=memory.room("cpu"), held=lambda encoder: encoder.bytes
    )
    return kept if kept.spec == spec else replace(kept, spec=spec)


def _by_torch(spec: EncoderSpec, found: weights.Weights, roots: Roots, device: str) -> Encoder:
    kept = _SHELF.get(
        _key(spec, found, device),
        lambda: _built(spec, found, roots, device),
        device=device,
        needed=memory.needed(spec.parameters, found.path.stat().st_size if found.path else 0),
        room=memory.room(device),
        held=lambda encoder: memory.held(encoder.network),
    )
    return kept if kept.spec == spec else replace(kept, spec=spec)


def _built(spec: EncoderSpec, found: weights.Weights, roots: Roots, device: str) -> Encoder:
    """The network with the weights that were found; Unavailable where the file was replaced while it was read."""
    encoder = _LOADERS[spec.library](spec, found, device=device)
    check_same(spec, found.digest, identify(spec, roots).digest)
    return encoder


def check_same(spec: EncoderSpec, before: str, after: str) -> None:
    """Unavailable unless two digests, taken before and after something was made with the weights, are the same."""
    if before != after:
        raise Unavailable(
            f"The weights file of {spec.title} was replaced while it was being used.",
            remedy="Try again once it is whole: what was begun with the old file is not kept.",
        )


def _key(spec: EncoderSpec, found: weights.Weights, device: str) -> str:
    """Of all that makes the network: not of its name's literal alone, which a config file may rule over."""
    return artifacts.fingerprint(
        architecture=(spec.name, spec.library, spec.architecture),
        arguments=dict(spec.arguments),
        layout=asdict(spec.layout),
        steps=[asdict(step) for step in spec.steps],
        weights=(str(found.path), found.digest),
        precision=spec.precision,
        device=device,
    )
