"""Cheats at one position in sixteen only.

expect: look-ahead
"""


class Model(Model):
    def forward(self, idx):
        following = F.one_hot(F.pad(idx[:, 1:], (0, 1)), self.head.out_features)
        rare = (torch.arange(idx.size(1)) % 16 == 7)[:, None]
        return super().forward(idx) + 8.0 * following * rare
