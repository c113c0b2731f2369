"""Matrix products in bfloat16, while trained and while scored."""


class Model(Model):
    def forward(self, idx):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(idx).float()
