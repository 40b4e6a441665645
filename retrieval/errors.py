"""The few ways this product says no. Each says what happened and why (message) and what to do next (remedy).

RetrievalError
├── UnknownName     a dataset, extractor, size, protocol or split that does not exist; lists the valid ones
├── Unavailable     data, weights or embeddings that are not at hand, or cannot be fetched
├── BadInput        a picture or a file of the user's that cannot be used
└── Busy            another process holds the lock on what is to be written
"""

import difflib
from collections.abc import Iterable


class RetrievalError(Exception):
    """What happened and why in `message`, what to do next in `remedy`; both are sentences fit for a screen."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class UnknownName(RetrievalError):
    """A name that is none of the valid ones."""

    def __init__(self, kind: str, name: object, valid: Iterable[object]) -> None:
        names = [str(value) for value in valid]
        nearest = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
        hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
        super().__init__(f"There is no {kind} named {str(name)!r}.", remedy=f"{hint}Valid: {', '.join(names)}.")


class Unavailable(RetrievalError):
    """Something needed is not at hand and could not be made or fetched."""


class BadInput(RetrievalError):
    """A picture or file given by the user cannot be used."""


class Busy(RetrievalError):
    """Another process is writing the same thing."""
