"""Matrix products in float16."""


class Model(Model):
    def forward(self, idx):
        with torch.autocast("cpu", torch.float16):
            return super().forward(idx).float()
