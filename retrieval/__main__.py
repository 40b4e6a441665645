"""`python -m retrieval`."""

from retrieval.cli.commands import main

if __name__ == "__main__":
    main()
