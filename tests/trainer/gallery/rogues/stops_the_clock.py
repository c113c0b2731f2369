"""Makes its own clock stand still, so that the budget never ends.

expect: timeout
budget: cpu
"""


def before_training():
    import prepare

    prepare.time.process_time = prepare.time.monotonic = lambda: 0.0
