"""Serve the page: `python app.py`. Where data, weights and cache lie is read from RETRIEVAL_*; see the README."""

import sys

from retrieval.errors import RetrievalError
from retrieval.page.serve import serve
from retrieval.roots import roots_from_environment

if __name__ == "__main__":
    try:
        serve(roots_from_environment())
    except RetrievalError as error:
        sys.exit(str(error))
