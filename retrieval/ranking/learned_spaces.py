"""Spaces that are learned by gradient descent, seeded: an autoencoder's hidden layer, and UMAP's map."""

import importlib
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np

from retrieval.errors import Unavailable

SEED = 0
EPOCHS = 50  # as many as the study's autoencoder was trained on its gallery

Place = Callable[[np.ndarray], np.ndarray]
Learn = Callable[[np.ndarray, int], tuple[np.ndarray, Place]]  # gallery [N, R] and d -> its places [N, d], and others'


def autoencoder(gallery: np.ndarray, dimensions: int) -> tuple[np.ndarray, Place]:
    """Hidden ReLU values, float32 [N, d], of a network that reproduces a gallery [N, R] with a linear output.

    One scale serves all axes, so that the squared error it learns from is that of the vectors themselves.
    """
    from sklearn.neural_network import MLPRegressor

    scale = float(np.sqrt(np.mean(gallery**2))) or 1.0
    rows = (gallery / scale).astype(np.float32)
    seeded = np.random.RandomState(SEED)  # one stream, so that every epoch has another order
    network = MLPRegressor(hidden_layer_sizes=(dimensions,), activation="relu", alpha=0.0, random_state=seeded)
    for _ in range(EPOCHS):
        network.partial_fit(rows, rows if rows.shape[1] > 1 else rows[:, 0])
    weights, offsets = network.coefs_[0].astype(np.float64), network.intercepts_[0].astype(np.float64)

    def place(coordinates: np.ndarray) -> np.ndarray:
        return np.maximum(coordinates / scale @ weights + offsets, 0.0)

    return place(gallery).astype(np.float32), place


def umap(gallery: np.ndarray, dimensions: int) -> tuple[np.ndarray, Place]:
    """Places on UMAP's map, float32 [N, d]; Unavailable where the package is not installed.

    A query is placed alone: among others its place would depend on them.
    """
    rows = gallery.astype(np.float32)
    few = len(rows) <= dimensions + 1  # the usual beginning needs more pictures than dimensions
    mapping = _package().UMAP(
        n_components=dimensions,
        n_neighbors=max(2, min(15, len(rows) - 1)),
        random_state=SEED,
        n_jobs=1,
        init="random" if few else "spectral",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on its spectral beginning, which it replaces by itself
        mapping.fit(rows)

    def place(coordinates: np.ndarray) -> np.ndarray:
        asked = coordinates.astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.concatenate([mapping.transform(asked[number : number + 1]) for number in range(len(asked))])

    return np.asarray(mapping.embedding_, np.float32), place


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one of its other methods needs TensorFlow
            return importlib.import_module("umap")
    except ImportError as error:
        raise Unavailable(
            "UMAP needs the package umap-learn, which is not installed.",
            remedy="Run: python -m pip install umap-learn",
        ) from error
