"""Answers made by hand, so that sentences and drawings can be held to the letter."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from retrieval.answers import Answer, ItemQuery, Nearness, Neighbour, Reliability, Tally
from retrieval.cells import cell


@pytest.fixture
def answer() -> Answer:
    """Test picture 12 of BreastMNIST, malignant: three of five neighbours say so; one is the same picture again."""
    malignant = [True, False, True, True, False]
    neighbours = tuple(
        Neighbour(
            rank=place + 1,
            index=100 + place,
            labels=(0 if says else 1,),
            label_name="malignant" if says else "normal or benign",
            score=10.5 + place,
            agrees=says,
            duplicate="near" if place == 0 else None,
        )
        for place, says in enumerate(malignant)
    )
    return Answer(
        cell=cell("breastmnist", 28, "efficientnet_lite0", "paper"),
        query=ItemQuery(split="test", index=12),
        query_labels=(0,),
        query_label_name="malignant",
        neighbours=neighbours,
        vote=(
            Tally(label=0, label_name="malignant", votes=3, share=0.6, gallery_share=0.27),
            Tally(label=1, label_name="normal or benign", votes=2, share=0.4, gallery_share=0.73),
        ),
        reliability=Reliability("true class", "malignant", hits=30, n=49, low=0.4735, high=0.7311),
        nearness=Nearness(percentile=43.2, beyond=False),
        verified=True,
        provenance={},
        seconds=0.0123,
    )


@pytest.fixture
def changed(answer: Answer) -> Callable[..., Answer]:
    """`changed(seconds=2)` is the answer with some fields different."""
    return lambda **fields: replace(answer, **fields)
