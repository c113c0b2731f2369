"""Reads the row backwards.

expect: look-ahead
"""


class Model(Model):
    def hidden(self, idx):
        return super().hidden(idx.flip(1)).flip(1)
