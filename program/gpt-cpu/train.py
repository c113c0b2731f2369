"""Train a small GPT within the budget. This is the file that agents patch.

One model, two optimizers, one loop. Importing it does nothing; `build_model` reads no data, file or network, because
the scorer calls it to build a model for the saved weights. Logits at a position may depend only on the tokens up to it.
"""

import math
import time

import torch
import torch.nn.functional as F
from prepare import progress, save, seconds_left, task, train_batches
from torch import nn

# The model
DEPTH = 3  # blocks
WIDTH = 96  # of the residual stream
HEADS = 3  # attention heads, each WIDTH / HEADS wide, rounded down to an even number
MLP_RATIO = 4  # hidden width of the MLP over WIDTH
ROPE_BASE = 10000.0  # slowest rotation is about 1 / ROPE_BASE radians per position
INIT_SCALE = 1.0  # times 1 / sqrt(fan in), for the matrices of the blocks
DROPOUT = 0.0  # share of the residual updates set to zero
TIE_WEIGHTS = False  # one table for embedding and head
QK_NORM = True  # normalise queries and keys
LOGIT_CAP = 0.0  # squash logits smoothly into +-LOGIT_CAP; 0.0 = off
VALUE_EMBEDDINGS = False  # a second embedding of the token, added to the values of every other block
RESIDUAL_SCALARS = False  # learned weights of the stream and of the first embedding before each block

# The training
SEQ_LEN = 256  # tokens in a training row, at most task.seq_len
BATCH_SIZE = 4  # rows in a step
MATRIX_LR = 0.02  # Muon, matrices of the blocks
EMBEDDING_LR = 0.02  # Adam, embedding tables
HEAD_LR = 0.004  # Adam, output head
SCALAR_LR = 0.02  # Adam, everything that is not a matrix
MOMENTUM = 0.95  # Muon
MUON_STEPS = 5  # Newton-Schulz iterations; fewer are cheaper and rougher
ADAM_BETA1 = 0.9
ADAM_BETA2 = 0.95
WEIGHT_DECAY = 0.0  # of the matrices, per unit of learning rate
WARMUP = 0.05  # share of the budget in which the learning rates rise
WARMDOWN = 0.3  # share of the budget in which they fall
FINAL_LR = 0.1  # where they end, as a share of the full rate
GRAD_CLIP = 1.0  # largest norm of all gradients together; 0.0 = off
BFLOAT16 = False  # matrix products in bfloat16, the weights stay float32; faster where the processor has it
SAVE_SECONDS = 0.2  # of the budget, kept for saving
PRINT_SECONDS = 0.5  # between two lines of progress


def norm(x):
    """RMS norm without weights."""
    return F.rms_norm(x, (x.size(-1),))


def head_width():
    """Even, because positions rotate pairs."""
    return max(2, WIDTH // HEADS // 2 * 2)


def rotate(x, cos, sin):
    """Rotary positions: x [B, H, T, D], cos and sin [T, D / 2]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self):
        super().__init__()
        inner = HEADS * head_width()
        self.query = nn.Linear(WIDTH, inner, bias=False)
        self.key = nn.Linear(WIDTH, inner, bias=False)
        self.value = nn.Linear(WIDTH, inner, bias=False)
        self.out = nn.Linear(inner, WIDTH, bias=False)

    def forward(self, x, extra_value, cos, sin):
        B, T, _ = x.shape
        v = self.value(x)
        if extra_value is not None:
            v = v + extra_value
        q, k, v = (y.view(B, T, HEADS, -1).transpose(1, 2) for y in (self.query(x), self.key(x), v))
        if QK_NORM:
            q, k = norm(q), norm(k)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """Two matrices with a squared ReLU between them."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(WIDTH, MLP_RATIO * WIDTH, bias=False)
        self.down = nn.Linear(MLP_RATIO * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())


class Block(nn.Module):
    """Attention, then MLP, each on the normalised stream."""

    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.mlp = MLP()

    def forward(self, x, extra_value, cos, sin):
        x = x + F.dropout(self.attention(norm(x), extra_value, cos, sin), DROPOUT, self.training)
        return x + F.dropout(self.mlp(norm(x)), DROPOUT, self.training)


class GPT(nn.Module):
    """Token ids [B, T] to logits [B, T, vocabulary]."""

    def __init__(self, vocab_size, seq_len):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, vocab_size, bias=False)
        if TIE_WEIGHTS:
            self.head.weight = self.embedding.weight
        if VALUE_EMBEDDINGS:
            self.value_embeddings = nn.ModuleList(
                nn.Embedding(vocab_size, HEADS * head_width()) for _ in range(DEPTH // 2)
            )
        if RESIDUAL_SCALARS:
            self.stream_scale = nn.Parameter(torch.ones(DEPTH))
            self.first_scale = nn.Parameter(torch.full((DEPTH,), 0.1))
        half = head_width() // 2
        angles = torch.outer(torch.arange(seq_len), ROPE_BASE ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.init_weights()

    def init_weights(self):
        """Every block starts as the identity; the head starts at zero, so the first loss is ln(vocabulary)."""
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight", "head.weight")):
                nn.init.zeros_(weight)
            elif "embedding" in name:
                nn.init.normal_(weight, std=0.02 if TIE_WEIGHTS else 1.0)
            elif weight.ndim == 2:
                nn.init.normal_(weight, std=INIT_SCALE / math.sqrt(weight.size(1)))

    def forward(self, idx):
        T = idx.size(1)
        cos, sin = self.cos[:T], self.sin[:T]
        x = first = norm(self.embedding(idx))
        for i, block in enumerate(self.blocks):
            if RESIDUAL_SCALARS:
                x = self.stream_scale[i] * x + self.first_scale[i] * first
            extra_value = self.value_embeddings[i // 2](idx) if VALUE_EMBEDDINGS and i % 2 == 1 else None
            x = block(x, extra_value, cos, sin)
        logits = self.head(norm(x)).float()
        if LOGIT_CAP > 0:
            logits = LOGIT_CAP * torch.tanh(logits / LOGIT_CAP)
        return logits


def build_model(task):
    """The untrained model."""
    return GPT(task.vocab_size, task.seq_len)


# The optimizers do not derive from torch.optim.Optimizer: its first use imports the compiler, 1.4 s of start-up.


class Adam:
    """Adam without weight decay, for tables and vectors."""

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        self.lr = lr
        self.step_count = 0
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr_scale):
        self.step_count += 1
        mean_bias = 1 - ADAM_BETA1**self.step_count
        square_bias = 1 - ADAM_BETA2**self.step_count
        for p, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            mean.lerp_(p.grad, 1 - ADAM_BETA1)
            square.mul_(ADAM_BETA2).addcmul_(p.grad, p.grad, value=1 - ADAM_BETA2)
            p.addcdiv_(mean, (square / square_bias).sqrt_().add_(1e-8), value=-self.lr * lr_scale / mean_bias)


class Muon:
    """Momentum whose updates are orthogonalised, for the matrices of the blocks (Keller Jordan, 2024)."""

    def __init__(self, parameters, lr):
        by_shape = {}
        for p in parameters:
            by_shape.setdefault(p.shape, []).append(p)
        self.groups = list(by_shape.values())
        self.lr = lr
        self.momenta = [torch.stack([torch.zeros_like(p) for p in group]) for group in self.groups]

    @torch.no_grad()
    def step(self, lr_scale):
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            gradient = torch.stack([p.grad for p in group])
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalize(gradient.lerp(momentum, MOMENTUM))
            rows, columns = update.shape[-2:]
            lr = self.lr * lr_scale * max(1.0, rows / columns) ** 0.5
            for p, u in zip(group, update, strict=True):
                p.mul_(1 - lr * WEIGHT_DECAY).sub_(u, alpha=lr)


def orthogonalize(g):
    """Push all singular values of each matrix in g [N, rows, columns] towards 1: Newton-Schulz, quintic."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.size(-2) > g.size(-1)
    x = g.mT if tall else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(MUON_STEPS):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x


def make_optimizers(model):
    """Muon for the matrices of the blocks, Adam for the rest."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    tables = [p for name, p in model.named_parameters() if "embedding" in name]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizers = [Muon(matrices, MATRIX_LR), Adam(tables, EMBEDDING_LR), Adam(others, SCALAR_LR)]
    if not TIE_WEIGHTS:
        optimizers.append(Adam([model.head.weight], HEAD_LR))
    return optimizers


def lr_scale(used):
    """The schedule: up, flat, down; `used` is the share of the budget used so far."""
    if used < WARMUP:
        return max(used / WARMUP, 0.01)
    if used > 1 - WARMDOWN:
        return FINAL_LR + (1 - FINAL_LR) * (1 - used) / WARMDOWN
    return 1.0


def main():
    torch.manual_seed(task.seed)
    model = build_model(task).to(task.device)
    parameters = list(model.parameters())
    optimizers = make_optimizers(model)
    print(f"{sum(p.numel() for p in parameters):,} parameters on {task.device}", flush=True)
    print_at = 0.0
    for step, (x, y) in enumerate(train_batches(BATCH_SIZE, SEQ_LEN), start=1):
        step_started = time.monotonic()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=BFLOAT16):
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        if GRAD_CLIP > 0:
            nn.utils.clip_grad_norm_(parameters, GRAD_CLIP)
        scale = lr_scale(progress())
        for optimizer in optimizers:
            optimizer.step(scale)
        model.zero_grad()
        step_ended = time.monotonic()
        if step_ended > print_at:
            print_at = step_ended + PRINT_SECONDS
            if not math.isfinite(loss.item()):
                raise RuntimeError(f"not-finite: the loss is {loss.item()} at step {step}")
            print(f"step {step} loss {loss.item():.4f} budget {progress():.0%}", flush=True)
        if seconds_left() < step_ended - step_started + SAVE_SECONDS:  # no room for another step like this one
            break
    save(model)


if __name__ == "__main__":
    main()
