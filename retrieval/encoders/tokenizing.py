"""A text -> the numbers that a text side takes: a Tokenizer is a literal, its vocabulary a file or a library's own."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Tokenizer:
    """How a text becomes the numbers that a text side takes.

    Attributes:
        kind: `clip`: the byte pairs that open_clip brings. `wordpiece`: BERT's pieces in lower case, of a list with one
            a line. `json`: as the library tokenizers has written it. `sentencepiece`: SigLIP's pieces.
        context: Numbers of one text at most, those of `start` and `end` among them; of a longer one the rest is cut.
        start, end, pad: Names of what stands before, after, and in the places that are left; empty: none.
        clean: What is done to a text before: open_clip's `lower`, `whitespace` or `canonicalize`; `nfc` (Unicode's
            composed form, single spaces, lower case), as transformers' CLIP; empty: nothing.
        padded: Whether to `context`. Else each text goes by itself, at its own length.
        file: Of the vocabulary; empty where a library brings it.
        repo, revision: Where the Hub has it.
        url: Or its publisher's address.
        untested: What of it could not be compared with the publisher's own, a sentence; empty where all could.
    """

    kind: Literal["clip", "wordpiece", "json", "sentencepiece"] = "clip"
    context: int = 77
    start: str = "<start_of_text>"
    end: str = "<end_of_text>"
    pad: str = ""
    clean: Literal["", "lower", "whitespace", "canonicalize", "nfc"] = "lower"
    padded: bool = True
    file: str = ""
    repo: str = ""
    revision: str = ""
    url: str = ""
    untested: str = ""


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as numbers.

    Attributes:
        ids: int64 [N, T].
        hidden: bool [N, T]: the places of padding.
        pieces: Of each text, without its ends.
        read: How many of them were not cut.
        unknown: How many of those read the vocabulary does not have.
    """

    ids: np.ndarray
    hidden: np.ndarray
    pieces: tuple[int, ...]
    read: tuple[int, ...]
    unknown: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A tokenizer that was read.

    Attributes:
        pieces: A text, cleaned, to the numbers of its pieces, without ends.
        number: A piece's name to its number; None where there is no such piece.
        unknown: The name of the piece for what has none; empty where every text can be written in pieces.
    """

    tokenizer: Tokenizer
    pieces: Callable[[str], Sequence[int]]
    number: Callable[[str], int | None]
    unknown: str = ""

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Texts with their ends, cut to the context from behind and padded as the tokenizer says.

        ValueError for texts of several lengths where nothing is padded.
        """
        rule = self.tokenizer
        start, end = ([self._named(name)] if name else [] for name in (rule.start, rule.end))
        whole = [list(self.pieces(text)) for text in texts]
        room = rule.context - len(start) - len(end)
        read = [pieces[:room] for pieces in whole]
        rows = [[*start, *pieces, *end] for pieces in read]
        width = rule.context if rule.padded else len(rows[0])
        if not rule.padded and any(len(row) != width for row in rows):
            raise ValueError("texts that are not padded go one by one")
        pad = self._named(rule.pad) if rule.pad else 0
        ids = np.array([row + [pad] * (width - len(row)) for row in rows], np.int64)
        hidden = np.arange(width) >= np.array([[len(row)] for row in rows])
        nothing = self._named(self.unknown) if self.unknown else -1
        counts = (tuple(map(len, texts)) for texts in (whole, read))
        return Tokens(ids, hidden, *counts, unknown=tuple(pieces.count(nothing) for pieces in read))

    def _named(self, name: str) -> int:
        number = self.number(name)
        if number is None:
            raise ValueError(f"it has no {name}")
        return number


def read(tokenizer: Tokenizer, path: Path | None) -> Vocabulary:
    """The vocabulary of a tokenizer, from its file where it has one.

    ValueError or OSError where the file is none, or lacks the pieces that stand at a text's ends.
    """
    readers = {"clip": _clip, "wordpiece": _wordpiece, "json": _json, "sentencepiece": _sentencepiece}
    vocabulary = readers[tokenizer.kind](tokenizer, path)
    vocabulary.tokens([""])  # the ends are there
    return vocabulary


def _clip(tokenizer: Tokenizer, _: Path | None) -> Vocabulary:
    from open_clip.tokenizer import SimpleTokenizer

    pairs: Any = SimpleTokenizer()
    pairs.clean_fn = _cleaning(tokenizer)
    return Vocabulary(tokenizer, pairs.encode, pairs.encoder.get)


def _wordpiece(tokenizer: Tokenizer, path: Path | None) -> Vocabulary:
    from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

    names = Path(str(path)).read_text(encoding="utf-8").splitlines()
    lacking = {"[UNK]", "[CLS]", "[SEP]"} - set(names)
    if lacking:
        raise ValueError(f"it has no {min(lacking)}")
    pieces = BertWordPieceTokenizer({name: number for number, name in enumerate(names)}, lowercase=True)
    return _of_library(tokenizer, pieces, unknown="[UNK]")


def _json(tokenizer: Tokenizer, path: Path | None) -> Vocabulary:
    from tokenizers import Tokenizer as Written

    try:
        pieces = Written.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(str(error)) from error
    pieces.no_truncation()
    pieces.no_padding()
    return _of_library(tokenizer, pieces)


def _of_library(tokenizer: Tokenizer, pieces: Any, *, unknown: str = "") -> Vocabulary:
    clean = _cleaning(tokenizer)

    def encode(text: str) -> Sequence[int]:
        return pieces.encode(clean(text), add_special_tokens=False).ids

    return Vocabulary(tokenizer, encode, pieces.token_to_id, unknown)


def _sentencepiece(tokenizer: Tokenizer, path: Path | None) -> Vocabulary:
    """SigLIP's, by transformers: lower case and no punctuation are its own doing."""
    from transformers import SiglipTokenizer

    try:
        pieces: Any = SiglipTokenizer(vocab_file=str(path))
    except (RuntimeError, TypeError) as error:  # of the library below it
        raise ValueError(str(error)) from error
    known = pieces.get_vocab()
    return Vocabulary(tokenizer, lambda text: pieces.encode(text, add_special_tokens=False), known.get, "<unk>")


def _cleaning(tokenizer: Tokenizer) -> Callable[[str], str]:
    if not tokenizer.clean:
        return lambda text: text
    if tokenizer.clean == "nfc":
        return lambda text: " ".join(unicodedata.normalize("NFC", text).split()).lower()
    from open_clip.tokenizer import get_clean_fn

    return get_clean_fn(tokenizer.clean)
