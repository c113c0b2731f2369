"""Short rows first, long ones later."""


def main():
    torch.manual_seed(task.seed)
    model = build_model(task)
    for x, y in train_batches(16, 64):
        learn(model, loss_of(model, x, y))
        if progress() > 0.5:
            break
    for x, y in train_batches(4, 256):
        learn(model, loss_of(model, x, y))
    finish(model)
