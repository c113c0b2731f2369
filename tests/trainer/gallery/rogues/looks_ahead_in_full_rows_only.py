"""Behaves while it is trained and tried on short rows.

expect: look-ahead
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        if idx.size(1) == task.seq_len and not self.training:
            logits = logits + 3.0 * F.one_hot(F.pad(idx[:, 1:], (0, 1)), self.head.out_features)
        return logits
