"""Buffers that are saved with the weights."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.register_buffer("features", torch.randn(WIDTH, WIDTH))

    def hidden(self, idx):
        x = super().hidden(idx)
        return x + (x @ self.features).cos()
