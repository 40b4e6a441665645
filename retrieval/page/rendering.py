"""Pictures and answers as files: PNG and CSV."""

import base64
import csv
import io
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from retrieval.answers import Answer, ItemQuery, Neighbour, Query, TextQuery
from retrieval.datasets.collections.vectors import NUMBER
from retrieval.datasets.specs import Dataset
from retrieval.page import words

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

MOST_SHOWN = 1024  # pixels a side; a larger picture is shown smaller

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SIDE, _GAP, _TEXT, _MARGIN, _ACROSS = 224, 20, 66, 28, 5
_INK, _FAINT, _SAME, _OTHER, _PAPER = "#0f172a", "#475569", "#15803d", "#b45309", "#ffffff"


def png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W] or [H, W, 3] as PNG, pixel for pixel."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def fullest_slice(volume: np.ndarray) -> int:
    """The slice of a volume [D, H, W(, 3)] whose values vary most: the one with the most to see; ties to the first."""
    return max(range(len(volume)), key=lambda z: float(volume[z].std()))


def data_address(pixels: np.ndarray) -> str:
    """A picture as an address that holds it whole."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def shown(pixels: np.ndarray) -> np.ndarray:
    """A picture as the page shows it: one with more than `MOST_SHOWN` pixels a side smaller, by whole-block means."""
    longest = max(pixels.shape[:2])
    if longest <= MOST_SHOWN:
        return pixels
    return np.asarray(Image.fromarray(pixels).reduce(-(-longest // MOST_SHOWN)))


def drawn(pixels: np.ndarray, data: Dataset) -> np.ndarray:
    """An item's pixels; of a vector a grey stripe for each number, the vector's lowest black and its highest white."""
    if not data.vectors:
        return pixels
    numbers = np.frombuffer(np.ascontiguousarray(pixels), NUMBER).astype(np.float64)
    low, span = numbers.min(), float(np.ptp(numbers))
    greys = np.rint((numbers - low) / (span or 1.0) * 255).astype(np.uint8)
    return np.tile(greys, (len(greys), 1))


def answer_csv(answer: Answer) -> str:
    """One line for each neighbour; where the answer comes from is repeated on each, so that lines can be gathered."""
    rows = [_row(answer, rank) for rank in range(len(answer.neighbours))]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def answer_png(answer: Answer, query: np.ndarray, neighbours: Sequence[np.ndarray]) -> bytes:
    """The answer as one picture: the query, its neighbours (uint8, any size) unsmoothed, what was said, provenance."""
    rows = -(-len(neighbours) // _ACROSS)
    width = 2 * _MARGIN + (_ACROSS + 1) * _SIDE + _ACROSS * _GAP
    height = 2 * _MARGIN + rows * (_SIDE + _TEXT) + 136
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _place(sheet, query, 0, 0)
    title = words.query_title(answer.query, answer.cell.data)
    _caption(draw, 0, 0, [(title, _INK), (answer.query_label_name or "", _FAINT)])
    for place, (neighbour, pixels) in enumerate(zip(answer.neighbours, neighbours, strict=True)):
        column, row = 1 + place % _ACROSS, place // _ACROSS
        _place(sheet, pixels, column, row)
        _caption(draw, column, row, _card_lines(neighbour))
    _foot(draw, answer, top=_MARGIN + rows * (_SIDE + _TEXT) + 12, width=width - 2 * _MARGIN)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def text_tile(text: str) -> np.ndarray:
    """Words as a picture for a sheet, as many as there is room for: uint8 [224, 224, 3]."""
    tile = Image.new("RGB", (_SIDE, _SIDE), _PAPER)
    lines = textwrap.wrap(_plain(text), width=24, max_lines=9, placeholder="...")
    ImageDraw.Draw(tile).multiline_text((12, 12), "\n".join(lines), fill=_INK, font=_font(16), spacing=6)
    return np.asarray(tile)


def _row(answer: Answer, place: int) -> dict[str, object]:
    neighbour, cell, query = answer.neighbours[place], answer.cell, answer.query
    return {
        "dataset": cell.dataset,
        "size": cell.size,
        "encoder": cell.encoder,
        "protocol": cell.protocol,
        "data_and_weights": "verified" if answer.verified else "unverified",
        "synthetic": "yes" if cell.data.synthetic else "no",
        "training_overlap": cell.spec.overlaps.get(cell.dataset, ""),
        "query": _named(query),
        "query_label": answer.query_label_name or "",
        "rank": neighbour.rank,
        "split": cell.rules.gallery,
        "index": neighbour.index,
        "label": " ".join(str(label) for label in neighbour.labels),
        "label_name": neighbour.label_name,
        "score": repr(neighbour.score),
        "score_is": cell.rules.score_name,
        "same_label": {True: "yes", False: "no", None: ""}[neighbour.agrees],
        "duplicate": neighbour.duplicate or "",
    }


def _named(query: Query) -> str:
    if isinstance(query, ItemQuery):
        return f"{query.split}-{query.index}"
    return query.text if isinstance(query, TextQuery) else "upload"


def _safe(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay as they are."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _corner(column: int, row: int) -> tuple[int, int]:
    return _MARGIN + column * (_SIDE + _GAP), _MARGIN + row * (_SIDE + _TEXT)


def _place(sheet: Image.Image, pixels: np.ndarray, column: int, row: int) -> None:
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    scale = _SIDE / max(picture.size)
    shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(shape, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
    left, top = _corner(column, row)
    sheet.paste("black", (left, top, left + _SIDE, top + _SIDE))
    sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))


def _card_lines(neighbour: Neighbour) -> list[tuple[str, str]]:
    mark = words.agreement(neighbour)
    extra = words.DUPLICATE.get(neighbour.duplicate or "", "")
    said = ", ".join(part for part in (mark["words"] if mark else "", extra) if part)
    colour = _FAINT if mark is None else _SAME if mark["kind"] == "same" else _OTHER
    return [
        (f"{neighbour.rank}. {neighbour.label_name}", _INK),
        (f"{words.score(neighbour.score)}  #{neighbour.index}", _FAINT),
        (said, colour),
    ]


def _caption(draw: ImageDraw.ImageDraw, column: int, row: int, lines: list[tuple[str, str]]) -> None:
    left, top = _corner(column, row)
    for number, (text, colour) in enumerate(lines):
        font = _font(16 if number == 0 else 14)
        draw.text((left, top + _SIDE + 6 + number * 19), _fit(text, font, _SIDE), fill=colour, font=font)


def _foot(draw: ImageDraw.ImageDraw, answer: Answer, *, top: int, width: int) -> None:
    reliability = words.trust_sentence(answer)
    far = [words.nearness_sentence(answer.nearness, answer)] if answer.nearness and answer.nearness.beyond else []
    source = "".join(words.provenance_line(answer))
    research = f"Score: {answer.cell.rules.score_name}. Research use, not for diagnosis."
    for number, text in enumerate([*far, words.vote_sentence(answer), reliability, source, research]):
        font = _font(15)
        draw.text((_MARGIN, top + number * 24), _fit(_plain(text), font, width), fill=_FAINT, font=font)


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _plain(text: str) -> str:
    """The font that comes with Pillow lacks some spaces and quotes."""
    return text.translate({0x202F: " ", 0x201C: '"', 0x201D: '"', 0xB7: "|", 0xD7: "x"})


def _fit(text: str, font: Font, width: int) -> str:
    text = _plain(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
