"""Words -> numbers: whole vocabularies where they are at hand, others read as their publishers' libraries read them."""

import dataclasses
import gzip
import string
from pathlib import Path

import numpy as np
import open_clip
import pytest
import transformers
from encoders.vocabularies import PIECES, put_vocabulary
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode, canonicalize_text, default_bpe, get_clean_fn

from retrieval.encoders import catalogue, tokenizing, vocabularies
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.tokenizing import Tokenizer, Vocabulary
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

TEXTS = [
    "a chest radiograph with pleural effusion",
    "Ductal carcinoma in-situ,  grade 3; H&E &amp; stained \t(40x)",
    "Überschriften — naïve café’s 12.5µm",
    "<end_of_text> it's",
    "皮膚",
    "lesion " * 300,
    "x",
]
OPEN_CLIP = [spec.name for spec in catalogue.ENCODERS if spec.text and spec.text.tokenizer.clean == "lower"]
TRANSFORMERS = [spec.name for spec in catalogue.ENCODERS if spec.text and spec.text.tokenizer.clean == "nfc"]
WORDPIECE = ("biomedclip", "medclip", "keep")


def text_of(spec: EncoderSpec) -> Tokenizer:
    assert spec.text is not None
    return spec.text.tokenizer


def clip_of_transformers() -> transformers.CLIPTokenizer:
    """transformers' tokenizer of CLIP, with the byte pairs that open_clip brings under that library's names."""
    with gzip.open(default_bpe()) as file:
        lines = file.read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges)  # type: ignore[arg-type]


def every_piece() -> list[str]:
    """Each piece of CLIP's vocabulary that is text by itself, as text."""
    whole = SimpleTokenizer()
    decoded = (whole.decode([number]) for number in range(whole.vocab_size - 2))
    return [text for text in decoded if "\ufffd" not in text and text.strip()]


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_texts_become_what_open_clip_makes_of_them(name: str):
    tokenizer = text_of(find_encoder(name))
    ours = tokenizing.read(tokenizer, None).tokens(TEXTS)
    theirs = open_clip.get_tokenizer(find_encoder(name).architecture)(TEXTS)
    np.testing.assert_array_equal(ours.ids, theirs.numpy())
    np.testing.assert_array_equal(ours.hidden, ours.ids == 0)
    assert ours.read[5] == tokenizer.context - 2 < ours.pieces[5] == 600


def test_the_whole_vocabulary_is_open_clips_and_transformers_agrees():
    pieces = every_piece()
    assert len(pieces) > 48_000
    lines = [" ".join(pieces[start : start + 250]) for start in range(0, len(pieces), 250)]
    own, theirs = tokenizing.read(Tokenizer(), None), SimpleTokenizer()
    assert all(list(own.pieces(line)) == theirs.encode(line) for line in lines)
    like_transformers = tokenizing.read(Tokenizer(clean="nfc"), None)
    others = clip_of_transformers()(pieces, add_special_tokens=False).input_ids
    different = [
        piece for piece, ids in zip(pieces, others, strict=True) if list(like_transformers.pieces(piece)) != ids
    ]
    assert different == []


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_texts_become_what_transformers_makes_of_them(name: str):
    texts = [text for text in TEXTS if "<" not in text]  # its names for the ends are others
    theirs = clip_of_transformers()(texts, max_length=77, truncation=True, padding="max_length")
    ours = tokenizing.read(text_of(find_encoder(name)), None).tokens(texts)
    mask = np.array(theirs["attention_mask"]).astype(bool)
    np.testing.assert_array_equal(ours.hidden, ~mask)
    np.testing.assert_array_equal(ours.ids[mask], np.array(theirs["input_ids"])[mask])


def vocabulary_of(name: str, roots: Roots) -> tuple[Vocabulary, Path]:
    spec = find_encoder(name)
    path = put_vocabulary(spec, roots)
    assert path is not None
    return vocabularies.read(spec, roots), path


@pytest.mark.parametrize("name", WORDPIECE)
def test_word_pieces_are_those_of_transformers(name: str, weighted: Roots):
    ours, path = vocabulary_of(name, weighted)
    given = {piece: number for number, piece in enumerate(path.read_text().split())}
    theirs = transformers.BertTokenizer(vocab=given, do_lower_case=True)  # type: ignore[arg-type]
    context, clean = ours.tokenizer.context, get_clean_fn("whitespace") if name == "biomedclip" else str
    for text in [*TEXTS, "No Radiographs", "UNusual mâss", "chest" * 60]:
        expected = theirs(
            clean(text), max_length=context, truncation=True, padding="max_length" if ours.tokenizer.padded else False
        )
        tokens = ours.tokens([text])
        assert tokens.ids[0].tolist() == expected["input_ids"]
        assert (~tokens.hidden[0]).astype(int).tolist() == expected["attention_mask"]
    assert ours.tokens(["pleural effusions 2"]).unknown == (0,)
    assert ours.tokens(["pleural zebra"]).unknown == (1,)
    assert len(PIECES) + 4 == len(given)


def test_conchs_file_is_read_as_its_authors_read_it(weighted: Roots):
    ours, path = vocabulary_of("conch", weighted)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token="<start_of_text>", eos_token="<end_of_text>", pad_token="<pad>"
    )
    start, end = theirs.bos_token_id, theirs.eos_token_id
    texts = [text for text in TEXTS if "<" not in text]
    for text, row, hidden in zip(texts, *(ours.tokens(texts).ids, ours.tokens(texts).hidden), strict=True):
        pieces = theirs(text, add_special_tokens=False, truncation=True, max_length=125).input_ids
        assert row[~hidden].tolist() == [start, *pieces, end]
        assert len(row) == 127 and set(row[hidden].tolist()) <= {theirs.pad_token_id}


def test_siglip2_is_cleaned_as_open_clip_does_and_ends_in_eos(weighted: Roots):
    ours, path = vocabulary_of("siglip2_b16", weighted)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
    text = "A Chest-radiograph, with: effusion!"
    row = ours.tokens([text]).ids[0]
    pieces = theirs(canonicalize_text(text), add_special_tokens=False).input_ids
    assert row[: len(pieces) + 1].tolist() == [*pieces, theirs.convert_tokens_to_ids("<eos>")]
    assert set(row[len(pieces) + 1 :].tolist()) == {theirs.convert_tokens_to_ids("<pad>")} and len(row) == 64
    assert ours.tokens([string.punctuation]).pieces == (0,)


def test_medsiglips_pieces_are_those_of_transformers(weighted: Roots):
    ours, path = vocabulary_of("medsiglip", weighted)
    theirs = transformers.SiglipTokenizer(vocab_file=str(path))
    for text in [*TEXTS[:3], "no effusion " * 40]:
        expected = theirs(text, max_length=64, truncation=True, padding="max_length").input_ids
        assert ours.tokens([text]).ids[0].tolist() == expected
    assert ours.tokens(["皮膚"]).unknown[0] > 0


def test_what_was_not_compared_is_said():
    said = {spec.name for spec in catalogue.ENCODERS if spec.text and spec.text.tokenizer.untested}
    assert said == {
        *("biomedclip", "medclip", "medclip_upscaled", "keep", "conch", "siglip2_b16", "siglip2_so400m", "medsiglip"),
        *TRANSFORMERS,
    }


def test_a_missing_vocabulary_is_named_with_what_to_do(weighted: Roots):
    with pytest.raises(Unavailable, match=r"vocabulary of the text side of BiomedCLIP .*\(vocab\.txt\)") as refused:
        vocabularies.read(find_encoder("biomedclip"), weighted)
    assert "download --encoder biomedclip" in refused.value.remedy


@pytest.mark.parametrize("name", ["biomedclip", "conch", "medsiglip", "siglip2_b16"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff nonsense", b'{"version": "1.0"}'], ids=["empty", "bytes", "json"])
def test_a_damaged_vocabulary_is_refused(name: str, content: bytes, weighted: Roots):
    _, path = vocabulary_of(name, weighted)
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"vocabulary {path.name} .* cannot be read"):
        vocabularies.read(find_encoder(name), weighted)


def test_encoders_of_the_same_weights_share_a_vocabulary(weighted: Roots):
    path = put_vocabulary(find_encoder("medclip"), weighted)
    assert vocabularies.locate(find_encoder("medclip_upscaled"), weighted) == path


def test_texts_of_several_lengths_are_not_mixed_where_nothing_is_padded(weighted: Roots):
    ours, _ = vocabulary_of("medclip", weighted)
    with pytest.raises(ValueError, match="one by one"):
        ours.tokens(["no", "no chest"])
    with pytest.raises(ValueError, match="it has no nowhere"):
        dataclasses.replace(ours, tokenizer=dataclasses.replace(ours.tokenizer, end="nowhere")).tokens(["no"])
