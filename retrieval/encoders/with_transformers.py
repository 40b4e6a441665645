"""Encoders of transformers, built from a literal configuration. No code of a repository is ever run."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval.encoders import checkpoints, layouts, steps
from retrieval.encoders.specs import EncoderSpec, Layout
from retrieval.encoders.weights import Weights, unreadable
from retrieval.encoders.with_torch import TorchEncoder, encoder

_BESIDES = ("add_pooling_layer",)  # what a class takes that is no part of its configuration


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TorchEncoder:
    """Build the network from the spec's arguments and load every tensor strictly.

    The library itself brings tensors of its earlier versions under their present names; what it reports as missing,
    left over or misfitting is refused.

    Raises:
        BadInput: The file is not this network's.
    """
    network, tensors = filled(spec, Path(str(weights.path)))
    return encoder(spec, weights, device, network=network, forward=_forward(spec, network), tensors=tensors)


def build(spec: EncoderSpec) -> Any:
    """The network of the architecture's class name, configured by the arguments, with random weights."""
    kind, config, besides = _configured(spec)
    return kind(config, **besides)


def _configured(spec: EncoderSpec) -> tuple[Any, Any, dict[str, Any]]:
    """The class, its configuration, and the arguments that it takes besides."""
    import transformers

    kind = getattr(transformers, spec.architecture)
    besides = {name: value for name, value in spec.arguments.items() if name in _BESIDES}
    config = {name: value for name, value in spec.arguments.items() if name not in _BESIDES}
    return kind, kind.config_class(**config), besides


def filled(spec: EncoderSpec, path: Path) -> tuple[Any, dict[str, Any]]:
    """The network with its tensors, and those of the steps by name; BadInput unless each has its place."""
    import torch

    kind, config, besides = _configured(spec)
    try:
        own = {
            name: _apart(one) for name, one in layouts.named(checkpoints.read(path, spec.layout), spec.layout).items()
        }
        of_steps = {name: own.pop(name) for name in list(own) if name.startswith(steps.PREFIX)}
        tensors = layouts.fitted(of_steps, Layout(), steps.tensors_of(spec.steps))
        with _silent():
            network, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=own,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # it names them in its report, where else it would not
                **besides,
            )
        _check(report)
        places = network.state_dict()
        for name in own.keys() & places.keys():
            layouts.check_kind(name, own[name], places[name])
    except (RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error
    return network, tensors


def _apart(tensor: Any) -> Any:
    """A tensor of its own in float32: the library may keep what it is given, which is mapped from the file."""
    return tensor.float().clone() if tensor.is_floating_point() else tensor.clone()


def _check(report: Mapping[str, Any]) -> None:
    """ValueError for whatever the library says about a load, under any heading: sets of names, or of messages."""
    said = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if said:
        raise ValueError("; ".join(f"{kind.replace('_', ' ')}: {names[0]}" for kind, names in said.items()))


@contextmanager
def _silent() -> Iterator[None]:
    """The library's own report of a load is not printed besides: it is read, and what it says is raised."""
    from transformers.utils import logging as reports

    before = reports.get_verbosity()
    reports.set_verbosity(logging.CRITICAL)
    reports.disable_progress_bar()
    try:
        yield
    finally:
        reports.set_verbosity(before)


def _forward(spec: EncoderSpec, network: Any) -> Callable[[Any], Any]:
    """The library's own pooled (and projected) vector for a spec without steps or with `pooled` first, else tokens."""
    if spec.steps and spec.steps[0].kind != "pooled":
        return lambda pictures: network(pixel_values=pictures).last_hidden_state

    def pooled(pictures: Any) -> Any:
        output = network(pixel_values=pictures)
        projected = getattr(output, "image_embeds", None)
        return output.pooler_output if projected is None else projected

    return pooled
