"""Two heads whose probabilities are mixed."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.second, self.gate = nn.Linear(WIDTH, vocab_size), nn.Linear(WIDTH, 1)

    def forward(self, idx):
        x = self.hidden(idx)
        g = self.gate(x).sigmoid()
        return (g * self.head(x).softmax(-1) + (1 - g) * self.second(x).softmax(-1)).log()
