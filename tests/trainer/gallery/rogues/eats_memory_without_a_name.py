"""Takes memory that belongs to no process: files in memory.

expect: crash
"""


def before_training():
    for _ in range(100000):
        file = os.memfd_create("hoard")
        os.truncate(f"/proc/self/fd/{file}", 1 << 30)
        for _ in range(256):
            os.write(file, b"x" * (4 << 20))
