"""Everything in bfloat16, logits included."""


def build_model(task):
    return Model(task.vocab_size).to(torch.bfloat16)
