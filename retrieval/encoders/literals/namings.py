"""Layouts that several encoders share: how DINOv2's checkpoints are named by Meta and by transformers, for timm.

Meta's names come with blocks in chunks and the teacher's `backbone.` before them, or without; transformers' names from
its version 4 and from 5 (its conversion_mapping says which became which). One layout reads all of them, since a rule
that meets nothing does nothing.
"""

from dataclasses import replace

from retrieval.encoders.specs import Layout

# A network without registers keeps the class token's position in the grid; timm has it so, too.
DINOV2 = Layout(
    unwrap=("teacher",),
    drop=(r"(?:backbone\.|embeddings\.)?mask_token", r"(?:dino|ibot)_head\..*"),
    rename=(
        (r"^backbone\.", ""),
        (r"^blocks\.\d+\.(?=\d+\.)", "blocks."),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.", ""),
        (r"^register_tokens$", "reg_token"),
        (r"^encoder\.layer\.", "blocks."),
        (r"\.attention\.(?:attention\.query|q_proj)\.", ".attn.q."),
        (r"\.attention\.(?:attention\.key|k_proj)\.", ".attn.k."),
        (r"\.attention\.(?:attention\.value|v_proj)\.", ".attn.v."),
        (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
        (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
        (r"\.mlp\.(?:weights_in|w12)\.", ".mlp.fc1."),
        (r"\.mlp\.(?:weights_out|w3|down_proj)\.", ".mlp.fc2."),
        (r"^layernorm\.", "norm."),
    ),
    fuse=(("attn.qkv", ("attn.q", "attn.k", "attn.v")), ("mlp.fc1", ("mlp.gate_proj", "mlp.up_proj"))),
)

# With registers timm has no position for the class token: it is added to the token itself.
DINOV2_REGISTERS = replace(DINOV2, fold_class_position=True)
