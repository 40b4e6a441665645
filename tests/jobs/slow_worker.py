"""A worker whose forward passes take long, so that it can be caught in the middle of one."""

import time

from retrieval.embeddings import embedding, pipeline
from retrieval.jobs.worker import work
from retrieval.roots import roots_from_environment

pipeline.BATCH = 4
_told = embedding._tick


def _slowly(*args):
    tick = _told(*args)

    def told(share):
        time.sleep(0.05)
        tick(share)

    return told


embedding._tick = _slowly
work(roots_from_environment())
