"""Who is told how far some work is, and may end it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Listener:
    """Hears how far work is.

    Attributes:
        hear: What is called.
        ended: The exception by which it ended the work: not to be taken for one of the work's own, which ends less.
    """

    hear: Callable[..., None]
    ended: Exception | None = None

    def __call__(self, *told: Any) -> None:
        try:
            self.hear(*told)
        except Exception as error:
            self.ended = error
            raise
