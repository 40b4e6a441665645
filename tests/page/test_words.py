from pathlib import Path

import pytest

from retrieval.answers import Nearness, Reliability, Tally, UploadQuery
from retrieval.cells import cell
from retrieval.page import words

MINE = {"query": UploadQuery(path=Path("mine.png")), "query_labels": None, "query_label_name": None}


def plain(text: str) -> str:
    """The narrow space before a percent sign as an ordinary one."""
    return text.replace("\u202f", " ")


def test_the_summary_names_the_query_and_counts_the_classes(answer):
    assert words.summary(answer) == (
        "Test picture 12, labelled “malignant”: the 5 nearest are 3 malignant, 2 normal or benign."
    )


def test_the_summary_of_an_upload_claims_no_label(changed):
    assert words.summary(changed(**MINE)).startswith("Your picture: the 5 nearest are 3")


def test_the_vote_stands_beside_the_gallerys_own_share(answer):
    assert plain(words.vote_sentence(answer)) == "3 of 5 say “malignant” (60 %); 27 % of the gallery is so anyway."


def test_a_tie_is_said(changed, answer):
    votes = (Tally(1, "normal or benign", 2, 0.5, 0.73), Tally(0, "malignant", 2, 0.5, 0.27))
    tied = changed(vote=votes, neighbours=answer.neighbours[:4])
    said = plain(words.vote_sentence(tied))
    assert said.startswith("A tie at 2 of 4; it goes to “normal or benign”, which has the nearer neighbour. 73 % of")


def test_findings_are_shown_not_said(changed):
    chest = changed(cell=cell("chestmnist", 28, "efficientnet_lite0"), vote=(Tally(0, "atelectasis", 4, 0.5, 0.1),))
    assert plain(words.vote_sentence(chest)).startswith("4 of 5 show “atelectasis” (80 %)")


def test_reliability_of_a_sampled_query_goes_by_its_true_class(answer):
    said = plain(words.reliability_sentence(answer.reliability, answer.cell.data))
    assert said == (
        "Among test pictures that are “malignant”, the first neighbour is right for 61 % "
        "(30 of 49; 95 % 47 to 73; duplicates left out)."
    )


def test_reliability_of_an_upload_goes_by_what_the_first_neighbour_says(answer):
    known = Reliability("first neighbour", "malignant", hits=30, n=49, low=0.4735, high=0.7311)
    said = plain(words.reliability_sentence(known, answer.cell.data))
    assert said == (
        "Among test pictures whose first neighbour says “malignant”, 61 % are "
        "(30 of 49; 95 % 47 to 73; duplicates left out)."
    )


@pytest.mark.parametrize("basis", ["true class", "first neighbour"])
def test_nothing_to_go_by_is_said_and_no_number_made_up(answer, basis):
    said = words.reliability_sentence(Reliability(basis, "malignant", 0, 0, None, None), answer.cell.data)
    assert "not known" in said
    assert "%" not in said


def test_unranked_test_pictures_are_said(answer):
    assert "not known yet" in words.reliability_sentence(None, answer.cell.data)


def test_nearness_has_a_percent_and_beyond_the_99th_a_plain_warning(answer):
    assert "43 % of the gallery's own pictures" in plain(words.nearness_sentence(answer.nearness, answer))
    assert words.nearness_sentence(None, answer) == ""
    nearest = words.nearness_sentence(Nearness(percentile=0.1, beyond=False), answer)
    assert plain(nearest).startswith("The first neighbour is unusually near: less than 1 % of")
    said = words.nearness_sentence(Nearness(percentile=99.6, beyond=True), answer)
    assert said.startswith("Nothing here looks like this picture")


def test_an_upload_far_from_everything_is_called_yours(changed):
    mine = changed(**MINE, nearness=Nearness(percentile=100, beyond=True))
    assert words.nearness_sentence(mine.nearness, mine).startswith("Nothing here looks like your picture")


def test_agreement_is_marked_only_where_it_is_known(answer, changed):
    kinds = [words.agreement(neighbour) for neighbour in answer.neighbours]
    assert [kind["kind"] for kind in kinds if kind] == ["same", "other", "same", "same", "other"]


def test_the_line_says_where_it_comes_from(answer, changed):
    before, standing, after = words.provenance_line(answer)
    assert before.startswith("EfficientNet-Lite0")
    assert "BreastMNIST 28" in before
    assert (standing, after) == ("verified", " · 12 ms")
    assert words.provenance_line(changed(verified=False))[1] == "unverified"
    phantoms = changed(cell=cell("phantoms", 64, "pixels"))
    assert words.provenance_line(phantoms)[1].startswith("synthetic")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0002, "1 ms"), (0.25, "250 ms"), (3.14, "3.1 s"), (42, "42 s"), (600, "10 minutes")]
)
def test_durations(seconds, said):
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.98765, "0.9877"), (42.4242, "42.42"), (12345.6, "12,346"), (0.0, "0.0000")]
)
def test_scores_have_the_digits_that_tell_neighbours_apart(value, said):
    assert words.score(value) == said
