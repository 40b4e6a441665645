"""Each step from a network's output to the feature, against a torch module or plain arithmetic."""

from typing import Any

import pytest
import torch
from torch import nn

from retrieval.encoders import steps
from retrieval.encoders.specs import Step

TOKENS, WIDTH = 6, 8


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def applied(seen: torch.Tensor, *kinds: Step, **tensors: torch.Tensor) -> torch.Tensor:
    """Dots in the names of tensors are written as two underscores."""
    own = {f"feature.{name.replace('__', '.')}": tensor for name, tensor in tensors.items()}
    return steps.apply(kinds, seen, own)


def places(step: Step) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in steps.tensors_of((step,)).items()}


# --- pooling


def test_the_class_token_is_the_first():
    seen = drawn(2, TOKENS, WIDTH)
    assert torch.equal(applied(seen, Step("cls")), seen[:, 0])


@pytest.mark.parametrize("skip", [0, 1, 5])
def test_the_mean_leaves_out_class_token_and_registers(skip: int):
    seen = drawn(2, TOKENS, WIDTH)
    by_hand = sum(seen[:, n] for n in range(skip, TOKENS)) / (TOKENS - skip)
    torch.testing.assert_close(applied(seen, Step("mean", skip=skip)), by_hand)


def test_registers_do_not_reach_the_mean_but_patches_do():
    seen = drawn(2, TOKENS, WIDTH)
    feature = applied(seen, Step("cls_and_mean", skip=3))
    assert feature.shape == (2, 2 * WIDTH)
    assert torch.equal(feature[:, :WIDTH], seen[:, 0])
    torch.testing.assert_close(feature[:, WIDTH:], (seen[:, 3] + seen[:, 4] + seen[:, 5]) / 3)
    changed = seen.clone()
    changed[:, 1:3] += 100
    assert torch.equal(applied(changed, Step("cls_and_mean", skip=3)), feature)


def test_the_mean_of_a_map_is_torchs_average_pooling():
    seen = drawn(2, 5, 3, 4)
    torch.testing.assert_close(applied(seen, Step("map_mean")), nn.AdaptiveAvgPool2d(1)(seen).flatten(1))


def test_pooled_leaves_the_librarys_own_pooling():
    seen = drawn(2, WIDTH)
    assert applied(seen, Step("pooled")) is seen


def test_no_steps_leave_all():
    seen = drawn(2, WIDTH)
    assert applied(seen) is seen


# --- layers


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 0.1])
def test_norm_is_torchs_layer_norm(eps: float):
    module = nn.LayerNorm(WIDTH, eps=eps)
    module.load_state_dict({"weight": drawn(WIDTH, seed=1), "bias": drawn(WIDTH, seed=2)})
    seen = drawn(2, TOKENS, WIDTH)
    ours = applied(
        seen, Step("norm", name="ln", shape=(WIDTH,), eps=eps), ln__weight=module.weight, ln__bias=module.bias
    )
    torch.testing.assert_close(ours, module(seen))


@pytest.mark.parametrize("bias", [False, True])
def test_linear_is_torchs(bias: bool):
    module = nn.Linear(WIDTH, 3, bias=bias)
    seen = drawn(2, WIDTH)
    tensors = {f"head__{name}": tensor for name, tensor in module.state_dict().items()}
    step = Step("linear", name="head", shape=(3, WIDTH), bias=bias)
    torch.testing.assert_close(applied(seen, step, **tensors), module(seen))
    assert places(step) == {f"feature.head.{name}": tuple(t.shape) for name, t in module.state_dict().items()}


@pytest.mark.parametrize(("kind", "module"), [("gelu", nn.GELU()), ("tanh", nn.Tanh())])
def test_functions_are_torchs(kind: Any, module: nn.Module):
    seen = drawn(2, WIDTH)
    torch.testing.assert_close(applied(seen, Step(kind)), module(seen))


def test_length_one():
    seen = drawn(3, WIDTH)
    feature = applied(seen, Step("l2"))
    torch.testing.assert_close(feature, seen / (seen**2).sum(1, keepdim=True).sqrt())


def test_a_picture_without_anything_stays_a_number():
    assert applied(torch.zeros(1, WIDTH), Step("l2")).tolist() == [[0.0] * WIDTH]


def test_steps_follow_one_another():
    seen = drawn(2, TOKENS, WIDTH)
    weight = drawn(3, WIDTH, seed=4)
    feature = applied(seen, Step("cls"), Step("linear", name="p", shape=(3, WIDTH)), Step("l2"), p__weight=weight)
    torch.testing.assert_close(feature, nn.functional.normalize(seen[:, 0] @ weight.T))


# --- attention


def attention_tensors(step: Step) -> dict[str, torch.Tensor]:
    shapes = steps.tensors_of((step,))
    return {name: drawn(*tensor.shape, seed=n) for n, (name, tensor) in enumerate(shapes.items())}


def test_attention_is_torchs_multi_head_between_layer_norms():
    """open_clip's AttentionalPooler, of torch's own modules: keys and values are wider than the query."""
    width, tokens, heads = 8, 12, 4
    step = Step("attend", name="pool", shape=(width, tokens), heads=heads, eps=1e-5)
    own = attention_tensors(step)
    mine = {name.removeprefix("feature.pool."): tensor for name, tensor in own.items()}
    attention = nn.MultiheadAttention(width, heads, kdim=tokens, vdim=tokens, batch_first=True)
    attention.load_state_dict({n.removeprefix("attn."): t for n, t in mine.items() if n.startswith("attn.")})
    ln_q, ln_k = nn.LayerNorm(width), nn.LayerNorm(tokens)
    ln_q.load_state_dict({"weight": mine["ln_q.weight"], "bias": mine["ln_q.bias"]})
    ln_k.load_state_dict({"weight": mine["ln_k.weight"], "bias": mine["ln_k.bias"]})
    seen = drawn(3, TOKENS, tokens, seed=50)
    with torch.no_grad():
        keys = ln_k(seen)
        theirs = attention(ln_q(mine["query"])[None].expand(3, -1, -1), keys, keys)[0][:, 0]
        ours = steps.apply((step,), seen, own)
    assert ours.shape == (3, width)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_attention_has_open_clips_names_and_shapes():
    from open_clip.transformer import AttentionalPooler

    pooler = AttentionalPooler(d_model=8, context_dim=12, n_head=4, n_queries=1)
    theirs = {f"feature.pool.{name}": tuple(tensor.shape) for name, tensor in pooler.state_dict().items()}
    assert places(Step("attend", name="pool", shape=(8, 12), heads=4)) == theirs


def test_attention_gives_what_open_clips_pooler_gives():
    from open_clip.transformer import AttentionalPooler

    step = Step("attend", name="pool", shape=(8, 12), heads=4)
    own = attention_tensors(step)
    pooler = AttentionalPooler(d_model=8, context_dim=12, n_head=4, n_queries=1)
    pooler.load_state_dict({name.removeprefix("feature.pool."): tensor for name, tensor in own.items()})
    seen = drawn(3, TOKENS, 12, seed=50)
    with torch.no_grad():
        torch.testing.assert_close(steps.apply((step,), seen, own), pooler.eval()(seen)[:, 0], rtol=1e-5, atol=1e-5)


def test_the_perceivers_dialect_is_plain_attention_without_biases():
    """One matrix makes keys (first half) and values; the query is scaled by the head's width to the power -1/2."""
    width, tokens, heads = 8, 12, 2
    step = Step("attend", name="pool", shape=(width, tokens), heads=heads, perceiver=True)
    own = attention_tensors(step)
    mine = {name.removeprefix("feature.pool."): tensor for name, tensor in own.items()}
    seen = drawn(3, TOKENS, tokens, seed=50)
    keys = nn.functional.layer_norm(seen, (tokens,), mine["ln_k.weight"], mine["ln_k.bias"])
    query = nn.functional.layer_norm(mine["query"], (width,), mine["ln_q.weight"], mine["ln_q.bias"])
    q, kv, each = query @ mine["to_q.weight"].T, keys @ mine["to_kv.weight"].T, width // heads
    gathered = []
    for head in range(heads):
        part = slice(head * each, (head + 1) * each)
        share = torch.softmax(kv[..., :width][..., part] @ q[0, part] * each**-0.5, dim=1)
        gathered.append((share[..., None] * kv[..., width:][..., part]).sum(1))
    theirs = torch.cat(gathered, dim=-1) @ mine["to_out.weight"].T
    torch.testing.assert_close(steps.apply((step,), seen, own), theirs, rtol=1e-5, atol=1e-5)


# --- tensors


def test_places_take_no_memory():
    wide = steps.tensors_of((Step("linear", name="p", shape=(1 << 20, 1 << 20)),))
    assert {tensor.device.type for tensor in wide.values()} == {"meta"}


def test_steps_without_tensors_have_no_places():
    assert steps.tensors_of((Step("cls"), Step("mean"), Step("l2"), Step("gelu"), Step("map_mean"))) == {}


def test_a_tensor_that_is_not_there_is_missed_not_made_up():
    with pytest.raises(KeyError, match=r"feature\.ln\.bias"):
        applied(drawn(2, WIDTH), Step("norm", name="ln", shape=(WIDTH,)), ln__weight=drawn(WIDTH))
