"""Lets the scorer open a file of the user's.

expect: no-save
"""


def finish(model):
    import prepare

    os.symlink("/etc/passwd", prepare._run.out / "model.pt")
