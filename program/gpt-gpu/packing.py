"""Packing documents into full rows: every row begins with a document, and no place is left empty.

The same code lays out the held-out rows once and the training rows of a trial, so that a model is trained on rows of
the kind that it is scored on. Patches may not touch this file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

POOL = 1000  # documents that a place is filled from
BLOCK = 1 << 20  # tokens of a file that are shuffled together

Tokens = np.ndarray  # uint16 or int16 [N]


class Packer:
    """Best fit: the longest document of a pool that fits; where none does, the shortest is cropped and its end dropped.

    documents: each begins with the separator; one that is longer than a row is cut into pieces that begin with it, too.
    capacity: tokens in a row.
    """

    def __init__(self, documents: Iterator[Tokens], capacity: int) -> None:
        self._documents = _pieces(documents, capacity)
        self._capacity = capacity
        self._lengths: list[int] = []  # of the pool, sorted
        self._pool: list[Tokens] = []  # in the same order

    def fill(self, row: Tokens) -> bool:
        """Fill the row; False if the documents are used up first."""
        at = 0
        while at < self._capacity:
            self._refill()
            if not self._lengths:
                return False
            room = self._capacity - at
            fits = bisect_right(self._lengths, room)
            which = fits - 1 if fits else 0
            length = min(self._lengths.pop(which), room)
            row[at : at + length] = self._pool.pop(which)[:length]
            at += length
        return True

    def _refill(self) -> None:
        while len(self._lengths) < POOL:
            document = next(self._documents, None)
            if document is None:
                return
            where = bisect_right(self._lengths, len(document))
            self._lengths.insert(where, len(document))
            self._pool.insert(where, document)


def _pieces(documents: Iterator[Tokens], capacity: int) -> Iterator[Tokens]:
    for document in documents:
        yield document[:capacity]
        for start in range(capacity, len(document), capacity - 1):
            piece = document[start - 1 : start + capacity - 1].copy()
            piece[0] = document[0]
            yield piece


def shuffled(tokens: Tokens, bos: int, rng: np.random.Generator) -> Iterator[Tokens]:
    """All documents of a token file, epoch after epoch: blocks in random order, and the documents of each likewise."""
    blocks = -(-len(tokens) // BLOCK)
    if _next(tokens, 0, bos) == len(tokens):
        raise ValueError("the token file holds no document: no separator stands in it")
    while True:
        for block in rng.permutation(blocks):
            yield from _of_block(tokens, int(block) * BLOCK, bos, rng)


def in_order(tokens: Tokens, bos: int) -> Iterator[Tokens]:
    """All documents of a token file, once, as they stand."""
    for start in range(0, len(tokens), BLOCK):
        yield from _of_block(tokens, start, bos, None)


def _of_block(tokens: Tokens, start: int, bos: int, rng: np.random.Generator | None) -> Iterator[Tokens]:
    """The documents that begin in the block; the last one may end in the next."""
    starts = np.flatnonzero(tokens[start : start + BLOCK] == bos) + start
    if len(starts) == 0:
        return
    ends = np.append(starts[1:], _next(tokens, start + BLOCK, bos))
    for i in rng.permutation(len(starts)) if rng is not None else range(len(starts)):
        yield tokens[starts[i] : ends[i]]


def _next(tokens: Tokens, at: int, bos: int) -> int:
    """Where the first document at or after this place begins."""
    while at < len(tokens):
        found = np.flatnonzero(tokens[at : at + 65536] == bos)
        if len(found):
            return at + int(found[0])
        at += 65536
    return len(tokens)


def rows_of(documents: Iterator[Tokens], length: int, most: int) -> Tokens:
    """uint16 [rows, length]: so many full rows as the documents fill, at most `most`."""
    packer, rows = Packer(documents, length), []
    while len(rows) < most:
        row = np.empty(length, np.uint16)
        if not packer.fill(row):
            break
        rows.append(row)
    return np.stack(rows) if rows else np.empty((0, length), np.uint16)
