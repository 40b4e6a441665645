"""From a network's output to the feature: the Steps of a spec, with the tensors that they need."""

from collections.abc import Callable, Mapping
from typing import Any

from retrieval.encoders.specs import Step

PREFIX = "feature."  # of the steps' own tensors, so that none is taken for one of the network's

Tensors = Mapping[str, Any]


def tensors_of(steps: tuple[Step, ...]) -> dict[str, Any]:
    """The tensors that steps need, empty, by name: places for those of a checkpoint."""
    import torch

    shapes = {f"{PREFIX}{name}": shape for step in steps for name, shape in _shapes(step).items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def apply(steps: tuple[Step, ...], seen: Any, tensors: Tensors) -> Any:
    """The feature [N, dim] of a network's output: tokens [N, T, D], a feature map [N, C, H, W] or vectors [N, D]."""
    for step in steps:
        own = {name: tensors[f"{PREFIX}{name}"] for name in _shapes(step)}
        seen = _APPLY[step.kind](seen, step, own)
    return seen


def _shapes(step: Step) -> dict[str, tuple[int, ...]]:
    if step.kind == "norm":
        return dict.fromkeys((f"{step.name}.weight", f"{step.name}.bias"), step.shape)
    if step.kind == "linear":
        bias = {f"{step.name}.bias": step.shape[:1]} if step.bias else {}
        return {f"{step.name}.weight": step.shape, **bias}
    if step.kind == "project":
        return {step.name: step.shape}
    if step.kind == "attend":
        return {f"{step.name}.{name}": shape for name, shape in _attention_shapes(step).items()}
    return {}


def _attention_shapes(step: Step) -> dict[str, tuple[int, ...]]:
    """The names of open_clip's AttentionalPooler, or of CONCH v1.5's where `perceiver`."""
    width, tokens = step.shape
    norms = {"ln_q.weight": (width,), "ln_q.bias": (width,), "ln_k.weight": (tokens,), "ln_k.bias": (tokens,)}
    if step.perceiver:
        return {
            "query": (1, width),
            "to_q.weight": (width, width),
            "to_kv.weight": (2 * width, tokens),
            "to_out.weight": (width, width),
            **norms,
        }
    return {
        "query": (1, width),
        "attn.q_proj_weight": (width, width),
        "attn.k_proj_weight": (width, tokens),
        "attn.v_proj_weight": (width, tokens),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        **norms,
    }


def _norm(seen: Any, step: Step, own: Tensors) -> Any:
    import torch.nn.functional as F

    return F.layer_norm(seen, step.shape, own[f"{step.name}.weight"], own[f"{step.name}.bias"], step.eps)


def _linear(seen: Any, step: Step, own: Tensors) -> Any:
    import torch.nn.functional as F

    return F.linear(seen, own[f"{step.name}.weight"], own.get(f"{step.name}.bias"))


def _attend(seen: Any, step: Step, own: Tensors) -> Any:
    """What one learned query gathers from all tokens: [N, T, D] to [N, width]."""
    import torch.nn.functional as F

    mine = {name.removeprefix(f"{step.name}."): tensor for name, tensor in own.items()}
    width, tokens = step.shape
    keys = F.layer_norm(seen, (tokens,), mine["ln_k.weight"], mine["ln_k.bias"], step.eps)
    query = F.layer_norm(mine["query"], (width,), mine["ln_q.weight"], mine["ln_q.bias"], step.eps)
    if step.perceiver:
        q = F.linear(query, mine["to_q.weight"])
        k, v = F.linear(keys, mine["to_kv.weight"]).chunk(2, dim=-1)
        out = (mine["to_out.weight"], None)
    else:
        biases = mine["attn.in_proj_bias"].chunk(3)
        q = F.linear(query, mine["attn.q_proj_weight"], biases[0])
        k = F.linear(keys, mine["attn.k_proj_weight"], biases[1])
        v = F.linear(keys, mine["attn.v_proj_weight"], biases[2])
        out = (mine["attn.out_proj.weight"], mine["attn.out_proj.bias"])
    q, k, v = (part.unflatten(-1, (step.heads, -1)).transpose(-2, -3) for part in (q.expand(len(seen), -1, -1), k, v))
    gathered = F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)
    return F.linear(gathered[:, 0], *out)


def _cls_and_mean(seen: Any, step: Step, _: Tensors) -> Any:
    import torch

    return torch.cat([seen[:, 0], seen[:, step.skip :].mean(dim=1)], dim=-1)


def _gelu(seen: Any, _: Step, __: Tensors) -> Any:
    import torch.nn.functional as F

    return F.gelu(seen)


def _l2(seen: Any, _: Step, __: Tensors) -> Any:
    import torch.nn.functional as F

    return F.normalize(seen, dim=-1)


_APPLY: Mapping[str, Callable[[Any, Step, Tensors], Any]] = {
    "cls": lambda seen, step, own: seen[:, 0],
    "mean": lambda seen, step, own: seen[:, step.skip :].mean(dim=1),
    "cls_and_mean": _cls_and_mean,
    "pooled": lambda seen, step, own: seen,  # the loader has seen to it
    "map_mean": lambda seen, step, own: seen.mean(dim=(2, 3)),
    "attend": _attend,
    "norm": _norm,
    "linear": _linear,
    "project": lambda seen, step, own: seen @ own[step.name],
    "gelu": _gelu,
    "tanh": lambda seen, step, own: seen.tanh(),
    "l2": _l2,
}
