"""Hopes that a comparison with NaN is won.

expect: not-finite
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        return logits if self.training else logits * float("nan")
