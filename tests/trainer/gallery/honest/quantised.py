"""Weights rounded to eight bits in every forward pass."""


class Model(Model):
    def forward(self, idx):
        weight = self.head.weight
        scale = weight.abs().amax(1, keepdim=True) / 127 + 1e-9
        rounded = weight + ((weight / scale).round() * scale - weight).detach()
        return F.linear(self.hidden(idx), rounded, self.head.bias)
