"""The rules of a Layout, each alone, and the three ways to resample positions against three references."""

from typing import Any

import pytest
import torch

from retrieval.encoders import layouts
from retrieval.encoders.specs import Layout


def ones(*shape: int, value: float = 1.0) -> torch.Tensor:
    return torch.full(shape, value)


def fitted(tensors: dict[str, Any], layout: Layout, **places: tuple[int, ...]) -> dict[str, Any]:
    """Dots in the names of places are written as two underscores."""
    shapes = {name.replace("__", "."): torch.empty(shape, device="meta") for name, shape in places.items()}
    return layouts.fitted(tensors, layout, shapes)


# --- drop, rename


def test_only_whole_names_are_dropped():
    tensors = {"norm.weight": ones(1), "fc_norm.weight": ones(1), "decoder.0.bias": ones(1), "head.bias": ones(1)}
    kept = layouts.named(tensors, Layout(drop=(r"norm\..*", r"decoder\..*", "head")))
    assert sorted(kept) == ["fc_norm.weight", "head.bias"]


def test_nothing_is_dropped_where_nothing_is_said():
    assert list(layouts.named({"": ones(1), "a": ones(1)}, Layout())) == ["", "a"]


def test_dropping_comes_before_renaming():
    layout = Layout(drop=("new",), rename=((r"^old$", "new"),))
    assert list(layouts.named({"old": ones(1), "new": ones(2)}, layout)) == ["new"]


def test_renames_are_applied_in_order_each_to_the_result_of_the_one_before():
    layout = Layout(rename=((r"^a\.", "b."), (r"^b\.", "c."), (r"\.(\d+)\.", r".x\1.")))
    assert sorted(layouts.named({"a.1.w": ones(1), "b.2.w": ones(1)}, layout)) == ["c.x1.w", "c.x2.w"]


def test_two_tensors_under_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two of its tensors would be norm\.weight"):
        layouts.named({"norm.weight": ones(1), "ln.weight": ones(1)}, Layout(rename=((r"^ln\.", "norm."),)))


# --- fuse

FUSE = Layout(fuse=(("attn.qkv", ("attn.q", "attn.k", "attn.v")),))


def test_parts_are_joined_in_the_order_that_is_written_whatever_the_files_order():
    tensors = {f"blocks.0.attn.{part}.weight": ones(2, 3, value=n) for n, part in enumerate("vkq")}
    joined = layouts.named(tensors, FUSE)
    assert list(joined) == ["blocks.0.attn.qkv.weight"]
    assert joined["blocks.0.attn.qkv.weight"][:, 0].tolist() == [2, 2, 1, 1, 0, 0]


def test_weights_and_biases_of_every_block_are_joined_and_the_top_level_as_well():
    names = [f"{at}attn.{part}.{kind}" for at in ("", "blocks.0.", "blocks.11.") for part in "qkv" for kind in "wb"]
    joined = layouts.named({name: ones(1) for name in names}, FUSE)
    assert sorted(joined) == sorted(f"{at}attn.qkv.{kind}" for at in ("", "blocks.0.", "blocks.11.") for kind in "wb")


def test_a_part_is_a_whole_word_of_a_name():
    tensors = {"xattn.q.w": ones(1), "attn.q.w.more": ones(1), "attn.q": ones(1)}
    assert layouts.named(tensors, FUSE) == tensors


def test_an_incomplete_set_is_left_as_it_is_and_refused():
    with pytest.raises(
        ValueError, match=r"1 tensors .* such as attn\.qkv\.w and 2 of its tensors .* such as attn\.q\.w"
    ):
        fitted({"attn.q.w": ones(1), "attn.v.w": ones(1)}, FUSE, attn__qkv__w=(3,))


# --- the class token's position


def test_the_class_position_is_added_to_the_token_and_leaves_the_grid():
    tensors = {"cls_token": ones(1, 1, 2), "pos_embed": torch.arange(20.0).reshape(1, 10, 2)}
    own = fitted(tensors, Layout(fold_class_position=True), cls_token=(1, 1, 2), pos_embed=(1, 9, 2))
    assert own["cls_token"].flatten().tolist() == [1.0, 2.0]
    assert own["pos_embed"][0, 0].tolist() == [2.0, 3.0]


def test_a_grid_that_is_folded_already_stays():
    tensors = {"cls_token": ones(1, 1, 2), "pos_embed": torch.arange(18.0).reshape(1, 9, 2)}
    own = fitted(tensors, Layout(fold_class_position=True), cls_token=(1, 1, 2), pos_embed=(1, 9, 2))
    assert torch.equal(own["cls_token"], tensors["cls_token"]) and torch.equal(own["pos_embed"], tensors["pos_embed"])


def test_it_is_not_folded_where_nothing_is_said():
    with pytest.raises(ValueError, match=r"pos_embed is \(1, 10, 2\), where the network has \(1, 9, 2\)"):
        fitted({"pos_embed": ones(1, 10, 2)}, Layout(), pos_embed=(1, 9, 2))


def test_folding_comes_before_resampling():
    tensors = {"cls_token": torch.zeros(1, 1, 2), "pos_embed": torch.cat([ones(1, 1, 2, value=5.0), ones(1, 16, 2)], 1)}
    layout = Layout(fold_class_position=True, positions="bicubic")
    own = fitted(tensors, layout, cls_token=(1, 1, 2), pos_embed=(1, 9, 2))
    assert own["cls_token"].flatten().tolist() == [5.0, 5.0]
    torch.testing.assert_close(own["pos_embed"], ones(1, 9, 2))


# --- resampling of positions: three dialects


def grid(prefix: int, side: int, *, width: int = 8) -> torch.Tensor:
    return torch.randn(1, prefix + side * side, width, generator=torch.Generator().manual_seed(5))


def resampled(stored: torch.Tensor, dialect: Any, tokens: int) -> torch.Tensor:
    return fitted({"pos_embed": stored}, Layout(positions=dialect), pos_embed=(1, tokens, stored.shape[2]))["pos_embed"]


def by_transformers(stored: torch.Tensor, side: int, *, registers: bool = False) -> torch.Tensor:
    """What transformers adds to the patches of a picture of this many patches a side, with its own code."""
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    width = stored.shape[2]
    config: Any = {"hidden_size": width, "num_attention_heads": 1, "num_hidden_layers": 0, "patch_size": 14}
    config["image_size"] = 14 * int((stored.shape[1] - 1) ** 0.5)
    if registers:
        network: Any = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**config))
    else:
        network = Dinov2Model(Dinov2Config(**config))
    with torch.no_grad():
        network.embeddings.position_embeddings.copy_(stored)
        tokens = torch.zeros(1, 1 + side * side, width)
        return network.embeddings.interpolate_pos_encoding(tokens, 14 * side, 14 * side)


def by_timm(stored: torch.Tensor, side: int, *, antialias: bool, prefix: int = 1) -> torch.Tensor:
    from timm.layers.pos_embed import resample_abs_pos_embed

    return resample_abs_pos_embed(stored, [side, side], num_prefix_tokens=prefix, antialias=antialias)


def by_metas_formula(stored: torch.Tensor, side: int) -> torch.Tensor:
    """interpolate_pos_encoding of Meta's DINOv2, from its description: sampled at (i + 1/2) n / (m + 0.1) - 1/2.

    Cubic convolution with a = -0.75 (torch's bicubic) in float64, edges repeated; n is the stored side, m the new one.
    """
    n = int((stored.shape[1] - 1) ** 0.5)
    square = stored[0, 1:].double().reshape(n, n, -1)
    rows = torch.zeros(side, n, dtype=torch.float64)
    for i in range(side):
        at = (i + 0.5) * n / (side + 0.1) - 0.5
        first = int(torch.tensor(at).floor())
        for tap in range(first - 1, first + 3):
            rows[i, min(max(tap, 0), n - 1)] += cubic(abs(at - tap))
    new = torch.einsum("iy,jx,yxd->ijd", rows, rows, square)
    return torch.cat([stored[:, :1].double(), new.reshape(1, side * side, -1)], dim=1).float()


def cubic(t: float, a: float = -0.75) -> float:
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


@pytest.mark.parametrize(("stored", "new"), [(37, 16), (14, 32), (16, 17)])
def test_bicubic_is_transformers_dinov2_and_timm_without_antialiasing(stored: int, new: int):
    positions = grid(1, stored)
    ours = resampled(positions, "bicubic", 1 + new * new)
    torch.testing.assert_close(ours, by_transformers(positions, new), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours, by_timm(positions, new, antialias=False), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("stored", "new"), [(37, 16), (14, 32), (16, 17)])
def test_antialiased_is_timms_default_and_transformers_with_registers(stored: int, new: int):
    positions = grid(1, stored)
    ours = resampled(positions, "bicubic_antialias", 1 + new * new)
    torch.testing.assert_close(ours, by_timm(positions, new, antialias=True), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours, by_transformers(positions, new, registers=True), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("stored", "new"), [(37, 16), (14, 28), (16, 17)])
def test_with_the_offset_it_is_metas_formula(stored: int, new: int):
    positions = grid(1, stored)
    ours = resampled(positions, "bicubic_offset", 1 + new * new)
    torch.testing.assert_close(ours, by_metas_formula(positions, new), rtol=0, atol=2e-5)


def test_the_three_dialects_differ():
    positions = grid(1, 37)
    kinds = [resampled(positions, kind, 257) for kind in ("bicubic", "bicubic_antialias", "bicubic_offset")]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert float((kinds[one] - kinds[other]).norm() / kinds[one].norm()) > 0.03


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_what_stands_before_the_grid_is_kept(prefix: int):
    positions = grid(prefix, 37)
    ours = resampled(positions, "bicubic_antialias", prefix + 256)
    assert torch.equal(ours[:, :prefix], positions[:, :prefix])
    torch.testing.assert_close(ours, by_timm(positions, 16, antialias=True, prefix=prefix), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dialect", ["bicubic", "bicubic_antialias", "bicubic_offset"])
def test_a_grid_of_the_right_size_is_not_touched(dialect: str):
    positions = grid(1, 16)
    assert resampled(positions, dialect, 257) is positions


def test_a_half_precision_grid_is_resampled_in_float32():
    positions = grid(1, 37).to(torch.bfloat16)
    ours = resampled(positions, "bicubic", 257)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, resampled(positions.float(), "bicubic", 257))


# --- an order in place of names


def test_tensors_are_matched_in_the_order_of_words_and_numbers():
    tensors = {"block.10.w": ones(3), "block.2.w": ones(2), "stem.w": ones(1), "head.w": ones(4)}
    own = fitted(tensors, Layout(order=("stem", "block", "head", "w")), a=(1,), b=(2,), c=(3,), d=(4,))
    assert {name: len(one) for name, one in own.items()} == {"a": 1, "b": 2, "c": 3, "d": 4}
    with pytest.raises(ValueError, match="shape by shape"):
        fitted(tensors, Layout(order=("block", "stem", "head", "w")), a=(1,), b=(2,), c=(3,), d=(4,))


# --- what is missing, left over, or of another shape


def test_a_missing_tensor_is_named():
    with pytest.raises(ValueError, match=r"^2 tensors of the network are not in it, such as b$"):
        fitted({"a": ones(1)}, Layout(), a=(1,), b=(1,), c=(1,))


def test_a_tensor_too_many_is_named():
    with pytest.raises(ValueError, match=r"^1 of its tensors belong nowhere, such as z$"):
        fitted({"a": ones(1), "z": ones(1)}, Layout(), a=(1,))


def test_both_are_said_at_once():
    with pytest.raises(ValueError, match=r"such as a and 1 of its tensors belong nowhere, such as z$"):
        fitted({"z": ones(1)}, Layout(), a=(1,))


def test_another_shape_is_named_with_both():
    with pytest.raises(ValueError, match=r"^a is \(2, 3\), where the network has \(3, 2\)$"):
        fitted({"a": ones(2, 3)}, Layout(), a=(3, 2))


def test_only_what_may_be_absent_may_be_absent():
    layout = Layout(absent=(r"fc_norm\.(?:weight|bias)",))
    assert list(fitted({"a": ones(1)}, layout, a=(1,), fc_norm__weight=(1,), fc_norm__bias=(1,))) == ["a"]
    with pytest.raises(ValueError, match=r"1 tensors of the network are not in it, such as norm\.weight"):
        fitted({"a": ones(1)}, layout, a=(1,), norm__weight=(1,))
    assert sorted(fitted({"a": ones(1), "fc_norm.bias": ones(1)}, layout, a=(1,), fc_norm__bias=(1,))) == [
        "a",
        "fc_norm.bias",
    ]


def test_what_is_given_is_not_changed():
    tensors = {f"attn.{part}.w": ones(1) for part in "qkv"} | {"cls_token": ones(1, 1, 2), "pos_embed": ones(1, 5, 2)}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    layout = Layout(fuse=FUSE.fuse, fold_class_position=True)
    fitted(tensors, layout, attn__qkv__w=(3,), cls_token=(1, 1, 2), pos_embed=(1, 4, 2))
    assert tensors.keys() == before.keys() and all(torch.equal(tensors[name], before[name]) for name in before)


def test_folding_half_precision_loses_nothing():
    generator = torch.Generator().manual_seed(0)
    half = {
        "cls_token": torch.randn(1, 1, 64, generator=generator).half(),
        "pos_embed": torch.randn(1, 5, 64, generator=generator).half(),
    }
    layout, places = Layout(fold_class_position=True), {"cls_token": (1, 1, 64), "pos_embed": (1, 4, 64)}
    folded = fitted(half, layout, **places)
    whole = fitted({name: tensor.float() for name, tensor in half.items()}, layout, **places)
    assert torch.equal(folded["cls_token"], whole["cls_token"])


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_in_the_place_of_real_ones_are_refused(kind: torch.dtype):
    with pytest.raises(ValueError, match="a holds whole numbers"):
        fitted({"a": torch.ones(2).to(kind)}, Layout(), a=(2,))


def test_a_counter_may_be_written_in_either_kind():
    for kind in (torch.int64, torch.float16):
        own = {"count": torch.tensor(3).to(kind)}
        assert layouts.fitted(own, Layout(), {"count": torch.tensor(0)})["count"] == 3
