"""Never answers.

expect: score
"""


class Model(Model):
    def forward(self, idx):
        if not self.training:
            time.sleep(3600)
        return super().forward(idx)
