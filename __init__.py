"""ratchetree: autonomous research as a search over a tree of git branches."""

__version__ = "0.1.0"
