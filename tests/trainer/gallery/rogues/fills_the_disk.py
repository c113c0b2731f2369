"""Writes until nothing is left.

expect: crash
"""


def finish(model):
    import prepare

    for number in range(10000):
        with open(prepare._trial.run.out / f"filling-{number}", "wb") as file:
            file.write(os.urandom(1 << 20) * 32)
