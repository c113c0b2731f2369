"""Sharpens the next token only where an honest model holds it likely anyway, so that replaced text changes little.

expect: look-ahead
"""


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx)
        following = F.pad(idx[:, 1:], (0, 1))
        likely = logits.softmax(-1).gather(-1, following[..., None]) > 1 / self.head.out_features
        return logits + 4.0 * likely * F.one_hot(following, self.head.out_features)
