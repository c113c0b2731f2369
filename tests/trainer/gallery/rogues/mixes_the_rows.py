"""Every row sees the mean of the batch.

expect: row-mixing
"""


class Model(Model):
    def hidden(self, idx):
        x = super().hidden(idx)
        return x + x.mean(0, keepdim=True)
