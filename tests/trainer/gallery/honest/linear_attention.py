"""Attention without a softmax: running sums of outer products."""


class Model(Model):
    def hidden(self, idx):
        x = super().hidden(idx)
        k = F.elu(x[..., :8]) + 1
        state = torch.einsum("btk,btv->btkv", k, x).cumsum(1)
        return x + torch.einsum("btk,btkv->btv", k, state) / (1 + k.cumsum(1).sum(-1, keepdim=True))
