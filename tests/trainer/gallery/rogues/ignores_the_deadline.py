"""Takes no notice of the end of the budget.

expect: timeout
budget: cpu
"""


def learn(model, loss):
    while True:
        loss_of(model, torch.zeros(8, 128, dtype=torch.long), torch.zeros(8, 128, dtype=torch.long))
