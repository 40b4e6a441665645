"""An encoder set beside the study: what is measured is right, and each verdict is given where it belongs."""

import csv
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from retrieval import artifacts, evaluation, published, verification
from retrieval.cells import Cell, cell
from retrieval.cli import verifying
from retrieval.cli.commands import app
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.embeddings import embedding
from retrieval.encoders import catalogue, weights
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import Unavailable
from retrieval.published import COUNTED, METRICS, PublishedRow
from retrieval.roots import Roots
from retrieval.verification import Figure, Trial, Verification, judge, tied, verify, verify_all

# The project's own features need no weights; a row that a test writes for them makes them models of the study.
VOLUMES, PICTURES = cell("phantoms3d", 28, "pixels"), cell("phantoms", 64, "pixels")


def print_row(roots: Roots, asked: Cell, figures: tuple[Figure, ...], changes: Mapping[str, float] = {}) -> None:
    """A study whose only row has these figures, rounded as it prints them; hits are changed by so many."""
    folder, n = roots.precomputed / "published", asked.data.counts["test"]
    folder.mkdir(parents=True, exist_ok=True)
    hits = {one.metric: (one.measured_hits or 0) + changes.get(one.metric, 0) for one in figures}
    shown = {name: f"{100 * hits[name] / n:.2f}" for name in COUNTED}
    shown["mAP@5"] = f"{figures[0].measured + changes.get('mAP@5', 0):.2f}"
    address = {"table": "S.1", "dataset": asked.dataset, "size": asked.size, "encoder": asked.encoder}
    records = {
        "published_results.csv": {**address, **shown, "n_queries": n, "note": ""},
        "published_hits.csv": {**address, **{f"{name}_hits": hits[name] for name in COUNTED}, "n_queries": n},
    }
    for name, record in records.items():
        with (folder / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, record)
            writer.writeheader()
            writer.writerow(record)


def measured(roots: Roots, asked: Cell) -> tuple[Figure, ...]:
    """What the evaluation says of a cell, by its own way."""
    found = evaluation.evaluate(asked, dataclasses.replace(roots, precomputed=roots.cache)).as_published
    return tuple(Figure(name, None, found.metrics[name], None, found.hits.get(name)) for name in METRICS)


# --- the real one


def test_densenet121_gives_the_studys_numbers_to_the_hit(roots: Roots, need: Callable, tmp_path: Path):
    asked = cell("breastmnist", 28, "densenet121")
    need(is_at_hand(asked.data, 28, roots), "breastmnist at 28")
    need(weights.state(asked.spec, roots) == "ready", "the weights of DenseNet121")
    found = verify(asked, dataclasses.replace(roots, cache=tmp_path), device="cpu")
    assert (found.kind, found.verdict, found.is_fine) == ("reproduced", "reproduced", True)
    (trial,) = found.trials  # Keras takes nothing smaller than 32, so there is one way only
    assert {one.metric: one.difference for one in trial.figures if one.metric in COUNTED} == dict.fromkeys(COUNTED, 0)
    assert 0 <= (trial.figures[0].difference or -1) < 0.01  # the study cuts off
    assert (found.n_queries, found.weights, found.weights_verified) == (156, asked.spec.weights.digest, True)  # type: ignore[union-attr]
    assert trial.device == "cpu" and trial.seconds > 0 and found.seconds > 0
    said = verifying.as_text(found)
    assert said.startswith("breastmnist 28, densenet121: reproduced.\n156 queries; weights d5aa2fa6")
    assert "ACC@1         80.12     80.1282             125            125  0" in said


# --- verdicts on what was measured


def test_without_a_row_there_is_nothing_to_compare_with(empty_roots: Roots):
    found = verify(PICTURES, empty_roots)
    assert (found.kind, found.verdict, found.is_fine) == (
        "no row",
        "the study has no row for this cell",
        True,
    )
    expected = {one.metric: (one.measured, one.measured_hits) for one in measured(empty_roots, PICTURES)}
    assert {one.metric: (one.measured, one.measured_hits) for one in found.trials[0].figures} == expected
    assert {one.difference for one in found.trials[0].figures} == {None}


def test_equal_hits_are_reproduced_and_the_size_of_input_is_named(empty_roots: Roots):
    print_row(empty_roots, VOLUMES, measured(empty_roots, VOLUMES))
    found = verify(VOLUMES, empty_roots)
    assert (found.kind, found.verdict) == ("reproduced", "reproduced (28 as it is)")
    assert [trial.input for trial in found.trials] == ["28 as it is", "enlarged to 32 first"]
    assert not found.trials[0].misses


def test_the_other_size_of_input_is_tried_and_is_undetermined(empty_roots: Roots):
    own = measured(empty_roots, VOLUMES)
    print_row(empty_roots, VOLUMES, own)
    enlarged = verify(VOLUMES, empty_roots).trials[1].figures
    assert [one.measured for one in enlarged] != [one.measured for one in own]  # else this test shows nothing
    print_row(empty_roots, VOLUMES, enlarged)
    found = verify(VOLUMES, empty_roots)
    assert found.kind == "undetermined" and found.is_fine
    assert found.verdict == (
        "reproduced but for what the study leaves undetermined "
        "(it is met with pictures enlarged to 32 first, which its code may or may not have done)"
    )


def test_the_enlarged_ones_are_the_studys_and_never_taken_for_the_encoders_own(empty_roots: Roots):
    """The study's way by its own libraries: a spline in depth, cv2's cubic kernel in plane, whole numbers between."""
    import cv2
    from scipy import ndimage

    print_row(empty_roots, VOLUMES, measured(empty_roots, VOLUMES))
    own = embedding.embed(VOLUMES.data, 28, "test", VOLUMES.spec, empty_roots)
    verify(VOLUMES, empty_roots)
    folder = empty_roots.cache / "embeddings" / "phantoms3d" / "28"
    assert sorted(path.name for path in folder.iterdir()) == ["pixels", "pixels.32"]
    stored = np.load(folder / "pixels.32" / "test.vectors.npy")
    volume = open_split(VOLUMES.data, 28, "test", empty_roots).images[0]
    deep = ndimage.zoom(volume, (32 / 28, 1, 1), order=3)
    theirs = np.stack(
        [cv2.resize(np.asarray(plane, np.uint8), (32, 32), interpolation=cv2.INTER_CUBIC) for plane in deep]
    )
    assert np.array_equal(stored[0], theirs.reshape(32, -1).astype(np.float32))
    marks = [artifacts.read_json(folder / name / "test.json") for name in ("pixels", "pixels.32")]
    assert marks[0]["fingerprint"] == own.fingerprint != marks[1]["fingerprint"]  # type: ignore[index]
    again = embedding.embed(VOLUMES.data, 28, "test", VOLUMES.spec, empty_roots)
    assert again.vectors.shape == (20, 28, 784)


def test_pictures_are_enlarged_as_the_study_does(roots: Roots, need: Callable, empty_roots: Roots):
    import cv2

    asked = cell("breastmnist", 28, "pixels")
    need(is_at_hand(asked.data, 28, roots), "breastmnist at 28")
    there = dataclasses.replace(empty_roots, data=roots.data)
    print_row(there, asked, measured(there, asked))
    assert verify(asked, there).kind == "reproduced"
    stored = np.load(there.cache / "embeddings" / "breastmnist" / "28" / "pixels.32" / "test.vectors.npy")
    picture = open_split(asked.data, 28, "test", there).images[5]
    assert np.array_equal(stored[5], cv2.resize(np.asarray(picture, np.uint8), (32, 32)).reshape(-1).astype(np.float32))


def test_a_hit_too_many_is_a_miss(empty_roots: Roots):
    print_row(empty_roots, PICTURES, measured(empty_roots, PICTURES), {"ACC@1": -1, "mAP@5": 0.5})
    found = verify(PICTURES, empty_roots)
    assert (found.kind, found.is_fine) == ("missed", False)
    assert found.verdict.startswith("not reproduced (mAP@5 -0.")
    assert found.verdict.endswith(", ACC@1 +1)")


def test_where_none_can_meet_it_the_reason_is_given(empty_roots: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = dataclasses.replace(find_encoder("pixels"), incomparable="its float16 loses the order")
    monkeypatch.setattr(catalogue, "ENCODERS", (spec,))
    print_row(empty_roots, PICTURES, measured(empty_roots, PICTURES), {"ACC@3": 2})
    found = verify(PICTURES, empty_roots)
    assert (found.kind, found.verdict, found.is_fine) == (
        "incomparable",
        "not comparable (its float16 loses the order)",
        True,
    )
    print_row(empty_roots, PICTURES, measured(empty_roots, PICTURES))
    assert verify(PICTURES, empty_roots).kind == "reproduced"


def test_of_the_studys_encoders_openclip_alone_cannot_be_met():
    rows = {row.encoder for row in published.published_rows(Roots((), None, Path(), Path()))}
    assert [spec.name for spec in catalogue.ENCODERS if spec.incomparable] == ["openclip"]
    assert {spec.name for spec in catalogue.ENCODERS if spec.incomparable} <= rows


def test_what_is_shipped_proves_nothing(empty_roots: Roots):
    figures = measured(empty_roots, PICTURES)
    print_row(empty_roots, PICTURES, figures)
    for side in ("train", "test"):
        made = embedding.embed(PICTURES.data, 64, side, PICTURES.spec, empty_roots)
        key = embedding.key_of(PICTURES.data, 64, side, PICTURES.spec)
        wrong = {"vectors": np.array(made.vectors)[::-1]}
        artifacts.save(empty_roots.precomputed, key, arrays=wrong, fingerprint=made.fingerprint, meta={})
    elsewhere = dataclasses.replace(empty_roots, cache=empty_roots.cache.with_name("another"))
    assert verify(PICTURES, elsewhere).kind == "reproduced"


# --- verdicts on what is undetermined


def row_of(**changes) -> PublishedRow:
    printed = {"mAP@5": 80.0, "mMV@5": 50.0, "ACC@1": 50.0, "ACC@3": 70.0, "ACC@5": 90.0}
    fields = {
        "dataset": "breastmnist",
        "size": 64,
        "encoder": "uni",
        "metrics": printed,
        "printed": printed,
        "misprints": (),
        "hits": {"mMV@5": 78, "ACC@1": 78, "ACC@3": 109, "ACC@5": 140},
        "n_queries": 156,
        "note": "",
        "table": "S.2",
    }
    return PublishedRow(**{**fields, **changes})


def trial_of(off: Mapping[str, int], *, mean: float = 80.0, ties: int = 0, misprint: str = "") -> Trial:
    row = row_of()
    counted = [
        Figure(name, row.printed[name], 0.0, hits, hits + off.get(name, 0), name == misprint, not off.get(name))
        for name, hits in row.hits.items()
    ]
    first = Figure("mAP@5", 80.0, mean, None, None, agrees=abs(mean - 80) <= 0.005)
    return Trial("", (first, *counted), ties, "cpu", 1.0)


BREAST = Cell("breastmnist", 64, "uni", "paper")


@pytest.mark.parametrize(
    ("off", "mean", "ties", "kind"),
    [
        ({"ACC@1": 2}, 80.0, 0, "missed"),
        ({"ACC@1": 2}, 80.0, 1, "missed"),
        ({"ACC@1": 2, "ACC@3": -1}, 80.9, 2, "undetermined"),
        ({"ACC@1": 2}, 81.4, 2, "missed"),  # 2 of 156 queries change the mean by at most 1.28
        ({}, 80.0, 2, "reproduced"),
    ],
)
def test_the_order_of_equal_distances_makes_up_for_so_many_hits(off: dict, mean: float, ties: int, kind: str):
    found = judge(row_of(), (trial_of(off, mean=mean, ties=ties),), BREAST)
    assert found[0] == kind
    if kind == "undetermined":
        assert found[1].endswith("(the order of equal distances, on which 2 queries depend)")


@pytest.mark.parametrize("asked", [BREAST, Cell("adrenalmnist3d", 64, "uni", "paper")])
def test_where_the_studys_code_orders_equal_distances_they_make_up_for_nothing(asked: Cell):
    encoder = "vgg19" if asked is BREAST else "uni"
    row = row_of(encoder=encoder, dataset=asked.dataset)
    assert judge(row, (trial_of({"ACC@1": 1}, ties=9),), asked)[0] == "missed"


def test_a_misprint_is_no_miss_and_is_named():
    row = row_of(misprints=("ACC@3",))
    kind, words = judge(row, (trial_of({"ACC@3": 1}, misprint="ACC@3"),), BREAST)
    assert kind == "undetermined" and words.endswith("(the printed ACC@3 is a misprint)")
    assert judge(row, (trial_of({}, misprint="ACC@3"),), BREAST)[0] == "reproduced"
    assert judge(row, (trial_of({"ACC@3": 1, "ACC@5": 1}, misprint="ACC@3"),), BREAST)[0] == "missed"


def test_of_two_misses_the_nearer_is_told():
    near = dataclasses.replace(trial_of({"ACC@1": 1}), input="enlarged to 32 first")
    found = judge(row_of(size=28), (trial_of({"ACC@1": 3}), near), BREAST)
    assert found == ("missed", "not reproduced (ACC@1 +1; enlarged to 32 first)")


@pytest.mark.parametrize(
    ("encoder", "ndim", "right", "wrong"),
    [
        ("densenet121", 2, (0.0, 0.0095), (-0.001, 0.011)),
        ("densenet121", 3, (-0.005, 0.0095), (-0.006, 0.011)),
        ("uni", 2, (-0.005, 0.005), (-0.006, 0.006)),
        ("uni", 3, (-0.005, 0.005), (-0.006, 0.006)),
    ],
)
def test_how_figures_were_printed(encoder: str, ndim: int, right: tuple, wrong: tuple):
    low, high = published.rounding(row_of(encoder=encoder), ndim=ndim)
    assert all(low <= off <= high for off in right)
    assert not any(low <= off <= high for off in wrong)


def test_queries_that_depend_on_the_order_of_equal_distances_are_counted():
    """Against every order that equal distances allow: whether the first k labels can differ."""
    from itertools import permutations

    rng = np.random.default_rng(0)
    scores = np.sort(rng.integers(0, 5, (300, 6)), axis=1).astype(np.float32)
    labels = rng.integers(0, 2, (300, 6, 1))
    depends = 0
    for row, names in zip(scores, labels[..., 0], strict=True):
        orders = (order for order in permutations(range(6)) if list(row[list(order)]) == list(row))
        depends += len({tuple(names[list(order)][:3]) for order in orders}) > 1
    assert 0 < depends < 300
    assert tied(scores, labels, k=3) == depends


# --- every encoder at hand


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch, empty_roots: Roots, tmp_path: Path) -> Roots:
    """A catalogue of two that answer, one whose weights are damaged, and one whose weights are not at hand."""

    def spec(name: str) -> EncoderSpec:
        source = WeightsSource(filename=f"{name}.safetensors")
        return dataclasses.replace(
            find_encoder("efficientnet_lite0"), name=name, title=name.title(), weights=source, layout=EncoderSpec.layout
        )

    chosen = (find_encoder("pixels"), spec("damaged"), spec("absent"), find_encoder("histogram"), find_encoder("shape"))
    monkeypatch.setattr(catalogue, "ENCODERS", chosen)
    (tmp_path / "weights" / "damaged").mkdir(parents=True)
    (tmp_path / "weights" / "damaged" / "damaged.safetensors").write_bytes(b"no tensors")
    return dataclasses.replace(empty_roots, weights=tmp_path / "weights")


def test_all_are_walked_and_one_that_says_no_stops_nothing(three: Roots):
    found = {each.cell.encoder: each for each in verify_all("phantoms", 64, three)}
    assert list(found) == ["pixels", "damaged", "histogram"]  # shape takes volumes only
    assert {name: each.kind for name, each in found.items()} == {
        "pixels": "no row",
        "damaged": "refused",
        "histogram": "no row",
    }
    assert "The weights file damaged.safetensors" in found["damaged"].verdict and found["damaged"].remedy
    said = verifying.as_table(list(found.values())).splitlines()
    assert [line.split()[0] for line in said[1:4]] == list(found)
    assert "cannot be read" in said[2]


def test_without_the_data_nothing_is_walked(three: Roots):
    with pytest.raises(Unavailable):
        list(verify_all("breastmnist", 28, dataclasses.replace(three, data=())))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("CUDA error: out of memory"),
            "The GPU had too little memory for Raw pixels (baseline) on Phantoms (synthetic).",
        ),
        (MemoryError(), "This machine had too little memory for Raw pixels (baseline) on Phantoms (synthetic)."),
        (RuntimeError("no kernel image"), "It could not be run (RuntimeError: no kernel image)."),
    ],
)
def test_a_device_without_room_is_told(three: Roots, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(verification, "verify", fail)
    found = list(verify_all("phantoms", 64, three))
    assert [each.kind for each in found] == ["refused"] * 3
    assert found[0].verdict == said and found[0].remedy


# --- the command


@pytest.fixture
def ask(three: Roots, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run the command with the small catalogue."""
    monkeypatch.setattr(verifying, "roots_from_environment", lambda: three)

    def run(*words: str):
        return CliRunner().invoke(app, ["verify", *words])

    return run


PHANTOMS = ("--dataset", "phantoms", "--size", "64")


def test_the_command_gives_one_document(ask: Callable):
    done = ask("--encoder", "pixels", *PHANTOMS, "--format", "json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["dataset"], document["encoder"], document["kind"], document["fine"]) == (
        "phantoms",
        "pixels",
        "no row",
        True,
    )
    assert [one["metric"] for one in document["trials"][0]["figures"]] == list(METRICS)


def test_the_command_walks_all_and_writes_a_table(ask: Callable, tmp_path: Path):
    done = ask("--all", *PHANTOMS, "--out", str(tmp_path / "table.csv"))
    assert done.exit_code == 1  # one said no
    assert "the study has no row for this cell" in done.stdout
    with (tmp_path / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["encoder"], row["kind"]) for row in rows] == [
        ("pixels", "no row"),
        ("damaged", "refused"),
        ("histogram", "no row"),
    ]
    assert rows[0]["ACC@1 measured"] and not rows[0]["ACC@1 published"]
    assert ask("--all", *PHANTOMS, "--format", "json", "--out", str(tmp_path / "t.json")).exit_code == 1
    written = json.loads((tmp_path / "t.json").read_text())
    assert [each["encoder"] for each in written["verifications"]] == ["pixels", "damaged", "histogram"]


def test_exit_codes_follow_the_verdict(ask: Callable, three: Roots):
    figures = measured(three, PICTURES)
    print_row(three, PICTURES, figures)
    assert ask("--encoder", "pixels", *PHANTOMS).exit_code == 0
    print_row(three, PICTURES, figures, {"ACC@5": -1})
    missed = ask("--encoder", "pixels", *PHANTOMS)
    assert missed.exit_code == 1 and "pixels: not reproduced (ACC@5 +1)." in missed.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "name either --encoder or --all"),
        (("--all", "--encoder", "pixels"), 2, "name either --encoder or --all"),
        (("--all", "--out", "table.txt"), 2, "ends in .csv or .json"),
        (("--encoder", "pixel", *PHANTOMS), 1, "Did you mean 'pixels'?"),
        (("--encoder", "absent", *PHANTOMS), 1, "not at hand"),
        (("--encoder", "pixels", "--dataset", "phantoms", "--size", "28"), 1, "size of phantoms"),
    ],
)
def test_what_cannot_be_asked(ask: Callable, words: tuple[str, ...], code: int, says: str):
    done = ask(*words)
    assert done.exit_code == code
    assert says in done.output


def test_a_dataclass_for_programs_and_people_loses_nothing(empty_roots: Roots):
    found: Verification = verify(PICTURES, empty_roots)
    document = json.loads(json.dumps(verifying.as_document(found)))
    assert document["trials"][0]["figures"][0]["measured"] == found.trials[0].figures[0].measured
    assert find_dataset(document["dataset"]).counts["test"] == document["n_queries"]
