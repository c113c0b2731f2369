"""Train a GPT on one card within the budget. This is the file that agents patch.

One model, two optimizers, one loop. Importing it does nothing; `build_model` reads no data, file or network, because
the scorer calls it to build a model for the saved weights. Logits at a position may depend only on the tokens up to it.
Everything that takes long (compiling, the first steps of every kernel) is done on made-up tokens before the clock
starts. On Apple's MPS and on a CPU the same file trains a smaller model, without the compiler.
"""

import gc
import importlib.util
import math
import time

import torch
import torch.nn.functional as F
from prepare import progress, save, seconds_left, task, train_batches
from torch import nn

# The model, on a card; SHRINK says by how much it is smaller elsewhere
DEPTH = 9  # blocks
HEADS = 5  # attention heads
HEAD_DIM = 128  # width of a head; the stream is HEADS * HEAD_DIM wide
MLP_RATIO = 4  # hidden width of the MLP over the stream's
SHORT_WINDOW = 256  # tokens that a short layer sees; 0 = every layer sees the whole row
LONG_EVERY = 5  # one layer in so many sees the whole row; the last one always does
ROPE_BASE = 200000.0  # slowest rotation is about 1 / ROPE_BASE radians per position
INIT_SCALE = 0.68  # times 1 / sqrt(fan in), for the matrices of the blocks
LOGIT_CAP = 15.0  # squash logits smoothly into +-LOGIT_CAP; 0.0 = off
QK_SCALE = 1.2  # of normalised queries and keys each: sharper attention
VALUE_EMBEDDINGS = True  # a second embedding of the token, gated into the values of every other block
GATE_CHANNELS = 32  # of the stream, that a gate looks at
FIRST_SCALE = 0.05  # of the first embedding, added again before each block; learned from there
SMEAR = True  # a gated part of the token before is added to each embedding
BACKOUT = 0.2  # of the middle of the stream, taken away at its end; learned from there; 0.0 = off
BIGRAMS = 65536  # rows of a table for pairs of neighbouring tokens, hashed; 0 = off

# The training
SEQ_LEN = 2048  # tokens in a training row, at most task.seq_len
BATCH_SIZE = 128  # rows in a step
ROW_GB = 0.5  # memory that a row takes: a step is cut into parts that fit the card
MATRIX_LR = 0.04  # Muon, matrices of the blocks
MOMENTUM = 0.95  # Muon, after MOMENTUM_STEPS; 0.85 at first
MOMENTUM_STEPS = 200
SPREAD_BETA = 0.95  # Muon, memory of how large the updates of a row or column are
MATRIX_DECAY = 0.2  # of the matrices where the update agrees, per unit of learning rate; falls to zero
EMBEDDING_LR = 0.9  # Adam, embedding tables, at a width of 768; as for HEAD_LR
EMBEDDING_DECAY = 0.002
BIGRAM_LR = 0.3
HEAD_LR = 0.005
HEAD_DECAY = 0.01
SCALAR_LR = 0.01  # Adam, scales of the stream and gates
FIRST_LR = 0.5  # Adam, scales of the first embedding
ADAM_BETA1 = 0.8
ADAM_BETA2 = 0.95
WARMUP = 0.0  # share of the budget in which the learning rates rise
WARMDOWN = 0.75  # share of the budget in which they fall
FINAL_LR = 0.05  # where they end, as a share of the full rate
SAVE_SECONDS = 2.0  # of the budget, kept for saving
PRINT_SECONDS = 1.0  # between two lines of progress

SHRINK = {"cuda": 1, "mps": 2, "cpu": 4}  # depth, width and rows are divided by it, rows in a step by its cube


def shrunk(size, device, least=1):
    """A size on this device."""
    return max(least, -(-size // SHRINK.get(device, 1)))


def norm(x):
    """RMS norm without weights."""
    return F.rms_norm(x, (x.size(-1),))


def rotate(x, cos, sin):
    """Rotary positions: x [B, T, H, D], cos and sin [T, 1, D / 2]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


# ---------------------------------------------------------------------------------------------------------------------
# Attention: FlashAttention-3 where it is installed and the card can run it, FlexAttention in compiled code on other
# cards, and PyTorch's own with a mask elsewhere. All see the same tokens: `window` of them, up to and with its own.


def flash_attention():
    """FlashAttention-3's function, or None. It runs on Hopper."""
    if not torch.cuda.is_available() or importlib.util.find_spec("flash_attn_interface") is None:
        return None
    if torch.cuda.get_device_capability() != (9, 0):
        return None
    from flash_attn_interface import flash_attn_func

    return flash_attn_func


def block_mask(window, length, device):
    """FlexAttention's mask of a causal window."""
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(b, h, q, k):
        return (q >= k) & (q - k < window)

    return create_block_mask(seen, None, None, length, length, device=device)


def plain_attention(q, k, v, window):
    """Causal attention in a window; q, k, v [B, T, H, D]."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    T = q.size(2)
    if window >= T:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        at = torch.arange(T, device=q.device)
        back = at[:, None] - at[None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back < window))
    return y.transpose(1, 2)


def flexible_attention(q, k, v, mask):
    """The same with FlexAttention, which skips what the mask hides."""
    from torch.nn.attention.flex_attention import flex_attention

    y = flex_attention(*(x.transpose(1, 2) for x in (q, k, v)), block_mask=mask)
    return y.transpose(1, 2)


# ---------------------------------------------------------------------------------------------------------------------
# The model


class Linear(nn.Linear):
    """Without bias; the weights stay float32 for the optimizer and are cast to what comes in."""

    def __init__(self, inner, outer):
        super().__init__(inner, outer, bias=False)

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


class Attention(nn.Module):
    """Causal self-attention over a window of tokens."""

    def __init__(self, width, heads, window, has_values):
        super().__init__()
        self.heads, self.window = heads, window
        self.query, self.key, self.value = (Linear(width, width) for _ in range(3))
        self.out = Linear(width, width)
        self.gate = Linear(min(GATE_CHANNELS, width), heads) if has_values else None
        self.flash = self.mask = None  # set for training on a card

    def forward(self, x, extra_value, cos, sin):
        B, T, C = x.shape
        q, k, v = (layer(x).view(B, T, self.heads, -1) for layer in (self.query, self.key, self.value))
        if self.gate is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))
            v = v + gate.unsqueeze(-1) * extra_value.view(B, T, self.heads, -1)
        q, k = (norm(rotate(y, cos, sin)) * QK_SCALE for y in (q, k))
        if self.flash is not None:
            y = self.flash(q, k, v, causal=True, window_size=(self.window - 1, 0))
            y = y[0] if isinstance(y, tuple) else y  # some releases also give the log-sums
        elif self.mask is not None:
            y = flexible_attention(q, k, v, self.mask)
        else:
            y = plain_attention(q, k, v, self.window)
        return self.out(y.reshape(B, T, C))


class MLP(nn.Module):
    """Two matrices with a squared ReLU between them."""

    def __init__(self, width):
        super().__init__()
        self.up = Linear(width, MLP_RATIO * width)
        self.down = Linear(MLP_RATIO * width, width)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())


class Block(nn.Module):
    """Attention, then MLP, each on the normalised stream."""

    def __init__(self, width, heads, window, has_values):
        super().__init__()
        self.attention = Attention(width, heads, window, has_values)
        self.mlp = MLP(width)

    def forward(self, x, extra_value, cos, sin):
        x = x + self.attention(norm(x), extra_value, cos, sin)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    """Token ids [B, T] to logits [B, T, vocabulary]."""

    def __init__(self, vocab_size, seq_len, device):
        super().__init__()
        self.dtype = torch.float32 if device == "cpu" else torch.bfloat16
        depth, head_dim = shrunk(DEPTH, device), shrunk(HEAD_DIM, device, least=2) // 2 * 2
        width = HEADS * head_dim
        self.embedding = nn.Embedding(vocab_size, width)
        windows = [self.window(i, depth, seq_len, device) for i in range(depth)]
        has_values = [VALUE_EMBEDDINGS and i % 2 == (depth - 1) % 2 for i in range(depth)]
        self.blocks = nn.ModuleList(Block(width, HEADS, w, v) for w, v in zip(windows, has_values, strict=True))
        self.value_embeddings = nn.ModuleDict(
            {str(i): nn.Embedding(vocab_size, width) for i in range(depth) if has_values[i]}
        )
        self.head = Linear(width, vocab_size)
        self.stream_scale = nn.Parameter(torch.ones(depth))
        self.first_scale = nn.Parameter(torch.full((depth,), FIRST_SCALE))
        if BIGRAMS:
            self.bigram_embedding = nn.Embedding(shrunk(BIGRAMS, device), width)
            self.bigram_scale = nn.Parameter(torch.full((depth,), FIRST_SCALE))
        if SMEAR:
            self.smear_gate = Linear(min(GATE_CHANNELS, width), 1)
            self.smear_scale = nn.Parameter(torch.zeros(1))
        if BACKOUT:
            self.backout_scale = nn.Parameter(torch.full((1,), BACKOUT))
        angles = torch.outer(torch.arange(seq_len), ROPE_BASE ** (-torch.arange(head_dim // 2) / (head_dim // 2)))
        self.register_buffer("cos", angles.cos()[:, None], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None], persistent=False)
        self.init_weights()

    @staticmethod
    def window(layer, depth, seq_len, device):
        """Tokens that a layer sees."""
        is_long = layer == depth - 1 or layer % LONG_EVERY == LONG_EVERY - 1 or not SHORT_WINDOW
        return seq_len if is_long else min(seq_len, shrunk(SHORT_WINDOW, device))

    def init_weights(self):
        """Every block starts as the identity; the head is almost zero, so the first loss is about ln(vocabulary)."""
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight", "gate.weight")) or name.startswith("bigram_embedding"):
                nn.init.zeros_(weight)
            elif name == "head.weight":
                nn.init.normal_(weight, std=0.001)
            elif name == "embedding.weight":
                nn.init.normal_(weight)
            elif weight.ndim == 2:
                bound = INIT_SCALE * math.sqrt(3 / self.embedding.embedding_dim)
                nn.init.uniform_(weight, -bound, bound)

    def forward(self, idx):
        T = idx.size(1)
        cos, sin = self.cos[:T].to(self.dtype), self.sin[:T].to(self.dtype)
        x = norm(self.embedding(idx).to(self.dtype))
        if SMEAR:
            gate = torch.sigmoid(self.smear_gate(x[:, 1:, : self.smear_gate.in_features]))
            x = torch.cat((x[:, :1], x[:, 1:] + self.smear_scale.to(self.dtype) * gate * x[:, :-1]), dim=1)
        first, middle = x, None
        pairs = self.bigram_embedding(self.hashed_pairs(idx)).to(self.dtype) if BIGRAMS else None
        for i, block in enumerate(self.blocks):
            x = self.stream_scale[i].to(self.dtype) * x + self.first_scale[i].to(self.dtype) * first
            if BIGRAMS:
                x = x + self.bigram_scale[i].to(self.dtype) * pairs
            extra = self.value_embeddings[str(i)](idx).to(self.dtype) if str(i) in self.value_embeddings else None
            x = block(x, extra, cos, sin)
            if i == len(self.blocks) // 2:
                middle = x
        if BACKOUT:
            x = x - self.backout_scale.to(self.dtype) * middle
        logits = self.head(norm(x)).float()
        return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP > 0 else logits

    def hashed_pairs(self, idx):
        """A row of the bigram table for each token and the one before it; the first token of a row has no pair: 0."""
        rows = self.bigram_embedding.num_embeddings - 1
        pairs = 1 + ((idx[:, :-1] * 36313) ^ (idx[:, 1:] * 27191)) % rows
        return F.pad(pairs, (1, 0))

    def flops_per_token(self, length):
        """Of forward and backward: 6 per weight that is multiplied, 12 per channel and token that attention sees."""
        multiplied = sum(p.numel() for p in self.blocks.parameters()) + self.head.weight.numel()
        seen = sum(min(block.attention.window, length) for block in self.blocks)
        return 6 * multiplied + 12 * self.embedding.embedding_dim * seen


def build_model(task):
    """The untrained model."""
    return GPT(task.vocab_size, task.seq_len, task.device)


# ---------------------------------------------------------------------------------------------------------------------
# The optimizers

# Polar Express: five steps that bring singular values near one, each best for what the one before leaves
# (Amsel et al. 2025, arXiv 2505.16932).
POLAR = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalize(g):
    """Push all singular values of each matrix in g [N, rows, columns] towards 1."""
    tall = g.size(-2) > g.size(-1)
    x = g.mT if tall else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR:
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return x.mT if tall else x


def muon_update(weights, gradients, momenta, spreads, dtype, momentum, lr, decay):
    """One step for stacked matrices [N, rows, columns]; the last three are numbers or 0-d tensors.

    The update is orthogonal (Muon, Jordan 2024), evened out over rows or columns (NorMuon, arXiv 2510.05491), and
    weights decay only where the update makes them smaller anyway (cautious decay, arXiv 2510.12402).
    """
    momenta.lerp_(gradients, 1 - momentum)
    update = orthogonalize(gradients.lerp(momenta, momentum).to(dtype)).float()
    along = -1 if weights.size(-2) >= weights.size(-1) else -2
    size = update.square().mean(dim=along, keepdim=True)
    spreads.lerp_(size, 1 - SPREAD_BETA)
    even = spreads.clamp_min(1e-10).rsqrt()
    before = size.sum(dim=(-2, -1), keepdim=True).sqrt()
    after = (size * even.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    update = update * even * (before / after.clamp_min(1e-10))
    agrees = (update * weights) >= 0
    weights.sub_(lr * update + lr * decay * weights * agrees)


class Muon:
    """Momentum whose updates are orthogonalised, for the matrices of the blocks; equal shapes go together."""

    def __init__(self, parameters, dtype, compiled):
        by_shape = {}
        for p in parameters:
            by_shape.setdefault(p.shape, []).append(p)
        self.groups = list(by_shape.values())
        self.dtype, self.compiled = dtype, compiled
        self.update = torch.compile(muon_update, dynamic=False, fullgraph=True) if compiled else muon_update
        self.momenta, self.spreads = [], []
        for group in self.groups:
            stacked = torch.zeros(len(group), *group[0].shape, device=group[0].device)
            self.momenta.append(stacked)
            self.spreads.append(torch.zeros_like(stacked[..., :1] if self.is_tall(group) else stacked[..., :1, :]))

    @staticmethod
    def is_tall(group):
        """Whether its matrices have no more columns than rows."""
        return group[0].size(-2) >= group[0].size(-1)

    @torch.no_grad()
    def step(self, momentum, lr, decay):
        """One step of all groups."""
        for group, momenta, spreads in zip(self.groups, self.momenta, self.spreads, strict=True):
            rows, columns = group[0].shape
            numbers = (momentum, lr * max(1.0, rows / columns) ** 0.5, decay)
            if self.compiled:  # a number that changes would be compiled anew, a 0-d tensor is not
                numbers = [torch.tensor(number) for number in numbers]
            weights = torch.stack(group)
            self.update(weights, torch.stack([p.grad for p in group]), momenta, spreads, self.dtype, *numbers)
            torch._foreach_copy_(group, list(weights.unbind(0)))

    def reset(self):
        """Forget all steps."""
        for state in (*self.momenta, *self.spreads):
            state.zero_()


def make_optimizers(model, device):
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2 and min(p.shape) > HEADS]
    tables = [model.embedding.weight, *(table.weight for table in model.value_embeddings.values())]
    pairs = [model.bigram_embedding.weight] if BIGRAMS else []
    first = [model.first_scale, *([model.bigram_scale] if BIGRAMS else [])]
    placed = {id(p) for p in (*matrices, *tables, *pairs, *first, model.head.weight)}
    scalars = [p for p in model.parameters() if id(p) not in placed]
    width = (model.embedding.embedding_dim / 768) ** -0.5
    groups = [
        {"params": tables, "lr": EMBEDDING_LR * width, "weight_decay": EMBEDDING_DECAY},
        {"params": pairs, "lr": BIGRAM_LR * width, "weight_decay": 0.0},
        {"params": [model.head.weight], "lr": HEAD_LR * width, "weight_decay": HEAD_DECAY},
        {"params": scalars, "lr": SCALAR_LR, "weight_decay": 0.0},
        {"params": first, "lr": FIRST_LR, "betas": (0.96, ADAM_BETA2), "weight_decay": 0.0},
    ]
    groups = [group | {"full_lr": group["lr"]} for group in groups if group["params"]]
    adam = torch.optim.AdamW(groups, betas=(ADAM_BETA1, ADAM_BETA2), eps=1e-10, fused=device != "mps")
    return Muon(matrices, model.dtype, device == "cuda"), adam


def lr_scale(used):
    """The schedule: up, flat, down; `used` is the share of the budget used so far."""
    if used < WARMUP:
        return max(used / WARMUP, 0.01)
    if used > 1 - WARMDOWN:
        return FINAL_LR + (1 - FINAL_LR) * (1 - used) / WARMDOWN
    return 1.0


# ---------------------------------------------------------------------------------------------------------------------
# The training


class Trainer:
    """A model with what it is trained by."""

    def __init__(self, model, device, length):
        self.model, self.device = model, device
        self.muon, self.adam = make_optimizers(model, device)
        if device == "cuda":
            self.set_attention(length)
        self.loss_of = torch.compile(self.plain_loss, dynamic=False) if device == "cuda" else self.plain_loss
        memory_gb = torch.cuda.get_device_properties(0).total_memory / 2**30 if device == "cuda" else math.inf
        self.rows = part_size(shrunk_rows(device), memory_gb)

    def set_attention(self, length):
        """The fastest attention that this card has."""
        flash, masks = flash_attention(), {}
        for block in self.model.blocks:
            block.attention.flash = flash
            if flash is None:
                window = block.attention.window
                if window not in masks:
                    masks[window] = block_mask(window, length, self.device)
                block.attention.mask = masks[window]

    def plain_loss(self, x, y):
        """Mean nats of the targets."""
        return F.cross_entropy(self.model(x).flatten(0, 1), y.flatten())

    def step(self, x, y, number, used):
        """One step of both optimizers; the loss, still on the device."""
        loss = torch.zeros((), device=x.device)
        for a, b in zip(x.split(self.rows), y.split(self.rows), strict=True):
            part = self.loss_of(a, b) * (len(a) / len(x))
            part.backward()
            loss += part.detach()
        scale = lr_scale(used)
        for group in self.adam.param_groups:
            group["lr"] = group["full_lr"] * scale
        warm = min(1.0, number / MOMENTUM_STEPS)
        self.muon.step((1 - warm) * 0.85 + warm * MOMENTUM, MATRIX_LR * scale, MATRIX_DECAY * (1 - used))
        self.adam.step()
        self.model.zero_grad(set_to_none=True)
        return loss

    def warm_up(self, vocab_size, length):
        """Two steps on made-up tokens, then everything as before: what must be compiled is compiled."""
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        for _ in range(2):
            tokens = torch.randint(vocab_size, (shrunk_rows(self.device), length + 1), device=self.device)
            self.step(tokens[:, :-1], tokens[:, 1:], 0, 0.0).item()
        self.model.load_state_dict(before)
        self.muon.reset()
        self.adam.state.clear()


def shrunk_rows(device):
    """Rows in a step on this device."""
    return max(1, BATCH_SIZE // SHRINK.get(device, 1) ** 3)


def part_size(rows, memory_gb):
    """Rows of a step that are on the device at once: halved until they fit."""
    while rows > 1 and rows * ROW_GB > 0.85 * memory_gb:
        rows = -(-rows // 2)
    return rows


def main():
    torch.manual_seed(task.seed)
    torch.set_float32_matmul_precision("high")
    length = min(task.seq_len, shrunk(SEQ_LEN, task.device))
    model = build_model(task).to(task.device)
    trainer = Trainer(model, task.device, length)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {task.device}", flush=True)
    print(f"flops_per_token: {model.flops_per_token(length):.4e}", flush=True)
    began = time.monotonic()
    if task.device == "cuda":
        trainer.warm_up(task.vocab_size, length)
        print(f"compiled in {time.monotonic() - began:.1f} s", flush=True)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection stops everything for half a second
    train(trainer, length)
    for block in model.blocks:
        block.attention.flash = block.attention.mask = None
    save(model)
    if task.device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GB", flush=True)


def train(trainer, length):
    """Steps until the budget has no room for another one."""
    print_at, step_ended, step_seconds, marks, step = 0.0, time.monotonic(), 0.0, [], 0
    for step, (x, y) in enumerate(train_batches(shrunk_rows(task.device), length), start=1):
        loss = trainer.step(x, y, step, progress())
        if task.device == "cuda":  # stay one step ahead of the card, not more: the clock must know what is done
            marks.append(torch.cuda.Event())
            marks[-1].record()
            if len(marks) > 1:
                marks.pop(0).synchronize()
        now = time.monotonic()
        took, step_ended = now - step_ended, now
        step_seconds = took if step < 3 else 0.9 * step_seconds + 0.1 * took
        if now > print_at:
            print_at = now + PRINT_SECONDS
            if not math.isfinite(loss.item()):
                raise RuntimeError(f"not-finite: the loss is {loss.item()} at step {step}")
            print(f"step {step} loss {loss.item():.4f} budget {progress():.0%} {step_seconds * 1e3:.0f} ms", flush=True)
        if seconds_left() < 2 * step_seconds + SAVE_SECONDS:  # one step is under way, and there is no room for another
            break
    tokens = shrunk_rows(task.device) * length
    print(f"{step} steps, {tokens / max(step_seconds, 1e-9):,.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
