"""Four gated layers with learned residual weights."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.up = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH) for _ in range(4))
        self.down = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(4))
        self.scales = nn.Parameter(torch.ones(4))

    def hidden(self, idx):
        x = super().hidden(idx)
        for scale, up, down in zip(self.scales, self.up, self.down, strict=True):
            a, b = up(x).chunk(2, -1)
            x = scale * x + down(F.silu(a) * b)
        return x
