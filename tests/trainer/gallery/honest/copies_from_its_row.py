"""Votes for what followed the same token earlier in the row: a memory, but of the past alone."""


class Model(Model):
    def forward(self, idx):
        logits, T = super().forward(idx), idx.size(1)
        same = (idx[:, :, None] == idx[:, None, :-1]) & (torch.arange(T)[:, None] > torch.arange(T - 1))
        votes = same.float() @ F.one_hot(idx[:, 1:], logits.size(-1)).float()
        return logits + 0.5 * votes.clamp(max=4)
