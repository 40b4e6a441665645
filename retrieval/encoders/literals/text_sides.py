"""The text sides of the encoders whose pictures and texts share a space: tokenizers, names of tensors, poolings."""

from dataclasses import replace

from retrieval.encoders.literals.contrastive import OPEN_CLIP, OPEN_CLIP_CUSTOM
from retrieval.encoders.specs import Joint, Layout, Step, TextTower
from retrieval.encoders.tokenizing import Tokenizer

# Beside a text side, all that the pictures need is left where it is.
_PICTURES = r"visual\..*"
_TEMPERATURE = ("logit_scale", "logit_bias")
_COUNTED = r".*\.position_ids"  # that transformers 4 wrote as if they were weights
_END = "output at the end-of-text token after the last norm, projected, length 1 (L2)"

# --- open_clip's own text sides

CLIP = TextTower(tokenizer=Tokenizer(), pooling=_END, layout=replace(OPEN_CLIP, drop=(_PICTURES, *OPEN_CLIP.drop)))
CLIP_CUSTOM = replace(CLIP, layout=replace(OPEN_CLIP_CUSTOM, drop=(_PICTURES, *OPEN_CLIP_CUSTOM.drop)))
PE_CORE = replace(CLIP_CUSTOM, tokenizer=Tokenizer(context=32))

_GEMMA = Tokenizer(
    kind="json",
    context=64,
    start="",
    end="<eos>",
    pad="<pad>",
    clean="canonicalize",
    file="tokenizer.json",
    repo="timm/ViT-B-16-SigLIP2",
    untested="Its vocabulary (Gemma's 256,000 pieces) was not at hand: how it is read was tested with others, and that "
    "a text has no piece at its beginning and <eos> at its end is from memory.",
)
SIGLIP2_B = replace(
    CLIP_CUSTOM,
    tokenizer=_GEMMA,
    pooling="output at the last of the 64 places, projected, length 1 (L2); padding is seen as in the training",
)
SIGLIP2_SO400M = replace(SIGLIP2_B, tokenizer=replace(_GEMMA, repo="timm/ViT-SO400M-14-SigLIP2"))

# CoCa's: the class token stands last and is no piece of the text, so that 127 of the 128 places are left.
CONCH = TextTower(
    tokenizer=Tokenizer(
        kind="json",
        context=127,
        pad="<pad>",
        clean="",
        file="conch_byte_level_bpe_uncased.json",
        url="https://raw.githubusercontent.com/mahmoodlab/CONCH/141cc09c7d4ff33d8eda562bd75169b457f71a62/conch/"
        "open_clip_custom/tokenizers/conch_byte_level_bpe_uncased.json",
        untested="Its vocabulary was compared whole with the authors' way of reading it once; no test repeats that, "
        "since their file may not be passed on.",
    ),
    pooling="the class token, which stands last, after the last norm, projected, length 1 (L2)",
    arguments={
        "config": {
            "embed_dim": 512,
            "custom_text": True,
            "text_cfg": {
                "context_length": 127,
                "vocab_size": 32007,
                "width": 768,
                "heads": 12,
                "layers": 12,
                "embed_cls": True,
                "pad_id": 0,
            },
        }
    },
    layout=Layout(drop=(_PICTURES, r"text_decoder\..*", *_TEMPERATURE), absent=_TEMPERATURE),
    joint=Joint(
        pooling="attention of one query on all tokens, layer norm, projected into the space of texts, length 1",
        layout=Layout(
            drop=(
                *(r"text\..*", r"text_decoder\..*", r"logit_scale"),
                *(r"visual\.attn_pool_caption\..*", r"visual\.ln_caption\..*"),
            ),
            rename=(
                (r"^visual\.trunk\.", ""),
                (r"^visual\.(attn_pool_contrast|ln_contrast)\.", r"feature.\1."),
                (r"^visual\.proj_contrast$", "feature.proj_contrast"),
            ),
        ),
        steps=(
            Step("attend", name="attn_pool_contrast", shape=(512, 768), heads=8, eps=1e-5),
            Step("norm", name="ln_contrast", shape=(512,), eps=1e-5),
            Step("project", name="proj_contrast", shape=(512, 512)),
            Step("l2"),
        ),
    ),
)

# --- transformers' CLIP and SigLIP

_CLIP_PIECES = Tokenizer(
    clean="nfc",
    untested="That its vocabulary is CLIP's own: its authors started from CLIP and name no other, but their file was "
    "not at hand.",
)
CLIP_512 = TextTower(
    tokenizer=_CLIP_PIECES,
    pooling=_END,
    library="transformers",
    architecture="CLIPTextModelWithProjection",
    arguments={
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "projection_dim": 512,
        "hidden_act": "quick_gelu",
    },
    layout=Layout(
        unwrap=("state_dict",), drop=(r"vision_model\..*", r"visual_projection\..*", *_TEMPERATURE, _COUNTED)
    ),
)
CLIP_768 = replace(
    CLIP_512,
    arguments={
        **CLIP_512.arguments,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
)
MEDSIGLIP = TextTower(
    tokenizer=Tokenizer(
        kind="sentencepiece",
        context=64,
        start="",
        end="</s>",
        pad="</s>",
        clean="",
        file="spiece.model",
        repo="google/medsiglip-448",
        revision="9cea28a1a1195f665105faa6e8544c112fd960a4",
        untested="Its vocabulary was not at hand: how it is read was tested with another of its kind, and the name of "
        "its file is from memory.",
    ),
    pooling="output at the last of the 64 places, projected, length 1 (L2); padding is seen as in the training",
    library="transformers",
    architecture="SiglipTextModel",
    arguments={
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "projection_size": 1152,
    },
    layout=Layout(unwrap=("state_dict",), drop=(r"vision_model\..*", *_TEMPERATURE, _COUNTED)),
)

# --- BERT

_BERT = {"add_pooling_layer": False, "vocab_size": 30522, "num_hidden_layers": 12}
_WORDPIECE = Tokenizer(
    kind="wordpiece", context=256, start="[CLS]", end="[SEP]", pad="[PAD]", clean="", file="vocab.txt"
)
_UNSEEN = "Its vocabulary was not at hand: how it is read was tested with another of its kind"

BIOMEDCLIP = TextTower(
    tokenizer=replace(
        _WORDPIECE,
        clean="whitespace",
        repo="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        revision="d673b8835373c6fa116d6d8006b33d48734e305d",
        untested=f"{_UNSEEN}.",
    ),
    pooling="class token of the last hidden state, linear to 640, GELU, linear to 512, length 1 (L2)",
    library="transformers",
    architecture="BertModel",
    arguments=_BERT,
    masked=True,
    layout=Layout(
        drop=(_PICTURES, *_TEMPERATURE, _COUNTED),
        rename=((r"^text\.transformer\.", ""), (r"^text\.proj\.", "feature.proj.")),
    ),
    steps=(
        Step("cls"),
        Step("linear", name="proj.0", shape=(640, 768)),
        Step("gelu"),
        Step("linear", name="proj.2", shape=(512, 640)),
        Step("l2"),
    ),
)
KEEP = TextTower(
    tokenizer=replace(
        _WORDPIECE, repo="Astaxanthin/KEEP", untested=f"{_UNSEEN}, and the name of its file is from memory."
    ),
    pooling="class token of the last hidden state, linear, tanh (BERT's pooler), length 1 (L2)",
    library="transformers",
    architecture="BertModel",
    arguments=_BERT,
    masked=True,
    layout=Layout(
        drop=(_PICTURES, r"visual_head\..*", *_TEMPERATURE, _COUNTED),
        rename=((r"^text\.pooler\.", "feature.pooler."), (r"^text\.", "")),
    ),
    steps=(
        Step("cls"),
        Step("linear", name="pooler.dense", shape=(768, 768), bias=True),
        Step("tanh"),
        Step("l2"),
    ),
)
# Its authors count padding in the mean, so that a text's vector depends on what it is embedded with: here it is alone.
MEDCLIP = TextTower(
    tokenizer=replace(
        _WORDPIECE,
        context=77,
        padded=False,
        repo="emilyalsentzer/Bio_ClinicalBERT",
        revision="d5892b39a4adaed74b92212a44081509db72f87b",
        untested=f"{_UNSEEN}, and that texts come in lower case, though the vocabulary has capitals, is what "
        "transformers does where no file says otherwise.",
    ),
    pooling="mean over all places of the mean of hidden states 1, 2 and last, linear to 512, length 1 (L2); no padding",
    library="transformers",
    architecture="BertModel",
    arguments={**_BERT, "vocab_size": 28996},
    layers=(1, 2, -1),
    masked=True,
    layout=Layout(
        drop=(r"vision_model\..*", *_TEMPERATURE, _COUNTED, r"text_model\.model\.pooler\..*"),
        rename=((r"^text_model\.model\.", ""), (r"^text_model\.projection_head\.", "feature.projection.")),
    ),
    steps=(Step("mean", skip=0), Step("linear", name="projection", shape=(512, 768)), Step("l2")),
)
