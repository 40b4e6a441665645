"""open_clip's own models with fewer blocks: the same names and classes, small enough for a test."""

import copy
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from timm.models import register_model

from retrieval.encoders.specs import EncoderSpec

_FEWER_TEXTS = {"layers": 1, "vocab_size": 64}


def shallow_name(architecture: str, folder: Path, **changes: Any) -> str:
    """Make a model of this architecture with fewer blocks and words known to open_clip; its name.

    Args:
        architecture: open_clip's name.
        folder: For its configuration file, which is open_clip's own with these changes.
        changes: Of the whole configuration, such as `quick_gelu`.
    """
    name = f"{architecture}-shallow{len(changes) or ''}"
    config: Any = {**copy.deepcopy(open_clip.get_model_config(architecture) or {}), **changes}
    config["text_cfg"].update(_FEWER_TEXTS)
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_name"] = _shallow_timm(vision["timm_model_name"])
    else:
        vision["layers"] = 2
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return name


@functools.cache
def on_meta(architecture: str) -> Any:
    """open_clip's own whole model of this name, with names and shapes and no numbers."""
    with torch.device("meta"):
        return open_clip.create_model(architecture, load_weights=False, device="meta")


def keys_of(architecture: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of open_clip's own whole model of this name."""
    return {name: tuple(tensor.shape) for name, tensor in on_meta(architecture).state_dict().items()}


def shallow(spec: EncoderSpec, folder: Path) -> EncoderSpec:
    """A literal of open_clip with the shallow model in the place of its architecture, and nothing else changed."""
    return dataclasses.replace(spec, architecture=shallow_name(spec.architecture, folder))


def _shallow_timm(name: str) -> str:
    """Make a timm network with fewer blocks known to timm, built by timm's own function of that name."""
    fewer = (
        {"layers": (1,) * (5 if name in ("fastvit_mci3", "fastvit_mci4") else 4)} if "fastvit" in name else {"depth": 2}
    )

    def build(pretrained: bool = False, **kwargs: Any) -> Any:
        return timm.create_model(name, pretrained=pretrained, **fewer, **kwargs)

    build.__name__ = f"{name}_shallow"
    if not timm.is_model(build.__name__):
        register_model(build)
    return build.__name__
