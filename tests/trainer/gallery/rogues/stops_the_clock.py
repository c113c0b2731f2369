"""Makes its own clock stand still, so that the budget never ends.

expect: timeout
budget: cpu
"""


def before_training():
    import trial

    trial.time.process_time = trial.time.monotonic = lambda: 0.0
