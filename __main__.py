"""`python -m ratchetree`."""

from .cli import main

main()
