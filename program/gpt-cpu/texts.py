"""Texts on a disk, and the tokenizer that is learned from them.

Shared by the tasks. Reads documents from .txt, .jsonl and .parquet, trains byte-pair merges and turns documents into
token ids; what is held out is the business of each task's `prepare.py`. Patches may not touch this file.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Heavy packages are imported where they are used: with everything cached, preparing takes a tenth of a second.
if TYPE_CHECKING:
    import numpy as np
    import tiktoken

# GPT-4's pattern with digits in pairs: small vocabularies have no room for 1,000 three-digit numbers.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


class CorpusError(Exception):
    """There is no usable text; the message is one line for a person."""


def corpus_files(corpus: Path) -> list[Path]:
    """The files of a user's corpus, sorted."""
    allowed = (".txt", ".jsonl", ".parquet")
    if not corpus.is_dir():
        raise CorpusError(f"--corpus {corpus}: no such folder; give one with {', '.join(allowed)} files")
    files = files_below(corpus, allowed, set())
    if not files:
        raise CorpusError(f"--corpus {corpus}: no {', '.join(allowed)} file in it")
    return files


def files_below(folder: Path, suffixes: tuple[str, ...], skipped: set[str]) -> list[Path]:
    """Sorted by path; folders with the skipped names are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = set(folders) - skipped
        found += [Path(place, name) for name in names if name.endswith(suffixes)]
    return sorted(found)


def documents_of(file: Path) -> Iterator[str]:
    """The documents in one file: its lines (.jsonl), its rows (.parquet), or the file itself."""
    read = {".jsonl": _json_lines, ".parquet": _parquet_rows}.get(file.suffix, _whole_file)
    try:
        for text in read(file):
            # A lone surrogate, which JSON can hold, is not text that has bytes.
            yield text.encode("utf-8", "replace").decode()
    except UnicodeDecodeError:
        print(f"prepare.py: {file} is skipped from here on: it is not UTF-8", file=sys.stderr)
    except (ValueError, KeyError, TypeError, AttributeError) as e:  # broken, or something else where a text should be
        raise CorpusError(f"{file}: each document must be a text, in .jsonl and .parquet under 'text': {e!r}") from e


def _whole_file(file: Path) -> Iterator[str]:
    yield file.read_text(encoding="utf-8")


def _json_lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line)["text"] for line in lines if line.strip())


def _parquet_rows(file: Path) -> Iterator[str]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(f"{file}: reading .parquet needs pyarrow (pip install 'ratchetree[parquet]')") from error
    for batch in pyarrow.parquet.ParquetFile(file).iter_batches(columns=["text"]):
        yield from batch.column("text").to_pylist()


def train_tokenizer(documents: Iterable[str], vocab_size: int) -> dict[bytes, int]:
    """Byte-pair merges learned from the documents: token bytes to id. Fewer than vocab_size - 1 if the text is poor;
    the last id is left for the separator."""
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter(documents), vocab_size - 1, pattern=SPLIT_PATTERN)
    return {bytes(token): rank for token, rank in tokenizer.get_mergeable_ranks()}


def encoding_of(ranks: dict[bytes, int], bos: int) -> tiktoken.Encoding:
    """The tokenizer as tiktoken's: fast, and it can decode."""
    import tiktoken

    return tiktoken.Encoding(
        "ratchetree", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={"<|bos|>": bos}
    )


def save_tokenizer(ranks: dict[bytes, int], bos: int, file: Path) -> None:
    """As JSON: tokens by id, base64."""
    by_rank = [base64.b64encode(token).decode() for token in sorted(ranks, key=ranks.__getitem__)]
    file.write_text(json.dumps({"pattern": SPLIT_PATTERN, "bos": bos, "tokens": by_rank}))


def load_tokenizer(file: Path) -> tiktoken.Encoding:
    """The tokenizer that a preparation saved."""
    said = json.loads(file.read_text())
    return encoding_of({base64.b64decode(token): rank for rank, token in enumerate(said["tokens"])}, said["bos"])


def bytes_per_token(ranks: dict[bytes, int], vocab_size: int) -> np.ndarray:
    """int32 [vocab_size]: the length of each token's own bytes; 0 for the separator, which stands for no text.

    Never from decoding: half a character decodes to U+FFFD, which has three bytes whatever the half had.
    """
    import numpy as np

    lengths = np.zeros(vocab_size, dtype=np.int32)
    for token, rank in ranks.items():
        lengths[rank] = len(token)
    return lengths


def tokens_of(documents: list[str], tokenizer: tiktoken.Encoding, bos: int) -> np.ndarray:
    """uint16 [N]: all documents in a row, the separator before each."""
    import numpy as np

    rows = tokenizer.encode_ordinary_batch(documents, num_threads=os.cpu_count() or 1)
    return np.fromiter(itertools.chain.from_iterable([bos, *row] for row in rows), dtype="<u2")
