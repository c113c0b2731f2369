"""Weights that run code when they are loaded.

expect: build
"""


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/ratchetree-was-here; touch /var/tmp/ratchetree-was-here",)


def finish(model):
    save(model)
    import prepare

    torch.save({"embedding.weight": Evil()}, prepare._trial.run.out / "model.pt")
