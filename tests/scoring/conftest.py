"""Small datasets of every task, so that scoring is tested without a file."""

from collections.abc import Callable

import pytest

from retrieval.datasets.specs import Dataset, Task


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    """`make_dataset(task, n_classes)`: a Dataset of that task whose classes are named a, b, c, ..."""

    def make(task: Task, n_classes: int) -> Dataset:
        return Dataset(
            name="small",
            title="Small",
            about="Labels only.",
            ndim=2,
            channels=1,
            task=task,
            classes=tuple("abcdefghijklmn"[:n_classes]),
            counts={"train": 0, "val": 0, "test": 0},
            sizes=(28,),
            licence="CC0-1.0",
            url="https://example.org",
            citation="none",
        )

    return make
