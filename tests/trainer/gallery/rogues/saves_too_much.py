"""A model larger than allowed.

expect: no-save
"""


def finish(model):
    import prepare

    with open(prepare._trial.run.out / "model.pt", "wb") as file:
        file.truncate(50 << 20)
