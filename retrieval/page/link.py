"""What the page shows, as the query part of its address: words in a link <-> a checked value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from retrieval.answers import ItemQuery
from retrieval.cells import Cell, cell, usual_sizes
from retrieval.datasets.catalogue import find_dataset
from retrieval.encoders.catalogue import encoders_for, find_encoder
from retrieval.errors import BadInput, RetrievalError, UnknownName
from retrieval.phrases import plain
from retrieval.pictures.item import size_choices
from retrieval.roots import Roots
from retrieval.votes import USUAL

FEWEST, MOST = 1, 20
ONE_PER_GROUP = "one-per-group"

_ITEM = re.compile(r"(train|test)-(\d{1,9})")
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Link:
    """What is asked: a cell, how many neighbours, and the query.

    Attributes:
        cell: Dataset, size, encoder, protocol.
        k: How many neighbours, 1 to 20.
        item: A picture of the dataset; None for an upload, or where none was chosen.
        token: Of an uploaded picture; None otherwise. It opens the picture, so it is never part of an address to share.
        uploaded: The query is, or in a shared address was, an uploaded picture.
        text: Words in the place of a picture; None otherwise.
        one_per_group: Of each group only the nearest picture is asked for.
    """

    cell: Cell
    k: int = USUAL
    item: ItemQuery | None = None
    token: str | None = None
    uploaded: bool = False
    text: str | None = None
    one_per_group: bool = False

    @property
    def names_query(self) -> bool:
        """Whether it says what is asked with."""
        return self.item is not None or self.token is not None or self.text is not None

    @property
    def asked_k(self) -> int | None:
        """k where it is not the usual one, of which a small gallery may give fewer."""
        return None if self.k == USUAL else self.k

    def with_item(self, item: ItemQuery) -> "Link":
        """The same question about a picture of the dataset."""
        return replace(self, item=item, token=None, uploaded=False, text=None)


def parse(words: Mapping[str, str], default: Cell, roots: Roots | None = None) -> Link:
    """The Link that an address asks for; what it leaves out is the default's, or what fits the dataset.

    With roots, datasets may be collections.

    Raises UnknownName or BadInput, with a sentence for whoever followed the link.
    """
    dataset = words.get("dataset", default.dataset)
    where = _cell(words, dataset, default, roots)
    token = words.get("upload")
    if token is not None and not _TOKEN.fullmatch(token):
        raise BadInput("This link names an uploaded picture in a way that is not known.", remedy="Upload it again.")
    item = words.get("item")
    uploaded = token is not None or item == "upload"
    text = words.get("text") if item is None and not uploaded else None
    return Link(
        cell=where,
        k=neighbours_wanted(words.get("k", USUAL)),
        item=None if uploaded or item is None else parse_item(item, where),
        token=token,
        uploaded=uploaded,
        text=None if text is None else plain(text),
        one_per_group=_one_per_group(words, where),
    )


def to_words(link: Link, *, private: bool = False) -> str:
    """The query part of an address, without its question mark.

    `private` adds the token of an upload: for this visitor's own page only, never for an address to share.
    """
    words: dict[str, str | int] = {
        "dataset": link.cell.dataset,
        "size": link.cell.size,
        "encoder": link.cell.encoder,
        "protocol": link.cell.protocol,
        "k": link.k,
    }
    if link.item is not None:
        words["item"] = f"{link.item.split}-{link.item.index}"
    elif link.token is not None and private:
        words["upload"] = link.token
    elif link.uploaded:
        words["item"] = "upload"
    elif link.text is not None:
        words["text"] = link.text
    if link.one_per_group:
        words["cards"] = ONE_PER_GROUP
    return urlencode(words)


def parse_item(text: str, where: Cell) -> ItemQuery:
    """`test-12` or `train-3` as a query; BadInput where the split has no such picture."""
    match = _ITEM.fullmatch(text)
    if match is None:
        raise BadInput(f"{text[:40]!r} names no picture.", remedy="A picture is named like test-12 or train-3.")
    return item_at("test" if match[1] == "test" else "train", int(match[2]), where)


def item_at(split: object, index: object, where: Cell) -> ItemQuery:
    """The picture of this split and index as a query; BadInput where there is none."""
    if split not in ("train", "test"):
        raise BadInput("Only pictures of the test and train splits can be asked with.", remedy="Choose one of them.")
    count = where.data.counts[str(split)]
    number = whole_number(index)
    if number is None or not 0 <= number < count:
        said = str(index)[:20] if number is None else number
        raise BadInput(
            f"{where.data.title} has no {split} picture {said}.", remedy=f"Give a whole number from 0 to {count - 1:,}."
        )
    return ItemQuery(split="test" if split == "test" else "train", index=number)


def neighbours_wanted(value: object) -> int:
    """k as a whole number from 1 to 20; BadInput otherwise."""
    number = whole_number(value)
    if number is None or not FEWEST <= number <= MOST:
        remedy = f"Ask for {FEWEST} to {MOST} neighbours."
        raise BadInput(f"{str(value)[:20]!r} is no number of neighbours.", remedy=remedy)
    return number


def whole_number(value: object) -> int | None:
    """What a menu, a box or a link gave as a whole number; None where it is none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def fitting_cell(dataset: str, like: Cell, roots: Roots | None = None) -> Cell:
    """The cell of a dataset that keeps as much of another cell as fits: its size, extractor and protocol.

    Of a collection it is the pictures as they are.
    """
    data = find_dataset(dataset, roots)
    size = like.size if like.size in usual_sizes(data) else data.sizes[0]
    fitting = [spec.name for spec in encoders_for(data)]
    encoder = like.encoder if like.encoder in fitting else fitting[0]
    return cell(dataset, size, encoder, like.protocol, roots=roots)


def _one_per_group(words: Mapping[str, str], where: Cell) -> bool:
    if (cards := words.get("cards", "")) not in ("", ONE_PER_GROUP):
        raise UnknownName("choice of cards", cards[:20], [ONE_PER_GROUP])
    if cards and not where.data.grouped:
        raise BadInput(f"{where.data.title} has no groups to show one card of each.", remedy="Ask for single pictures.")
    return bool(cards)


def _cell(words: Mapping[str, str], dataset: str, default: Cell, roots: Roots | None) -> Cell:
    fitting = fitting_cell(dataset, default, roots)
    size = whole_number(words.get("size", fitting.size))
    if size is None:
        raise UnknownName(f"size of {dataset}", words["size"][:20], size_choices(fitting.data.sizes))
    encoder = words.get("encoder", fitting.encoder)
    usual = fitting.protocol if find_encoder(encoder).precision == "fp32" else None  # else the first that takes it
    return cell(dataset, size, encoder, words.get("protocol", usual), roots=roots)


def explain(error: RetrievalError) -> str:
    """What to say of a link that cannot be followed."""
    return f"This link cannot be followed whole. {error.message} {error.remedy}".strip()
