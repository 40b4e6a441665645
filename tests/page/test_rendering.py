import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from retrieval.page import rendering

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (1, 7)])
def test_pictures_are_kept_pixel_for_pixel(shape):
    pixels = RNG.integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(rendering.png(pixels))) as read:
        assert np.array_equal(np.asarray(read), pixels)


def test_csv_has_a_line_for_each_neighbour_with_its_source(answer):
    rows = list(csv.DictReader(io.StringIO(rendering.answer_csv(answer))))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {row["query"] for row in rows} == {"test-12"}
    assert [row["same_label"] for row in rows] == ["yes", "no", "yes", "yes", "no"]
    assert [row["duplicate"] for row in rows] == ["near", "", "", "", ""]
    assert [float(row["score"]) for row in rows] == [neighbour.score for neighbour in answer.neighbours]
    assert rows[0]["encoder"] == "efficientnet_lite0"
    assert rows[0]["data_and_weights"] == "verified"


def test_a_name_that_a_spreadsheet_would_run_is_made_text(answer, changed):
    evil = replace(answer.neighbours[0], label_name="=HYPERLINK(1)", score=-1.5)
    row = next(csv.DictReader(io.StringIO(rendering.answer_csv(changed(neighbours=(evil,))))))
    assert row["label_name"] == "'=HYPERLINK(1)"
    assert float(row["score"]) == -1.5


@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3), (600, 300, 3), (1, 400)])
def test_the_answer_as_a_picture_shows_the_query_unsmoothed(answer, shape):
    query = np.full(shape, 200, np.uint8)
    query[: max(1, shape[0] // 2)] = 40
    neighbours = [np.zeros((28, 28), np.uint8)] * 5
    with Image.open(io.BytesIO(rendering.answer_png(answer, query, neighbours))) as sheet:
        frame = np.asarray(sheet)[28:252, 28:252]
        assert sheet.width > 1400
    assert set(np.unique(frame)) <= {0, 40, 200} or max(shape) > 224, "no pixel between the query's own values"
    assert np.unique(frame).size > 1


def test_twenty_neighbours_fit(answer, changed):
    many = changed(neighbours=tuple(replace(answer.neighbours[0], rank=rank) for rank in range(1, 21)))
    sheet = rendering.answer_png(many, np.zeros((28, 28), np.uint8), [np.zeros((28, 28, 3), np.uint8)] * 20)
    with Image.open(io.BytesIO(sheet)) as read:
        assert read.height > 4 * 224
