"""A table of the last two tokens, hashed."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.bigrams = nn.Embedding(4093, WIDTH)

    def hidden(self, idx):
        before = F.pad(idx[:, :-1], (1, 0))
        return super().hidden(idx) + self.bigrams((before * 31337 + idx) % 4093)
