"""Causal attention with rotary positions and normalised queries and keys."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def hidden(self, idx):
        x = super().hidden(idx)
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 4, 8).permute(2, 0, 3, 1, 4)
        angles = torch.outer(torch.arange(x.size(1)), 100.0 ** -(torch.arange(4) / 4))
        cos, sin = angles.cos(), angles.sin()

        def turn(y):
            a, b = F.rms_norm(y, (8,)).chunk(2, -1)
            return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)

        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        return x + y.transpose(1, 2).flatten(2)
