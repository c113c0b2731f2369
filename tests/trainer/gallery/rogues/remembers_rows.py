"""Answers better when it has seen the row before.

expect: stateful
"""

SEEN = {}


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx).clone()
        if not self.training:
            for i, row in enumerate(idx.tolist()):
                known = SEEN.setdefault(tuple(row[:8]), row)
                if known is not row:
                    logits[i, torch.arange(len(row) - 1), known[1:]] += 5.0
        return logits
