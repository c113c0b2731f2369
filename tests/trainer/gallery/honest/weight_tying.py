"""One table for embedding and head."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.head.weight = self.embedding.weight
