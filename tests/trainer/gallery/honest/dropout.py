"""Dropout while it is trained."""


class Model(Model):
    def hidden(self, idx):
        return F.dropout(super().hidden(idx), 0.2, self.training)
