"""Ends without a save.

expect: no-save
"""


def finish(model):
    pass
