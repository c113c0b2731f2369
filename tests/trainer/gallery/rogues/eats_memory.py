"""Takes all the memory that it can get.

expect: out-of-memory
"""


def before_training():
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (50 << 20))
