"""The fixed half of the gpt-cpu task: data and tokenizer, and what `train.py` imports while it trains.

As a script, `python prepare.py [--corpus DIR] [--cache DIR]` prepares the data once and prints, as the last line of
stdout, where it lies (one JSON object). As a module it gives `train.py` the task's constants, the training batches, the
budget and `save`, which are the same for every task (`trial.py`); reading files and the tokenizer are in `texts.py`.
It does not score a trial: the trainer does that, with a copy of its own, from the saved weights.
Nothing happens at import. Patches may not touch these files.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import texts
from texts import (
    CorpusError,
    bytes_per_token,
    corpus_files,
    documents_of,
    encoding_of,
    files_below,
    save_tokenizer,
    tokens_of,
    train_tokenizer,
)
from trial import Trial

# numpy and torch are imported where they are used: with everything cached, the script is done in a tenth of a second,
# ten times less than importing torch alone takes.
if TYPE_CHECKING:
    import numpy as np
    import torch

VOCAB_SIZE = 2048  # the last id is the document separator
SEQ_LEN = 256  # tokens a model sees when it is scored
BOS = VOCAB_SIZE - 1  # stands before every document

READ_BYTES = 64_000_000  # of a corpus, in order of path, that is looked at at all
TRAIN_BYTES = 20_000_000  # more than a trial can read
HELD_OUT_BYTES = 100_000  # in validation and in test each: every trial pays for scoring it
HELD_OUT_DOCUMENT_BYTES = 8_000  # of one document, so that no single file decides the score
HELD_OUT_SHARE = 0.05  # of the documents that go to validation, and as many to test
SPARE_SHARE = 0.2  # the same for Python's own source, where only the SPARE modules are held out
COPIED_SHARE = 0.5  # a held-out document with more of its lines than this in train is dropped as a copy
LINE_CHARACTERS = 20  # lines shorter than this say nothing about copying
LEAST_WINDOWS = 16  # rows of SEQ_LEN + 1 tokens that each part needs
# Modules of the standard library that no training run needs. What is held out comes from here alone, because a trial
# must not find it on the machine: its sandbox hides these files, and a script that imports one of them fails.
SPARE = frozenset(
    "aifc antigravity asynchat asyncore bdb cgi cgitb chunk cmd code codeop compileall crypt curses dbm ensurepip "
    "fileinput ftplib graphlib idlelib imaplib imghdr imp lib2to3 mailbox mailcap mimetypes modulefinder netrc nntplib "
    "nturl2path optparse pdb pipes plistlib poplib pty pyclbr pydoc pydoc_data rlcompleter sched shelve smtpd smtplib "
    "sndhdr socketserver sqlite3 sunau symtable tabnanny telnetlib this tkinter trace tracemalloc turtle turtledemo uu "
    "venv wave webbrowser wsgiref xdrlib xmlrpc zipapp _aix_support _osx_support _pydecimal _pyio".split()
)

# ---------------------------------------------------------------------------------------------------------------------
# The corpus


def stdlib_files(stdlib: Path) -> list[Path]:
    """The source and texts of Python's standard library, sorted: a corpus that every machine has."""
    # Distributions differ in whether they ship the tests; without them all have the same text. The encodings are
    # generated tables, a tenth of the rest and all alike.
    skipped = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "encodings"}
    # How this machine's Python was built is no text that others have either.
    files = [
        f for f in files_below(stdlib, (".py", ".txt", ".rst"), skipped) if not f.name.startswith("_sysconfigdata")
    ]
    if not files:
        raise CorpusError(f"this Python has no standard library source in {stdlib}; give --corpus DIR instead")
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text and where it was found."""

    text: str
    file: Path
    held_out_share: float  # chance that it goes to validation, and the same for test


def documents(corpus: Path | None) -> Iterator[Document]:
    """All documents of a user's corpus, or of Python's own source."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    for file in corpus_files(corpus) if corpus else stdlib_files(stdlib):
        share = HELD_OUT_SHARE
        if corpus is None:
            module = file.relative_to(stdlib).parts[0].removesuffix(".py")
            share = SPARE_SHARE if module in SPARE else 0.0
        for text in documents_of(file):
            yield Document(text=text, file=file, held_out_share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The documents, split."""

    train: list[str]
    validation: list[str]
    test: list[str]  # sealed: for the final claim, never seen in the search
    held_out_files: list[Path]  # where the documents of validation and test lie on this machine


def split(documents: Iterator[Document]) -> Parts:
    """Split by document, so that the hash of a document alone decides its part: more files reshuffle nothing.

    Documents that differ in white space only count as one. A held-out document that mostly repeats lines of train (or,
    for test, of validation) is dropped: by its hash it is another document, by its text it is not.
    """
    by_hash: dict[bytes, list[Document]] = {}
    looked_at = 0
    for document in documents:
        words = " ".join(document.text.split()).encode()
        if words:
            by_hash.setdefault(hashlib.sha256(words).digest(), []).append(document)
        looked_at += len(words)
        if looked_at > READ_BYTES:
            break
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    files_of: dict[str, set[Path]] = {}
    for key, copies in sorted(by_hash.items()):
        position = int.from_bytes(key[:8], "big") / 2**64  # uniform in 0..1
        share = min(copy.held_out_share for copy in copies)
        part = 1 if position < share else 2 if position < 2 * share else 0
        text = _cut(copies[0].text) if part else copies[0].text
        parts[part].append(text)
        files_of[text] = {copy.file for copy in copies}
    train = _first(parts[0], TRAIN_BYTES)
    seen = _lines(train)
    validation = _first(_new(parts[1], seen), HELD_OUT_BYTES)
    test = _first(_new(parts[2], seen | _lines(validation)), HELD_OUT_BYTES)
    held_out_files = sorted(set().union(*(files_of[text] for text in (*validation, *test))))
    return Parts(train=train, validation=validation, test=test, held_out_files=held_out_files)


def _cut(text: str) -> str:
    """So much of a held-out document that there is room for others."""
    return text.encode()[:HELD_OUT_DOCUMENT_BYTES].decode(errors="ignore")


def _lines(documents: list[str]) -> set[str]:
    lines = (line.strip() for text in documents for line in text.splitlines())
    return {line for line in lines if len(line) >= LINE_CHARACTERS}


def _new(documents: list[str], seen: set[str]) -> list[str]:
    """The documents that say something new."""
    lines = [_lines([text]) for text in documents]
    return [text for text, own in zip(documents, lines, strict=True) if len(own & seen) <= COPIED_SHARE * len(own)]


def _first(documents: list[str], limit_bytes: int) -> list[str]:
    sizes = itertools.accumulate(len(text.encode()) for text in documents)
    return [text for text, total in zip(documents, sizes, strict=True) if total <= limit_bytes]


# ---------------------------------------------------------------------------------------------------------------------
# Preparing


def prepare_data(corpus: Path | None, cache: Path) -> dict[str, Any]:
    """The manifest of the prepared data, prepared first if `cache` lacks it; without a corpus, Python's own source.

    The key is made of everything that decides the content. Of the corpus it takes path, size and modification time of
    each file instead of reading it: a file changed with both restored would go unnoticed.
    """
    files = corpus_files(corpus) if corpus else stdlib_files(Path(sysconfig.get_path("stdlib")))
    key = hashlib.sha256(Path(__file__).read_bytes() + Path(texts.__file__).read_bytes())
    for file in files:
        stat = file.stat()
        key.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    folder = cache / key.hexdigest()[:16]
    if not (folder / "manifest.json").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=cache))
        try:
            _write(split(documents(corpus)), unfinished, hidden=[corpus] if corpus else None)
            unfinished.rename(folder)
        except OSError:
            if not (folder / "manifest.json").is_file():  # else another preparation was faster, with the same result
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return {name: str(folder / file) for name, file in manifest["files"].items()} | manifest["facts"]


def _write(parts: Parts, folder: Path, *, hidden: list[Path] | None) -> None:
    """hidden: what a trial must not read; None = the files of the held-out documents."""
    import numpy as np

    ranks = train_tokenizer(parts.train, VOCAB_SIZE)
    tokenizer, lengths = encoding_of(ranks, BOS), bytes_per_token(ranks, VOCAB_SIZE)
    facts: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "seq_len": SEQ_LEN, "bos": BOS}
    facts["hidden"] = [str(path) for path in (parts.held_out_files if hidden is None else hidden)]
    digest = hashlib.sha256(lengths.tobytes())
    files = {"token_bytes": "token_bytes.npy", "tokenizer": "tokenizer.json"}
    for name in ("train", "validation", "test"):
        documents = getattr(parts, name)
        tokens = tokens_of(documents, tokenizer, BOS)
        if len(tokens) <= LEAST_WINDOWS * SEQ_LEN:
            raise CorpusError(
                f"too little text: {name} gets {len(documents)} documents with {len(tokens)} tokens and needs "
                f"{LEAST_WINDOWS * SEQ_LEN + 1}; a document goes to one part whole, so give more or longer ones"
            )
        tokens.tofile(folder / f"{name}.bin")
        digest.update(tokens.tobytes())
        files[name] = f"{name}.bin"
        facts[f"{name}_documents"] = len(documents)
        facts[f"{name}_tokens"] = len(tokens)
        facts[f"{name}_bytes"] = int(lengths[tokens].sum())
    facts["content"] = digest.hexdigest()[:16]  # scores compare only where this is equal
    np.save(folder / files["token_bytes"], lengths)
    save_tokenizer(ranks, BOS, folder / files["tokenizer"])
    (folder / "manifest.json").write_text(json.dumps({"files": files, "facts": facts}))


def default_cache() -> Path:
    """Where the user's caches live."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "ratchetree", "gpt-cpu")


def main() -> int:
    """The script; returns the exit code."""
    parser = argparse.ArgumentParser(description="Prepare the data of the gpt-cpu task and say where it lies.")
    parser.add_argument("--corpus", type=Path, help="folder of .txt, .jsonl or .parquet (default: Python's own source)")
    parser.add_argument("--cache", type=Path, default=None, help="where to keep what is prepared")
    options = parser.parse_args()
    try:
        corpus = options.corpus.absolute() if options.corpus else None
        manifest = prepare_data(corpus, (options.cache or default_cache()).absolute())
    except (CorpusError, OSError) as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 2
    print(json.dumps(manifest))
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# While train.py runs


_trial = Trial(
    vocab_size=VOCAB_SIZE,
    seq_len=SEQ_LEN,
    prepared=lambda corpus: prepare_data(Path(__file__).parent / corpus if corpus else None, default_cache()),
)
seconds_left, progress, save = _trial.seconds_left, _trial.progress, _trial.save


def __getattr__(name: str) -> Any:
    """`task` is made when it is first asked for, because choosing a device takes torch."""
    if name == "task":
        return _trial.task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def train_batches(rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches (x, y), int64 [rows, length] each, y one token ahead of x, until the budget is used up.

    The clock starts when the first batch is asked for. Every epoch cuts the text into windows at a new offset and hands
    them out in a new order, both drawn from the seed.
    """
    if not (rows >= 1 and 1 <= length <= SEQ_LEN):
        raise ValueError(f"train_batches({rows}, {length}): rows must be at least 1 and length 1 to {SEQ_LEN}")
    return _batches(rows, length)


def _batches(rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    import numpy as np
    import torch

    device = _trial.task.device
    run = _trial.start()
    rng = np.random.default_rng([run.seed, run.streams])
    run.streams += 1
    starts = _window_starts(rng, len(run.tokens), length)
    span = np.arange(length + 1)
    while run.allows(rows * length):
        run.report()
        windows = np.fromiter(itertools.islice(starts, rows), dtype=np.int64, count=rows)
        batch = torch.from_numpy(run.tokens[windows[:, None] + span].astype(np.int64)).to(device)
        run.hand_out(rows * length)
        yield batch[:, :-1], batch[:, 1:]


def _window_starts(rng: np.random.Generator, n_tokens: int, length: int) -> Iterator[int]:
    while True:
        offset = int(rng.integers(length))
        yield from offset + length * rng.permutation((n_tokens - 1 - offset) // length)


if __name__ == "__main__":
    sys.exit(main())
