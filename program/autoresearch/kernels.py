"""Stands in for the package `kernels`, which downloads attention kernels from a hub: a trial has no network.

`get_kernel(...)` gives FlashAttention-3 where it is installed, and PyTorch's own attention elsewhere, under the same
names. Patches may not touch this file.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace
from typing import Any


def get_kernel(name: str, *_: Any, **__: Any) -> Any:
    """The attention that this machine has, whatever is asked for."""
    if importlib.util.find_spec("flash_attn_interface") is not None:
        module = importlib.import_module("flash_attn_interface")

        def flash(*arguments: Any, **options: Any) -> Any:
            y = module.flash_attn_func(*arguments, **options)
            return y[0] if isinstance(y, tuple) else y  # some releases also give the log-sums

        return SimpleNamespace(flash_attn_interface=SimpleNamespace(flash_attn_func=flash))
    return SimpleNamespace(flash_attn_interface=SimpleNamespace(flash_attn_func=attention))


def has_kernel(name: str, *_: Any, **__: Any) -> bool:
    """Whatever is asked for is here."""
    return True


def attention(q: Any, k: Any, v: Any, causal: bool = False, window_size: tuple[int, int] = (-1, -1), **_: Any) -> Any:
    """FlashAttention's function: q [B, T, H, D], k and v [B, T, KV heads, D]; so many tokens to the left."""
    import torch
    import torch.nn.functional as F

    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    length, left = q.size(2), window_size[0]
    grouped = k.size(1) != q.size(1)
    if not causal or left < 0 or left >= length - 1:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
    elif q.is_cuda and torch.compiler.is_compiling():
        y = _flexible(q, k, v, left, grouped)
    else:
        at = torch.arange(length, device=q.device)
        back = at[:, None] - at[None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back <= left), enable_gqa=grouped)
    return y.transpose(1, 2)


def _flexible(q: Any, k: Any, v: Any, left: int, grouped: bool) -> Any:
    """In compiled code on a card: skips what the window hides."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def seen(b: Any, h: Any, at: Any, other: Any) -> Any:
        return (at >= other) & (at - other <= left)

    mask = create_block_mask(seen, None, None, q.size(2), q.size(2), device=q.device)
    return flex_attention(q, k, v, block_mask=mask, enable_gqa=grouped)
