"""Returns logits of a larger vocabulary.

expect: score
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        return logits if self.training else F.pad(logits, (0, 1))
