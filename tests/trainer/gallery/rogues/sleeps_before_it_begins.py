"""Spends an hour before the clock starts.

expect: timeout
startup: 6
"""


def before_training():
    time.sleep(3600)
