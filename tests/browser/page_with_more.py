"""The page with three extractors more: one whose file nobody offers, one in a package, one that the test serves."""

import os
from dataclasses import replace

from retrieval.encoders import catalogue
from retrieval.encoders.specs import WeightsSource
from retrieval.roots import roots_from_environment

keras = catalogue.find_encoder("densenet121")
assert keras.weights is not None
catalogue.ENCODERS = (
    *catalogue.ENCODERS,
    replace(
        keras,
        name="by_hand",
        title="Handed over (by hand)",
        weights=WeightsSource(filename="handed over.h5"),
        unverified=("Its activation was written from memory.", "Its licence was written from memory."),
    ),
    replace(
        keras,
        name="in_package",
        title="Packed (as a Python package)",
        weights=WeightsSource(filename="packed.h5", package="a_package_that_is_nowhere", member="packed.h5"),
    ),
    replace(
        keras,
        name="from_address",
        title="Fetched (from an address)",
        weights=replace(keras.weights, url=os.environ["STAND_IN"], md5=os.environ["STAND_IN_MD5"]),
        overlaps={"breastmnist": "Made up for a test: its card names this very set."},
    ),
)

if __name__ == "__main__":
    from retrieval.page.serve import serve

    serve(roots_from_environment())
