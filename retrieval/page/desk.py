"""Where questions are answered for the page: a Link in, what the page draws out. No Gradio here."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from retrieval import phrases, readiness, search
from retrieval.answers import Answer, Query, Readiness, TextQuery, UploadQuery
from retrieval.cells import Cell
from retrieval.datasets.catalogue import DATASETS
from retrieval.datasets.download import plain_size
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.datasets.relevance import class_names
from retrieval.datasets.specs import Split, SplitName
from retrieval.embeddings.embedding import Progress
from retrieval.encoders import loading, vocabularies, weights
from retrieval.errors import Busy, RetrievalError, Unavailable, UnknownName
from retrieval.page import addresses, extractors, underway, view
from retrieval.page.link import Link, explain, fitting_cell, parse, whole_number
from retrieval.page.uploads import Uploads
from retrieval.protocols import PROTOCOLS
from retrieval.roots import Roots, queueing_allowed

PREFERRED = Cell(dataset="breastmnist", size=28, encoder="efficientnet_lite0", protocol="paper")
PHANTOMS = Cell(dataset="phantoms", size=64, encoder="efficientnet_lite0", protocol="paper")
UPLOAD_NOT_IN_LINK = (
    "This link came from an uploaded picture, which cannot be part of a link. Here is a test picture in its place."
)


@dataclass(frozen=True)
class Desk:
    """What every question needs.

    Attributes:
        roots: Where things lie.
        uploads: The visitors' pictures.
        start: What is asked where nothing was chosen yet.
        serial: Numbers for what is sent to pages.
    """

    roots: Roots
    uploads: Uploads
    start: Cell
    serial: Iterator[int] = field(default_factory=itertools.count, repr=False, compare=False)

    def handle(
        self, words: Mapping[str, str], *, history: view.History = "push", address: bool = False
    ) -> dict[str, Any]:
        """What the page draws for the words of a question.

        Besides those of a link, `sample` asks for a test picture (of the class with that number, if any is given), `v`
        is the version of the answer whose card is asked with, and `forget` names an upload to delete first. `address`:
        the words come from a link, so what cannot be followed in them is said above an answer to what can.
        """
        self.uploads.forget(words.get("forget", ""))
        if address and "dataset" not in words:
            return self.ask(self.with_query(self.opening()), history=history)
        try:
            asked = parse(words, self.start, self.roots)
            addresses.check_version(asked.cell, words.get("v", ""))
            link = self.with_query(asked, label=_label(words.get("sample", ""), asked.cell))
        except RetrievalError as error:
            if not address:
                return view.refused(error)
            return self.ask(self.with_query(self.opening()), history=history, notice=explain(error))
        notice = UPLOAD_NOT_IN_LINK if address and asked.uploaded and asked.token is None else ""
        return self.ask(link, history=history, notice=notice)

    def opening(self) -> Link:
        """What a visitor sees first: the start if it can be answered soon, else what the project draws itself."""
        for where in (self.start, PHANTOMS):
            if readiness.of_pictures(where, self.roots).state in ("ready", "minute"):
                return Link(cell=where)
        return Link(cell=self.start)

    def ask(self, link: Link, *, history: view.History = "push", notice: str = "") -> dict[str, Any]:
        """What the page draws for this question, and the collections that there are now, for its menu."""
        return {**self._asked(link, history, notice), "collections": view.collections(self.roots)}

    def _asked(self, link: Link, history: view.History, notice: str) -> dict[str, Any]:
        """An answer, or what is missing and what to do."""
        try:
            if link.text is not None:
                return self._by_words(link, history, notice)
            ready = self._ready(link)
            getting = self._getting(link.cell, ready)
            refuses = link.token and view.no_upload(link.cell, ready)
            if getting and (ready.state != "ready" or refuses):
                return view.no_weights(getting, link, history=history, notice=notice)
            if ready.state != "ready" or refuses:
                return view.not_ready(ready, link, history=history, notice=notice)
            return self._answered(link, ready, history, notice, getting)
        except RetrievalError as error:
            return view.unavailable(error, link, history=history, notice=notice)

    def compute(self, words: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Compute in place what the cell of these words lacks, saying how far it is, then answer."""
        link = Link(cell=self.start)
        try:
            link = parse(words, self.start, self.roots)
            yield view.working(said="Getting ready: the extractor is loaded first.", fraction=0.0)
            for said, fraction in underway.steps(lambda say: self._prepare(link, say)):
                yield view.working(said=said, fraction=fraction)
        except RetrievalError as error:
            yield view.unavailable(error, link, history="keep")
            return
        yield self.ask(self.with_query(link), history="replace")

    def download(self, words: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Fetch the weights of the extractor of these words, saying how far it is, then compute and answer.

        It stops when nobody listens any more. What has come by then is kept, and the next time goes on from there.
        """
        link = Link(cell=self.start)
        try:
            link = parse(words, self.start, self.roots)
            yield view.working(said=f"Asking for the weights of {link.cell.spec.title}…", fraction=None)
            for said, fraction in underway.steps(lambda say: self._fetch(link.cell, say), stops=True):
                yield view.working(said=said, fraction=fraction)
        except RetrievalError as error:
            yield self._not_fetched(error, link)
            return
        if self._ready(link).state == "minute":
            yield from self.compute(words)
        else:
            yield self.ask(self.with_query(link), history="replace")

    def _ready(self, link: Link) -> Readiness:
        """What can be answered now of what the link asks with: words or a picture.

        Where visitors may not queue, only protocols that the menu offers are computed in place: of those with another
        number of dimensions there are thousands, and what each leaves fills the disk.
        """
        if link.text is not None:
            return readiness.of_words(link.cell, self.roots)
        ready = readiness.of_pictures(link.cell, self.roots)
        if ready.state != "minute" or link.cell.rules in PROTOCOLS or queueing_allowed():
            return ready
        message = f"{ready.message} On this server only protocols that the menu offers are computed for visitors."
        command = readiness.command(link.cell).removeprefix("Run: ")
        remedy = f"Choose one of them, or run on the machine that serves this page: {command}"
        return replace(ready, state="command", message=message, remedy=remedy)

    def _prepare(self, link: Link, say: Progress) -> None:
        """Compute what the link's question lacks; Unavailable where that takes longer than a visitor waits."""
        ready = self._ready(link)
        if ready.state == "ready":
            return
        if ready.state != "minute":
            raise Unavailable(ready.message, remedy=ready.remedy)
        makes = search.prepare if link.text is None else phrases.gallery
        makes(link.cell, self.roots, progress=say)

    def _by_words(self, link: Link, history: view.History, notice: str) -> dict[str, Any]:
        """What the page draws for a question in words."""
        ready = self._ready(link)
        pictures = readiness.of_pictures(link.cell, self.roots)
        fitting = link.cell.spec.text is not None and link.cell.data.ndim == 2
        getting = self._getting(link.cell, pictures) if fitting and ready.state == "unavailable" else None
        if getting:
            return view.no_weights(getting, link, history=history, notice=notice)
        if ready.state != "ready":
            return view.not_ready(ready, link, history=history, notice=notice)
        return self._answered(link, pictures, history, notice, None)

    def _fetch(self, cell: Cell, say: Progress) -> None:
        """Only what the menu says can be downloaded: what is gated is for the command line, where the token is."""
        spec = cell.spec
        if extractors.lacks(spec, self.roots) not in (None, "download"):
            raise weights.missing(spec)

        def report(done: int, total: int | None) -> None:
            whole = f" of {plain_size(total)}" if total else ""
            say(f"Downloading {spec.title}: {plain_size(done)}{whole}.", done / total if total else 0.0)

        path = weights.fetch(spec, self.roots, progress=report)
        say(f"Checking what came for {spec.title}.", 1.0)
        loading.received(spec, path, self.roots)
        if spec.text is not None:
            with contextlib.suppress(Unavailable, Busy):  # pictures do without; asking with words says what is missing
                vocabularies.fetch(spec, self.roots)

    def _not_fetched(self, error: RetrievalError, link: Link) -> dict[str, Any]:
        """Why a download ended, on the panel that it began from."""
        stored = readiness.of_pictures(link.cell, self.roots).state == "ready"
        getting = extractors.getting(link.cell.spec, link.cell, self.roots, sampled=stored, trouble=str(error))
        if getting is None:
            return view.unavailable(error, link, history="keep")
        return view.no_weights(getting, link, history="keep")

    def _getting(self, cell: Cell, ready: Readiness) -> dict[str, Any] | None:
        """How to get the weights, where they are what is missing."""
        if not is_at_hand(cell.data, cell.size, self.roots):
            return None
        return extractors.getting(cell.spec, cell, self.roots, sampled=ready.state == "ready")

    def with_query(self, link: Link, *, label: int | None = None) -> Link:
        """The link itself where it names a query; otherwise with a test picture at random, of one class if asked.

        Without one where the data are missing: asking says that in full. BadInput where a class has no test picture.
        """
        if link.names_query:
            return link
        try:
            return link.with_item(search.sample(link.cell, self.roots, label=label))
        except Unavailable:
            return link

    def find(self, link: Link) -> Answer:
        """The Answer itself; RetrievalError where there is none. Extractors embed one or two pictures at a time."""
        with self.uploads.turns if link.token or link.text else contextlib.nullcontext():
            return search.find(
                self.query(link), link.cell, self.roots, k=link.asked_k, one_per_group=link.one_per_group
            )

    def find_ready(self, link: Link) -> Answer:
        """As `find`, but Unavailable wherever the page itself would not answer at once: nothing is computed for it."""
        ready = self._ready(link)
        if ready.state != "ready":
            remedy = "Ask for it on the page first." if ready.state == "minute" else ready.remedy
            raise Unavailable(ready.message, remedy=remedy)
        if link.token and (refused := view.no_upload(link.cell, ready)):
            raise Unavailable(refused)
        return self.find(link)

    def query(self, link: Link) -> Query:
        """What is asked with; Unavailable where the link names nothing that is here."""
        if link.token is not None:
            upload = self.uploads.open(link.token)
            return UploadQuery(path=upload.query_path(ndim=link.cell.data.ndim, size=link.cell.size))
        if link.text is not None:
            return TextQuery(link.text)
        if link.item is None:
            raise Unavailable("There is no picture to ask with.", remedy="Sample a test picture or upload one.")
        return link.item

    def splits(self, link: Link) -> dict[str, Split]:
        """The gallery, and the query's own split where it is a picture of the dataset."""
        names: set[SplitName] = {link.cell.rules.gallery, *([link.item.split] if link.item else [])}
        return {name: open_split(link.cell.data, link.cell.size, name, self.roots) for name in names}

    def _answered(
        self, link: Link, ready: Readiness, history: view.History, notice: str, getting: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        upload = self.uploads.open(link.token) if link.token else None
        answer, splits = self.find(link), self.splits(link)
        return view.answered(
            answer,
            link,
            splits=splits,
            upload=upload,
            readiness=ready,
            history=history,
            notice=notice,
            getting=getting,
        )


def start_cell(roots: Roots) -> Cell:
    """What the page opens with: real data where any is at hand, by the names of files alone; phantoms otherwise."""
    real = [PREFERRED] + [fitting_cell(data.name, PREFERRED) for data in DATASETS if not data.synthetic]
    at_hand = (
        replace(where, size=size) for where in real for size in where.data.sizes if is_at_hand(where.data, size, roots)
    )
    return next(at_hand, PHANTOMS)


def _label(text: str, cell: Cell) -> int | None:
    """The number of a class, None for any; UnknownName where there is no such class."""
    if text == "":
        return None
    number = whole_number(text)
    if number is None or not 0 <= number < len(class_names(cell.data)):
        raise UnknownName(f"class of {cell.dataset}", text[:20], range(len(class_names(cell.data))))
    return number
