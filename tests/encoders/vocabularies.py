"""Small vocabularies of each kind, where a person would put them: the publishers' own are not at hand."""

import io
import json
from pathlib import Path

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.text_towers import tower_of
from retrieval.roots import Roots

PIECES = ("pleural", "effusion", "no", "a", "chest", "##s", "radiograph", "mass", "with", "un", "##usual", "2")
SENTENCES = [
    "a chest radiograph with pleural effusion",
    "no effusion and no mass in the chest",
    "a photograph of the skin with a mole",
    "microscopy of blood cells at high magnification",
    "an unusual finding of the left lung 12 years ago",
] * 20


def put_vocabulary(spec: EncoderSpec, roots: Roots) -> Path | None:
    """Write a vocabulary beside an encoder's weights; None where it needs no file."""
    tokenizer = tower_of(spec).tokenizer
    if not tokenizer.file:
        return None
    assert roots.weights is not None
    path = roots.weights / spec.name / tokenizer.file
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name in dict.fromkeys((tokenizer.pad, tokenizer.start, tokenizer.end)) if name]
    if tokenizer.kind == "wordpiece":
        path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *PIECES]) + "\n")
    elif tokenizer.kind == "json":
        path.write_text(byte_pairs(names))
    else:
        path.write_bytes(sentence_pieces())
    return path


def byte_pairs(names: list[str]) -> str:
    """A file of the library tokenizers: byte pairs of the sentences after these names, CONCH's way."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    lower = [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    made.normalizer = normalizers.Sequence(lower)  # type: ignore[assignment]
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=400, special_tokens=names, initial_alphabet=alphabet, show_progress=False),
    )
    return json.dumps(json.loads(made.to_str()))


def sentence_pieces() -> bytes:
    """A model of the library sentencepiece with T5's numbers for its names: <pad> 0, </s> 1, <unk> 2."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()
