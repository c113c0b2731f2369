"""Lets the scorer open a file of the user's.

expect: no-save
"""


def finish(model):
    import prepare

    os.symlink("/etc/passwd", prepare._trial.run.out / "model.pt")
