"""Gives probabilities that add up to more than one.

expect: honest
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        return logits if self.training else logits.log_softmax(-1) + 5.0
