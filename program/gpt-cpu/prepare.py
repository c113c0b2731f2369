"""The fixed half of the gpt-cpu task: data and tokenizer, and what `train.py` imports while it trains.

As a script, `python prepare.py [--corpus DIR] [--cache DIR]` prepares the data once and prints, as the last line of
stdout, where it lies (one JSON object). As a module it gives `train.py` the task's constants, the training batches, the
budget and `save`. It does not score a trial: the trainer does that, with a copy of its own, from the saved weights.
Nothing happens at import. Patches may not touch this file.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import itertools
import json
import math
import os
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# numpy, torch and the tokenizer packages are imported where they are used: with everything cached, the script is done
# in a tenth of a second, ten times less than importing torch alone takes.
if TYPE_CHECKING:
    import numpy as np
    import tiktoken
    import torch

VOCAB_SIZE = 2048  # the last id is the document separator
SEQ_LEN = 256  # tokens a model sees when it is scored
BOS = VOCAB_SIZE - 1  # stands before every document
# GPT-4's pattern with digits in pairs: a vocabulary this small has no room for 1,000 three-digit numbers.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)

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


class CorpusError(Exception):
    """There is no usable text; the message is one line for a person."""


def stdlib_files(stdlib: Path) -> list[Path]:
    """The source and texts of Python's standard library, sorted: a corpus that every machine has."""
    # Distributions differ in whether they ship the tests; without them all have the same text. The encodings are
    # generated tables, a tenth of the rest and all alike.
    skipped = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "encodings"}
    # How this machine's Python was built is no text that others have either.
    files = [f for f in _files(stdlib, (".py", ".txt", ".rst"), skipped) if not f.name.startswith("_sysconfigdata")]
    if not files:
        raise CorpusError(f"this Python has no standard library source in {stdlib}; give --corpus DIR instead")
    return files


def corpus_files(corpus: Path) -> list[Path]:
    """The files of a user's corpus, sorted."""
    allowed = (".txt", ".jsonl", ".parquet")
    if not corpus.is_dir():
        raise CorpusError(f"--corpus {corpus}: no such folder; give one with {', '.join(allowed)} files")
    files = _files(corpus, allowed, set())
    if not files:
        raise CorpusError(f"--corpus {corpus}: no {', '.join(allowed)} file in it")
    return files


def _files(folder: Path, suffixes: tuple[str, ...], skipped: set[str]) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = set(folders) - skipped
        found += [Path(place, name) for name in names if name.endswith(suffixes)]
    return sorted(found)


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
# The tokenizer and the token files


def train_tokenizer(documents: list[str]) -> dict[bytes, int]:
    """Byte-pair merges learned from the documents: token bytes to id. Fewer than VOCAB_SIZE - 1 if the text is poor."""
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter(documents), VOCAB_SIZE - 1, pattern=SPLIT_PATTERN)
    return {bytes(token): rank for token, rank in tokenizer.get_mergeable_ranks()}


def encoding_of(ranks: dict[bytes, int]) -> tiktoken.Encoding:
    """The tokenizer as tiktoken's: fast, and it can decode."""
    import tiktoken

    return tiktoken.Encoding(
        "ratchetree-gpt-cpu", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={"<|bos|>": BOS}
    )


def load_tokenizer(file: Path) -> tiktoken.Encoding:
    """The tokenizer that a preparation saved."""
    tokens = json.loads(file.read_text())["tokens"]
    return encoding_of({base64.b64decode(token): rank for rank, token in enumerate(tokens)})


def bytes_per_token(ranks: dict[bytes, int]) -> np.ndarray:
    """int32 [VOCAB_SIZE]: the length of each token's own bytes; 0 for the separator, which stands for no text.

    Never from decoding: half a character decodes to U+FFFD, which has three bytes whatever the half had.
    """
    import numpy as np

    lengths = np.zeros(VOCAB_SIZE, dtype=np.int32)
    for token, rank in ranks.items():
        lengths[rank] = len(token)
    return lengths


def tokens_of(documents: list[str], tokenizer: tiktoken.Encoding) -> np.ndarray:
    """uint16 [N]: all documents in a row, the separator before each."""
    import numpy as np

    rows = tokenizer.encode_ordinary_batch(documents, num_threads=os.cpu_count() or 1)
    return np.fromiter(itertools.chain.from_iterable([BOS, *row] for row in rows), dtype="<u2")


# ---------------------------------------------------------------------------------------------------------------------
# Preparing


def prepare_data(corpus: Path | None, cache: Path) -> dict[str, Any]:
    """The manifest of the prepared data, prepared first if `cache` lacks it; without a corpus, Python's own source.

    The key is made of everything that decides the content. Of the corpus it takes path, size and modification time of
    each file instead of reading it: a file changed with both restored would go unnoticed.
    """
    files = corpus_files(corpus) if corpus else stdlib_files(Path(sysconfig.get_path("stdlib")))
    key = hashlib.sha256(Path(__file__).read_bytes())
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

    ranks = train_tokenizer(parts.train)
    tokenizer, lengths = encoding_of(ranks), bytes_per_token(ranks)
    facts: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "seq_len": SEQ_LEN, "bos": BOS}
    facts["hidden"] = [str(path) for path in (parts.held_out_files if hidden is None else hidden)]
    digest = hashlib.sha256(lengths.tobytes())
    files = {"token_bytes": "token_bytes.npy", "tokenizer": "tokenizer.json"}
    for name in ("train", "validation", "test"):
        documents = getattr(parts, name)
        tokens = tokens_of(documents, tokenizer)
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
    by_rank = [base64.b64encode(token).decode() for token in sorted(ranks, key=ranks.__getitem__)]
    (folder / files["tokenizer"]).write_text(json.dumps({"pattern": SPLIT_PATTERN, "bos": BOS, "tokens": by_rank}))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a model has to fit, and where it is trained."""

    vocab_size: int
    seq_len: int  # tokens in a row when the model is scored; training rows may be shorter
    device: str  # cpu, cuda or mps
    seed: int


def __getattr__(name: str) -> Any:
    """`task` is made when it is first asked for, because choosing a device takes torch."""
    if name == "task":
        return _make_task()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _make_task() -> Task:
    import torch

    device = os.environ.get("RATCHETREE_DEVICE")
    if not device:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cpu":
        # Before a model is built: with one thread a seed gives the same bits every time. One is also what the seed
        # model is tuned for; more of them burn a CPU budget faster than they train.
        torch.set_num_threads(int(os.environ.get("RATCHETREE_THREADS") or 1))
    seed = int(os.environ.get("RATCHETREE_SEED") or 0)
    return Task(vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN, device=device, seed=seed)


_SMOKE_BATCHES = 2  # the budget of a smoke run, whatever the trial's would be
_REPORT_SECONDS = 0.5  # between two progress messages


@dataclass(slots=True, kw_only=True)
class _Run:
    """This training run: its budget, its data and what it has used of both."""

    kind: str  # what the budget counts: wall or cpu (seconds), tokens, or batches (in a smoke run)
    amount: float
    seed: int
    out: Path  # where to save
    tokens: np.ndarray  # uint16 [N], read only
    control: socket.socket | None  # None: started by hand
    manifest: dict[str, Any]  # of the data, for the evaluation by hand; else empty
    started: float = 0.0  # by the budget's clock, seconds
    reported: float = -math.inf  # when the parent was last told, monotonic seconds
    streams: int = 0  # times that batches were asked for
    batches: int = 0  # handed out
    tokens_used: int = 0  # handed out

    def clock(self) -> float:
        return time.process_time() if self.kind == "cpu" else time.monotonic()

    def used(self) -> float:
        counts = {"tokens": self.tokens_used, "batches": self.batches}
        return counts[self.kind] if self.kind in counts else self.clock() - self.started

    def allows(self, tokens: int) -> bool:
        price = {"tokens": tokens, "batches": 1}
        return self.used() + price.get(self.kind, 0) <= self.amount

    def tell(self, **message: Any) -> None:
        """Say something to the parent if it listens: a slow or dead parent must not hold up the training."""
        if self.control is not None:
            message |= {"steps": self.batches, "tokens": self.tokens_used}
            with contextlib.suppress(OSError):  # its buffer is full, or it is gone; so short a line is never cut
                self.control.send(f"{json.dumps(message)}\n".encode(), socket.MSG_DONTWAIT)


_run: _Run | None = None


def _start() -> _Run:
    """Get budget and data, from the parent if there is one. The clock starts here."""
    global _run
    if _run is None:
        control = os.environ.get("RATCHETREE_CONTROL")
        _run = _ask(socket.socket(fileno=int(control))) if control else _start_by_hand()
        _run.started = _run.clock()
    return _run


def _ask(control: socket.socket) -> _Run:
    import numpy as np

    line, descriptors = b"", []
    try:
        control.sendall(b'{"ask": "data"}\n')
        while not line.endswith(b"\n"):
            part, received, _, _ = socket.recv_fds(control, 65536, 1)
            if not part:
                raise ConnectionError("it was closed before the data came")
            line, descriptors = line + part, descriptors + received
    except ConnectionError as error:
        control.close()
        raise SystemExit(f"no data from the trainer over RATCHETREE_CONTROL: {error}") from error
    message = json.loads(line)
    budget = {"kind": "batches", "amount": _SMOKE_BATCHES} if message["smoke"] else message["budget"]
    with os.fdopen(descriptors[0], "rb") as file:
        tokens = np.memmap(file, dtype="<u2", mode="r")
    seed, out = message["seed"], Path(message["out"])
    return _Run(**budget, seed=seed, out=out, tokens=tokens, control=control, manifest={})


def _start_by_hand() -> _Run:
    """For a person at a shell: the data from the same cache, the budget from ratchetree.toml or RATCHETREE_SECONDS."""
    import numpy as np

    here = Path(__file__).resolve().parent
    settings = tomllib.loads((here / "ratchetree.toml").read_text())
    budget, corpus = settings["budget"], settings["task"].get("corpus")
    try:
        manifest = prepare_data(here / corpus if corpus else None, default_cache())
    except CorpusError as error:
        raise SystemExit(f"prepare.py: {error}") from error
    seconds = os.environ.get("RATCHETREE_SECONDS") or budget["seconds"]
    return _Run(
        kind=budget["kind"],
        amount=float(budget["tokens"] if budget["kind"] == "tokens" else seconds),
        seed=_make_task().seed,
        out=Path(tempfile.mkdtemp(prefix="ratchetree-")),  # not beside the code, which is a git work tree
        tokens=np.memmap(manifest["train"], dtype="<u2", mode="r"),
        control=None,
        manifest=manifest,
    )


def seconds_left() -> float:
    """Seconds of the budget that are left.

    Infinite before the first batch, when the budget is not known yet, and while a budget of tokens lasts.
    """
    if _run is None:
        return math.inf
    left = max(0.0, _run.amount - _run.used())
    counts_seconds = _run.kind in ("wall", "cpu")
    return left if counts_seconds or left == 0 else math.inf


def progress() -> float:
    """The share of the budget that is used, 0 to 1: what schedules go by."""
    return min(1.0, _run.used() / _run.amount) if _run is not None else 0.0


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

    device = _make_task().device
    run = _start()
    rng = np.random.default_rng([run.seed, run.streams])
    run.streams += 1
    starts = _window_starts(rng, len(run.tokens), length)
    span = np.arange(length + 1)
    while run.allows(rows * length):
        if time.monotonic() - run.reported > _REPORT_SECONDS:
            run.tell()
            run.reported = time.monotonic()
        windows = np.fromiter(itertools.islice(starts, rows), dtype=np.int64, count=rows)
        batch = torch.from_numpy(run.tokens[windows[:, None] + span].astype(np.int64)).to(device)
        run.batches += 1
        run.tokens_used += rows * length
        yield batch[:, :-1], batch[:, 1:]


def _window_starts(rng: np.random.Generator, n_tokens: int, length: int) -> Iterator[int]:
    while True:
        offset = int(rng.integers(length))
        yield from offset + length * rng.permutation((n_tokens - 1 - offset) // length)


def save(model: torch.nn.Module) -> None:
    """Save the weights where the trainer looks for them; the last complete save counts.

    In a smoke run it also checks that what was saved can be scored. By hand it prints an evaluation of its own.
    """
    import torch

    run = _start()
    model = getattr(model, "_orig_mod", model)  # torch.compile renames every weight
    target, unfinished = run.out / "model.pt", run.out / "model.pt.tmp"
    torch.save(model.state_dict(), unfinished)
    unfinished.replace(target)  # atomic: after a kill there is the old save or the new one
    if run.kind == "batches":
        _check(target)
    run.tell(saved=True)
    if run.control is None:
        before = run.clock()
        val_bpb = _own_evaluation(model, run.manifest)
        run.started += run.clock() - before  # looking at oneself is not training
        print(f"saved {target}\nval_bpb: {val_bpb:.6f} (self-reported: from this process, not from the scorer)")


def _check(saved: Path) -> None:
    """Whether a fresh model takes these weights and answers as the scorer expects; RuntimeError if not."""
    import torch

    task = _make_task()
    try:
        model = sys.modules["__main__"].build_model(task).to(task.device)  # type: ignore[attr-defined]
        model.load_state_dict(torch.load(saved, map_location=task.device, weights_only=True))
        model.eval()
        with torch.no_grad():
            logits = model(torch.randint(task.vocab_size, (2, task.seq_len), device=task.device))
    except Exception as error:  # whatever a patched model does wrong
        raise RuntimeError(f"build: a fresh model with the saved weights does not run: {error!r}") from error
    expected = (2, task.seq_len, task.vocab_size)
    if not (isinstance(logits, torch.Tensor) and logits.shape == expected and logits.is_floating_point()):
        given = f"{logits.dtype} {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise RuntimeError(f"build: forward must return float logits of shape {expected}, not {given}")
    if not logits.isfinite().all():
        raise RuntimeError("not-finite: the logits hold NaN or infinity after two steps")


def _own_evaluation(model: torch.nn.Module, manifest: dict[str, Any]) -> float:
    """Bits per byte on validation: nats of all targets that stand for text, over ln 2 times their bytes."""
    import numpy as np
    import torch

    device = next(model.parameters()).device
    tokens = torch.from_numpy(np.fromfile(manifest["validation"], dtype="<u2").astype(np.int64))
    n_rows = (len(tokens) - 1) // SEQ_LEN
    x = tokens[: n_rows * SEQ_LEN].view(n_rows, SEQ_LEN)
    y = tokens[1 : n_rows * SEQ_LEN + 1].view(n_rows, SEQ_LEN)
    lengths = torch.from_numpy(np.load(manifest["token_bytes"]))[y]
    nats = 0.0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for rows in torch.arange(n_rows).split(16):
            nats_per_id = -model(x[rows].to(device)).float().cpu().log_softmax(-1)
            losses = nats_per_id.gather(-1, y[rows, :, None]).squeeze(-1)
            nats += losses.double()[lengths[rows] > 0].sum().item()
    model.train(was_training)
    return nats / math.log(2) / int(lengths.sum())


if __name__ == "__main__":
    sys.exit(main())
