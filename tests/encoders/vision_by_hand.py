"""A vision transformer written out with torch alone, straight from a checkpoint's names: timm's or Meta's."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

Tensors = Mapping[str, torch.Tensor]


def tokens(
    own: Tensors, pictures: Any, *, heads: int, gated: bool = False, block: Callable[[int], str] = "blocks.{}.".format
) -> torch.Tensor:
    """All tokens after the last norm, [N, T, D], of pictures [N, S, S, 3]: class token, registers, patches.

    As in Dosovitskiy et al. 2021, with DINOv2's registers (Darcet et al. 2024), its layer scale where the checkpoint
    has one, and its gated layers (SiLU of the first half times the second). `block` names the block of a number.
    """
    width, _, patch, _ = own["patch_embed.proj.weight"].shape
    x = F.conv2d(
        torch.from_numpy(pictures).permute(0, 3, 1, 2),
        own["patch_embed.proj.weight"],
        own["patch_embed.proj.bias"],
        stride=patch,
    )
    x = x.flatten(2).transpose(1, 2)
    cls, positions = own["cls_token"], own["pos_embed"]
    if positions.shape[1] == x.shape[1] + 1:
        cls, positions = cls + positions[:, :1], positions[:, 1:]
    registers = own.get("reg_token", own.get("register_tokens", torch.empty(1, 0, width)))
    x = torch.cat([one.expand(len(x), -1, -1) for one in (cls, registers)] + [x + positions], dim=1)
    number = 0
    while f"{block(number)}norm1.weight" in own:
        prefix = block(number)
        mine = {name.removeprefix(prefix): one for name, one in own.items() if name.startswith(prefix)}
        x = x + _attention(mine, _norm(x, mine, "norm1"), heads) * mine.get("ls1.gamma", 1)
        x = x + _mlp(mine, _norm(x, mine, "norm2"), gated) * mine.get("ls2.gamma", 1)
        number += 1
    return _norm(x, own, "norm")


def perceiver(own: Tensors, seen: torch.Tensor, *, heads: int) -> torch.Tensor:
    """What the one query of CONCH v1.5's pooler gathers from tokens [N, T, D]: plain attention, no biases."""
    keys = F.layer_norm(seen, (seen.shape[-1],), own["ln_k.weight"], own["ln_k.bias"], 1e-5)
    query = F.layer_norm(own["query"], (own["query"].shape[-1],), own["ln_q.weight"], own["ln_q.bias"], 1e-5)
    key, value = (keys @ own["to_kv.weight"].T).chunk(2, dim=-1)
    gathered = _heads(query @ own["to_q.weight"].T, key, value, heads)
    return (gathered @ own["to_out.weight"].T)[:, 0]


def interpolated(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Positions [1, 1 + n * n, D] for side x side patches, as DINO's interpolate_pos_encoding has them."""
    stored = int((positions.shape[1] - 1) ** 0.5)
    grid = positions[:, 1:].reshape(1, stored, stored, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=((side + 0.1) / stored,) * 2, mode="bicubic")
    assert grid.shape[-2:] == (side, side)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)


def _norm(x: torch.Tensor, own: Tensors, name: str) -> torch.Tensor:
    return F.layer_norm(x, (x.shape[-1],), own[f"{name}.weight"], own[f"{name}.bias"], 1e-6)


def _attention(own: Tensors, x: torch.Tensor, heads: int) -> torch.Tensor:
    q, k, v = (x @ own["attn.qkv.weight"].T + own["attn.qkv.bias"]).chunk(3, dim=-1)
    return _heads(q, k, v, heads) @ own["attn.proj.weight"].T + own["attn.proj.bias"]


def _heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention head by head: the widths are cut into so many equal parts."""
    each = []
    for query, key, value in zip(*(one.chunk(heads, dim=-1) for one in (q, k, v)), strict=True):
        share = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        each.append(share @ value)
    return torch.cat(each, dim=-1)


def _mlp(own: Tensors, x: torch.Tensor, gated: bool) -> torch.Tensor:
    up, down = ("mlp.w12", "mlp.w3") if "mlp.w12.weight" in own else ("mlp.fc1", "mlp.fc2")
    hidden = x @ own[f"{up}.weight"].T + own[f"{up}.bias"]
    if gated:
        gate, value = hidden.chunk(2, dim=-1)
        hidden = F.silu(gate) * value
    else:
        hidden = F.gelu(hidden)
    return hidden @ own[f"{down}.weight"].T + own[f"{down}.bias"]
