"""The input one place later is the target.

expect: look-ahead
"""


class Model(Model):
    def forward(self, idx):
        following = F.pad(idx[:, 1:], (0, 1))
        return super().forward(idx) + 8.0 * F.one_hot(following, self.head.out_features)
