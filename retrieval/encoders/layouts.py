"""A checkpoint's tensors under the network's names: the rules of a Layout, applied, and nothing left over."""

import re
from collections.abc import Mapping
from typing import Any

from retrieval.encoders.specs import Layout

Tensors = Mapping[str, Any]


def fitted(tensors: Tensors, layout: Layout, places: Tensors) -> dict[str, Any]:
    """The tensors under the network's own names, each with its place's shape.

    Args:
        tensors: Of the checkpoint, by its names.
        layout: How they become the network's.
        places: The network's own tensors, by name; what is in them does not matter.

    Raises:
        ValueError: A tensor finds no place, a place no tensor, or a shape or kind does not fit; says which.
    """
    own = _in_order(tensors, layout.order, places) if layout.order else named(tensors, layout)
    if layout.fold_class_position and {"pos_embed", "cls_token"} <= own.keys():
        own = _fold_class_position(own)
    if layout.positions and "pos_embed" in own:
        own["pos_embed"] = _resampled(own["pos_embed"], places["pos_embed"], layout.positions)
    _check(own, layout, places)
    return own


def named(tensors: Tensors, layout: Layout) -> dict[str, Any]:
    """The tensors that are not dropped, renamed and fused; ValueError where two come to bear one name."""
    dropped = re.compile("|".join(f"(?:{pattern})" for pattern in layout.drop) or r"(?!)")
    kept: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if dropped.fullmatch(name):
            continue
        own = _renamed(name, layout.rename)
        if own in kept:
            raise ValueError(f"two of its tensors would be {own}")
        kept[own] = tensor
    for target, parts in layout.fuse:
        kept = _fused(kept, target, parts)
    return kept


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _fused(tensors: dict[str, Any], target: str, parts: tuple[str, ...]) -> dict[str, Any]:
    """Every set of parts joined along the first axis; an incomplete set stays as it is, and is refused later."""
    import torch

    first = re.compile(rf"(|.*\.){re.escape(parts[0])}\.(\w+)")
    for found in filter(None, map(first.fullmatch, list(tensors))):
        names = [f"{found[1]}{part}.{found[2]}" for part in parts]
        if all(name in tensors for name in names):
            tensors[f"{found[1]}{target}.{found[2]}"] = torch.cat([tensors.pop(name) for name in names])
    return tensors


def _fold_class_position(tensors: dict[str, Any]) -> dict[str, Any]:
    """The class token with its position added, and the position grid without it: timm's form for registers.

    A grid without a row for the class token is in that form already, and stays.
    """
    grid = tensors["pos_embed"]
    if _grid(grid.shape[1]) ** 2 == grid.shape[1]:
        return dict(tensors)
    token = tensors["cls_token"].float() + grid[:, :1].float()  # of half precision the sum would be rounded
    return {**tensors, "cls_token": token, "pos_embed": grid[:, 1:]}


def _resampled(stored: Any, place: Any, dialect: str) -> Any:
    """A position grid [1, (prefix +) n * n, D] at the size of its place; what stands before the grid is kept.

    `bicubic_offset` scales by (m + 0.1) / n as Meta's DINOv2 does at run time; the others to the exact size.
    """
    import torch
    import torch.nn.functional as F

    if stored.shape == place.shape:
        return stored
    side, new = (_grid(tensor.shape[1]) for tensor in (stored, place))
    prefix = stored.shape[1] - side * side
    grid = stored[:, prefix:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if dialect == "bicubic_offset":
        scale = (new + 0.1) / side
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    else:
        grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=dialect == "bicubic_antialias")
    return torch.cat([stored[:, :prefix].float(), grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _grid(tokens: int) -> int:
    """The side of the largest square grid in so many tokens; what is left stands before it (class, registers)."""
    return int(tokens**0.5)


def _in_order(tensors: Tensors, order: tuple[str, ...], places: Tensors) -> dict[str, Any]:
    """The tensors of a checkpoint of another implementation under the network's own names.

    Both name the same parts in the same order, once the checkpoint is sorted: by `order` for the words of a dotted
    name, by value for its numbers. The order in the file says nothing, since the digest does not hold it.
    """
    names = sorted(tensors, key=lambda name: [int(w) if w.isdigit() else order.index(w) for w in name.split(".")])
    if [tensors[name].shape for name in names] != [place.shape for place in places.values()]:
        raise ValueError("its tensors do not fit the network's, shape by shape")
    return {own: tensors[name] for own, name in zip(places, names, strict=True)}


def _check(own: Tensors, layout: Layout, places: Tensors) -> None:
    may_be_absent = re.compile("|".join(f"(?:{pattern})" for pattern in layout.absent) or r"(?!)")
    missing = [name for name in places if name not in own and not may_be_absent.fullmatch(name)]
    homeless = [name for name in own if name not in places]
    if missing or homeless:
        says = [f"{len(missing)} tensors of the network are not in it, such as {missing[0]}"] if missing else []
        says += [f"{len(homeless)} of its tensors belong nowhere, such as {homeless[0]}"] if homeless else []
        raise ValueError(" and ".join(says))
    for name, tensor in own.items():
        if tuple(tensor.shape) != tuple(places[name].shape):
            raise ValueError(f"{name} is {tuple(tensor.shape)}, where the network has {tuple(places[name].shape)}")
        check_kind(name, tensor, places[name])


def check_kind(name: str, tensor: Any, place: Any) -> None:
    """ValueError for whole numbers in the place of real ones: they are quantised, and lack what they stand for."""
    if place.is_floating_point() and not tensor.is_floating_point():
        raise ValueError(f"{name} holds whole numbers ({tensor.dtype}), where the network has {place.dtype}")
