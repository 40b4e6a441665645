"""Content-based medical image retrieval: five similar training pictures, and how far to trust them."""

__version__ = "0.1.0"
