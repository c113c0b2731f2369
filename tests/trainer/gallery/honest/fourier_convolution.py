"""A long causal convolution by Fourier transform, padded so that nothing wraps around; exact but for rounding."""


class Model(Model):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.filter = nn.Parameter(0.1 * torch.randn(task.seq_len, WIDTH))

    def hidden(self, idx):
        x = super().hidden(idx)
        n = 2 * x.size(1)
        y = torch.fft.irfft(torch.fft.rfft(x, n, dim=1) * torch.fft.rfft(self.filter[: x.size(1)], n, dim=0), n, dim=1)
        return x + y[:, : x.size(1)]
