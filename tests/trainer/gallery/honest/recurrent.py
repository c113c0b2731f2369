"""A GRU."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def hidden(self, idx):
        return self.gru(super().hidden(idx))[0]
