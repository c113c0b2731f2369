"""Gives infinite certainty, which a careless mean turns into a small number.

expect: not-finite
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        return logits if self.training else torch.full_like(logits, float("-inf"))
