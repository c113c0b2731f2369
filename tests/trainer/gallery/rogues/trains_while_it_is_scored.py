"""Learns from the rows that it is asked about.

expect: stateful
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        if not self.training:
            counts = torch.bincount(idx.flatten(), minlength=self.head.out_features)
            self.head.bias.data = self.head.bias.data + 0.01 * counts
        return logits
