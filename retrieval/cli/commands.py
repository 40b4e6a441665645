"""`python -m retrieval ...`: each command asks the engine and gives its answer. Exit 0 done, 1 said no, 2 usage."""

import logging
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from retrieval import doctor as examination
from retrieval import evaluation, leaderboard
from retrieval.answers import TextQuery
from retrieval.cells import Cell, cell
from retrieval.cli import archives, asking, collecting, documents, precomputing, texts, verifying
from retrieval.cli.answering import SAID_NO, Form, count_on_stderr, give, saying_no, share_on_stderr
from retrieval.cli.device_options import Device
from retrieval.datasets import opening
from retrieval.datasets.catalogue import datasets, find_dataset
from retrieval.datasets.download import plain_size
from retrieval.embeddings.embedding import Embeddings
from retrieval.encoders import loading, vocabularies, weights
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import RetrievalError
from retrieval.jobs import worker as queued
from retrieval.published import published_row
from retrieval.ranking.neighbours import Side
from retrieval.roots import Roots, roots_from_environment
from retrieval.search import prepare
from retrieval.shipping import ship

app = typer.Typer(
    name="python -m retrieval",
    help="Similar medical pictures, and how far to trust them. For research, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DatasetName = Annotated[str, typer.Option("--dataset", help="Its name: see `list datasets`.")]
Size = Annotated[
    int | None,
    typer.Option("--size", help="Side in pixels; left out, a collection's pictures as they are, its volumes at 28."),
]
EncoderName = Annotated[str, typer.Option("--encoder", help="The feature extractor's name: see `list encoders`.")]
ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="How vectors are compared: paper, cosine, whitening, or with N dimensions pca-N, pca_whitening-N, "
        "autoencoder-N, umap-N; all fitted on the gallery only.",
    ),
]
FormOption = Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")]


class Kind(StrEnum):
    """What `list` can list."""

    DATASETS = "datasets"
    ENCODERS = "encoders"
    RESULTS = "results"


class BoardForm(StrEnum):
    """How the leaderboard is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def main() -> None:
    """Run the command line and exit."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    app()


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument()], form: FormOption = Form.TEXT) -> None:
    """Datasets, extractors, or results at hand."""
    with saying_no(form):
        roots = roots_from_environment()
        if kind is Kind.DATASETS:
            rows = [documents.dataset(each, roots) for each in datasets(roots)]
        elif kind is Kind.ENCODERS:
            rows = [documents.encoder(each, roots) for each in ENCODERS]
        else:
            rows = [documents.result(each) for each in evaluation.current_results(roots)]
    give(rows, form, text=texts.listing(rows, kind))


@app.command()
def download(
    dataset: Annotated[str | None, typer.Option("--dataset", help="A dataset's name.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side in pixels; the smallest if left out.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="An extractor whose weights to fetch.")] = None,
    form: FormOption = Form.TEXT,
) -> None:
    """Fetch data or weights into the cache.

    They come from their own publisher; what is at hand already is not fetched.
    """
    if (dataset is None) == (encoder is None):
        raise typer.BadParameter("name either --dataset or --encoder.")
    if size is not None and encoder is not None:
        raise typer.BadParameter("--size is of a dataset: weights are the same at each.")
    with saying_no(form):
        roots = roots_from_environment()
        document = _fetch_weights(encoder, roots) if encoder is not None else _fetch_data(dataset or "", size, roots)
    give(document, form, text=texts.fetched(document))


def _fetch_data(name: str, size: int | None, roots: Roots) -> dict:
    dataset = find_dataset(name, roots)
    side = dataset.sizes[0] if size is None else size
    path = opening.fetch_file(dataset, side, roots, progress=share_on_stderr())
    return {"dataset": dataset.name, "size": side, "file": str(path) if path else None}


def _fetch_weights(name: str, roots: Roots) -> dict:
    """What is to be known beforehand goes to stderr."""
    spec = find_encoder(name)
    typer.echo(texts.terms(documents.encoder(spec, roots)), err=True)
    path = weights.fetch(spec, roots, progress=count_on_stderr(f"Weights of {spec.title}", shown=plain_size))
    return documents.fetched(spec, loading.received(spec, path, roots)) | _fetch_vocabulary(spec, roots)


def _fetch_vocabulary(spec: EncoderSpec, roots: Roots) -> dict[str, str | None]:
    """Where the vocabulary of its text side lies; pictures do without, so that a failure is said and no more."""
    if spec.text is None or not spec.text.tokenizer.file:
        return {}
    try:
        return {"vocabulary": str(vocabularies.fetch(spec, roots))}
    except RetrievalError as error:
        typer.echo(f"Words cannot be asked with yet. {error}", err=True)
        return {"vocabulary": None}


@app.command()
def doctor(form: FormOption = Form.TEXT) -> None:
    """What is at hand, what is missing."""
    with saying_no(form):
        checks = examination.examine(roots_from_environment())
    give({"checks": [documents.check(each) for each in checks]}, form, text=texts.examination(checks))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="If left out, GRADIO_SERVER_PORT or 7860.")] = None,
) -> None:
    """Serve the page."""
    with saying_no(Form.TEXT):
        from retrieval.page.serve import serve as serve_page

        serve_page(roots_from_environment(), host=host, port=port)


@app.command()
def worker(
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when no job is left.")] = False,
    device: Device = "auto",
) -> None:
    """Do the jobs that were queued on the page.

    One worker is enough; it goes on where an earlier one was stopped.
    """
    with saying_no(Form.TEXT):
        queued.work(roots_from_environment(), device=device, until_empty=until_empty)


@app.command()
def embed(
    dataset: DatasetName,
    encoder: EncoderName,
    size: Size = None,
    device: Device = "auto",
    form: FormOption = Form.TEXT,
) -> None:
    """Compute the vectors of a dataset.

    Of its gallery and its query pictures; a run that was stopped is taken up where it was.
    """
    with saying_no(form):
        roots = roots_from_environment()
        asked = cell(dataset, size, encoder, roots=roots)
        sides = reversed(evaluation.sides_of(asked))
        made = {side: len(_embedded(asked, side, roots, device).vectors) for side in sides}
        document = documents.embeddings(asked, gallery=made["train"], queries=made.get("test", 0))
    give(
        document, form, text=f"{document['n_gallery']} gallery and {document['n_queries']} query pictures are embedded."
    )


def _embedded(asked: Cell, side: Side, roots: Roots, device: str) -> Embeddings:
    return evaluation.embeddings(asked, side, roots, device=device, progress=share_on_stderr())


@app.command()
def evaluate(
    dataset: DatasetName,
    encoder: EncoderName,
    size: Size = None,
    protocol: ProtocolName = "paper",
    device: Device = "auto",
    write_precomputed: Annotated[
        bool, typer.Option("--write-precomputed", help="For developers: copy result and neighbours to precomputed/.")
    ] = False,
    write_gallery: Annotated[
        bool, typer.Option("--write-gallery", help="For developers: copy the gallery's vectors there as well.")
    ] = False,
    form: FormOption = Form.TEXT,
) -> None:
    """The numbers of one cell.

    Beside the study's, where it has some. They are computed where they are not there yet.
    """
    with saying_no(form):
        roots = roots_from_environment()
        asked = cell(dataset, size, encoder, protocol, roots=roots)
        found = evaluation.evaluate(asked, roots, device=device, progress=share_on_stderr())
        if write_precomputed or write_gallery:
            prepare(asked, roots, device=device, progress=share_on_stderr())
            ship(asked, roots, gallery=write_gallery)
        study = published_row(roots, **asked.names)
        floor = leaderboard.baselines(asked.data, asked.size, roots=roots, opened=True)
        document = documents.evaluation(found, study, floor)
    give(document, form, text=texts.evaluation(document))


@app.command()
def search(
    dataset: DatasetName,
    encoder: EncoderName,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE...]",
            help="Picture or volume files; or dicomweb:URL#UID, a picture in a DICOMweb archive by its SOPInstanceUID.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text", help="Words in the place of picture files, for extractors with a text side; repeatable."
        ),
    ] = None,
    size: Size = None,
    protocol: ProtocolName = "paper",
    k: Annotated[
        int | None, typer.Option("-k", min=1, max=100, help="Neighbours of each picture; 5 if left out.")
    ] = None,
    one_per_group: Annotated[
        bool, typer.Option("--one-per-group", help="Of each patient or case of a collection only the nearest picture.")
    ] = False,
    form: FormOption = Form.TEXT,
) -> None:
    """Similar pictures for picture or volume files, or for words.

    The nearest gallery pictures of each and their vote. What is missing is computed. Words are compared by cosine.
    """
    if bool(images) == bool(text):
        raise typer.BadParameter("name picture files, or words with --text; not both.")
    with saying_no(form):
        queries = [*map(archives.picture, images or []), *map(TextQuery, text or [])]
    address = {"dataset": dataset, "size": size, "encoder": encoder, "protocol": protocol}
    document = asking.ask(queries, address, roots_from_environment(), k=k, one_per_group=one_per_group)
    give(document, form, text=texts.answers(document))
    if any(query["error"] for query in document["queries"]):
        raise typer.Exit(SAID_NO)


app.add_typer(collecting.app, name="collection")
app.command()(verifying.verify)
app.command()(precomputing.precompute)
app.command()(precomputing.clean)


@app.command("leaderboard")
def leaderboard_(
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Only this size.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="Only this extractor.")] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="Only this protocol.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="measured, published or baseline.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Drawn data instead of real data.")] = False,
    form: Annotated[
        BoardForm, typer.Option("--format", help="For people, as CSV, or one JSON document.")
    ] = BoardForm.TABLE,
) -> None:
    """What was measured, and what the study says.

    With baselines and 95 % intervals, so that nobody reads noise as rank.
    """
    with saying_no(Form.JSON if form is BoardForm.JSON else Form.TEXT):
        wanted = {"dataset": dataset, "size": size, "encoder": encoder, "protocol": protocol, "source": source}
        roots = roots_from_environment()
        every = leaderboard.leaderboard(roots, synthetic=synthetic)
        asking.check_filters(wanted, every, roots)
        rows = leaderboard.select(every, **wanted)
    if form is BoardForm.JSON:
        give({"rows": [asdict(row) for row in rows]}, Form.JSON, text="")
    else:
        typer.echo(leaderboard.to_csv(rows) if form is BoardForm.CSV else texts.board(rows), nl=form is BoardForm.TABLE)
