"""Plain addresses beside the page: pictures, slices, uploads, and an answer as a file.

Handlers are sync functions, which Starlette runs in threads, so that decoding never holds up the page. What an address
with a version in it shows never changes, so browsers may keep it for ever; what a visitor uploaded is never kept.
"""

import functools
import json
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from retrieval import search
from retrieval.answers import ItemQuery, Query, TextQuery, UploadQuery
from retrieval.cells import Cell, cell
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import open_split
from retrieval.datasets.specs import SplitName
from retrieval.encoders.catalogue import encoders_for
from retrieval.errors import BadInput, Busy, RetrievalError, Unavailable
from retrieval.page import addresses, extractors, questions, rendering
from retrieval.page.bodies import name_sent, read_bounded
from retrieval.page.desk import Desk
from retrieval.page.link import Link, item_at, parse

FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
MOST_WORDS = 20_000
NEVER = {"Cache-Control": "no-store"}


def routes(desk: Desk) -> list[BaseRoute]:
    """The addresses of the Search tab."""
    item = "{dataset}/{size:int}/{split}/{index:int}"
    seen = "{dataset}/{size:int}/{encoder}/{split}/{index:int}"
    pages: list[tuple[str, Callable[..., Response]]] = [
        (f"/picture/{item}.png", _picture),
        (f"/slice/{item}/{{z:int}}.png", _slice),
        (f"/seen/{seen}.png", _seen),
        (f"/seen-slice/{seen}/{{z:int}}.png", _seen_slice),
        ("/upload/{token}/picture.png", _uploaded),
        ("/upload/{token}/seen.png", _uploaded_seen),
        ("/upload/{token}/slice/{z:int}.png", _uploaded_slice),
        ("/upload/{token}/seen-slice/{z:int}.png", _uploaded_seen),
        ("/extractors.json", _extractors),
        ("/answer.csv", _answer_csv),
        ("/answer.png", _answer_png),
    ]
    return [
        Route("/healthz", _healthz),
        Route("/ask", functools.partial(_ask, desk=desk), methods=["POST"]),
        Route("/upload", functools.partial(_receive, desk=desk), methods=["PUT"]),
        Route("/upload/{token}", functools.partial(_forget, desk=desk), methods=["DELETE"]),
        *(Route(path, functools.partial(_or_a_sentence, handler=handler, desk=desk)) for path, handler in pages),
    ]


def _healthz(request: Request) -> Response:
    return JSONResponse({"ok": True}, headers=NEVER)


def _or_a_sentence(request: Request, *, handler: Callable[..., Response], desk: Desk) -> Response:
    """What the handler answers; where it says no, 404 with its sentence."""
    try:
        return handler(request, desk=desk)
    except RetrievalError as error:
        return PlainTextResponse(str(error), status_code=404, headers=NEVER)


async def _ask(request: Request, *, desk: Desk) -> Response:
    """Answer a question as the page draws it. Only JSON is taken, so that no other site can ask by a form."""
    if request.headers.get("content-type") != "application/json":
        return PlainTextResponse("A question is asked in JSON.", status_code=415, headers=NEVER)
    try:
        question = json.loads(await read_bounded(request.stream(), most=MOST_WORDS))
    except (BadInput, ValueError, RecursionError):
        return PlainTextResponse("That is no question.", status_code=400, headers=NEVER)
    return JSONResponse(await run_in_threadpool(questions.reply, desk, question), headers=NEVER)


async def _receive(request: Request, *, desk: Desk) -> Response:
    """Take an uploaded picture as the body of a PUT; answers its token, or a sentence that says why not."""
    try:
        async with desk.uploads.bodies.received(request.stream()) as data:
            token = await run_in_threadpool(desk.uploads.keep, data, name=name_sent(request.headers))
    except RetrievalError as error:
        status = 503 if isinstance(error, Busy) else 200
        return JSONResponse({"message": error.message, "remedy": error.remedy}, status_code=status, headers=NEVER)
    return JSONResponse({"token": token}, headers=NEVER)


def _forget(request: Request, *, desk: Desk) -> Response:
    desk.uploads.forget(request.path_params["token"])
    return Response(status_code=204, headers=NEVER)


def _extractors(request: Request, *, desk: Desk) -> Response:
    """The menu's entries for a cell: asked for when the menu is opened, so that the page itself waits for no file.

    They are the same whichever is chosen, be it one that the chosen protocol does not take.
    """
    words = {name: value for name, value in request.query_params.items() if name != "encoder"}
    where = parse(words, desk.start, desk.roots).cell
    return JSONResponse({"extractors": extractors.entries(where, desk.roots)}, headers=NEVER)


def _picture(request: Request, *, desk: Desk) -> Response:
    where, item = _named(request, desk)
    if where.data.ndim == 3:
        raise BadInput(f"{where.data.title} holds volumes.", remedy="Ask for a slice of one instead.")
    return _png(rendering.shown(_item_pixels(where, item, desk)))


def _slice(request: Request, *, desk: Desk) -> Response:
    where, item = _named(request, desk)
    if where.data.ndim == 2:
        raise BadInput(f"{where.data.title} holds pictures, which have no slices.", remedy="Ask for the picture.")
    return _png(_one_slice(_item_pixels(where, item, desk), request))


def _seen(request: Request, *, desk: Desk) -> Response:
    where, item = _named(request, desk)
    if where.data.ndim == 3:
        raise BadInput(f"{where.data.title} holds volumes.", remedy="Ask for a slice of one instead.")
    if where.data.vectors:  # the extractor takes them as they are
        return _picture(request, desk=desk)
    return _png(search.sees(item, where, desk.roots))


def _seen_slice(request: Request, *, desk: Desk) -> Response:
    where, item = _named(request, desk)
    if where.data.ndim == 2:
        raise BadInput(f"{where.data.title} holds pictures, which have no slices.", remedy="Ask for the picture.")
    state = "" if where.data.own is None else where.data.own.digest
    return _png(_one_slice(_seen_volume(item, where, desk, state), request))


@functools.lru_cache(maxsize=32)
def _seen_volume(item: ItemQuery, where: Cell, desk: Desk, state: str) -> np.ndarray:
    """Kept, because the slices of one volume are asked for one by one.

    `state` tells a collection from what it was before an update, or from another of its name: cells of both are equal.
    """
    return search.sees(item, where, desk.roots)


def _uploaded(request: Request, *, desk: Desk) -> Response:
    preview = desk.uploads.open(request.path_params["token"]).preview
    return FileResponse(preview, media_type="image/png", headers=NEVER)


def _uploaded_seen(request: Request, *, desk: Desk) -> Response:
    words = request.query_params
    where = cell(words.get("dataset", ""), _size(words.get("size")), words.get("encoder", ""), roots=desk.roots)
    path = desk.uploads.open(request.path_params["token"]).query_path(ndim=where.data.ndim, size=where.size)
    seen = search.sees(UploadQuery(path), where, desk.roots)
    return _png(_one_slice(seen, request) if where.data.ndim == 3 else seen, NEVER)


def _uploaded_slice(request: Request, *, desk: Desk) -> Response:
    return _png(desk.uploads.open(request.path_params["token"]).drawn_slice(request.path_params["z"]), NEVER)


def _answer_csv(request: Request, *, desk: Desk) -> Response:
    link = _asked(request, desk)
    text = rendering.answer_csv(desk.find_ready(link))
    return Response(text, media_type="text/csv; charset=utf-8", headers=_attachment(link, "csv"))


def _answer_png(request: Request, *, desk: Desk) -> Response:
    link = _asked(request, desk)
    answer = desk.find_ready(link)
    gallery = answer.cell.rules.gallery
    cards = [_flat(ItemQuery(split=gallery, index=near.index), link, desk) for near in answer.neighbours]
    sheet = rendering.answer_png(answer, _flat(answer.query, link, desk), cards)
    return Response(sheet, media_type="image/png", headers=_attachment(link, "png"))


def _asked(request: Request, desk: Desk) -> Link:
    link = parse(request.query_params, desk.start, desk.roots)
    addresses.check_version(link.cell, request.query_params.get("v", ""))
    if not link.names_query:
        raise Unavailable("This link names no picture to ask with.", remedy="Take the link from the page.")
    return link


def _flat(query: Query, link: Link, desk: Desk) -> np.ndarray:
    """A query or neighbour as one picture; of a volume its fullest slice."""
    if isinstance(query, ItemQuery):
        pixels = _item_pixels(link.cell, query, desk)
        return pixels[rendering.fullest_slice(pixels)] if link.cell.data.ndim == 3 else pixels
    if isinstance(query, TextQuery):
        return rendering.text_tile(query.text)
    with Image.open(desk.uploads.open(link.token or "").preview) as preview:
        return np.asarray(preview)


def _attachment(link: Link, kind: str) -> dict[str, str]:
    other = "upload" if link.text is None else "words"
    query = other if link.item is None else f"{link.item.split}-{link.item.index}"
    name = f"{link.cell.key.replace('/', '-')}-{query}.{kind}"
    return {"Content-Disposition": f'attachment; filename="{name}"', **NEVER}


def _named(request: Request, desk: Desk) -> tuple[Cell, ItemQuery]:
    """The cell and item of an address. UnknownName or BadInput where one does not exist."""
    parts = request.path_params
    any_fitting = encoders_for(find_dataset(parts["dataset"], desk.roots))[0].name
    where = cell(parts["dataset"], parts["size"], parts.get("encoder", any_fitting), roots=desk.roots)
    addresses.check_version(where, request.query_params.get("v", ""))
    return where, item_at(parts["split"], parts["index"], where)


def _size(text: str | None) -> int:
    if text is None or not text.isdecimal():
        raise BadInput("This address names no size in pixels.", remedy="Take it from the page.")
    return int(text[:9])


def _item_pixels(where: Cell, item: ItemQuery, desk: Desk) -> np.ndarray:
    split: SplitName = item.split
    pixels = np.asarray(open_split(where.data, where.size, split, desk.roots).images[item.index])
    return rendering.drawn(pixels, where.data)


def _one_slice(volume: np.ndarray, request: Request) -> np.ndarray:
    z = request.path_params.get("z", -1)
    if not 0 <= z < len(volume):
        raise BadInput(f"This volume has no slice {z}.", remedy=f"Its slices are 0 to {len(volume) - 1}.")
    return volume[z]


def _png(pixels: np.ndarray, headers: Mapping[str, str] = FOREVER) -> Response:
    return Response(rendering.png(pixels), media_type="image/png", headers=headers)
