"""The fixed half of the gpt-gpu task: data and tokenizer, and what `train.py` imports while it trains.

    python prepare.py --download 8      bring 8 shards of training text, and those for validation and the final claim
    python prepare.py [--corpus DIR]    prepare what was downloaded, or any folder of .txt, .jsonl and .parquet

The second prints, as its last line of stdout, where the prepared data lies (one JSON object); `ratchetree run` does it
by itself. Nothing is ever downloaded by a trial. As a module it gives `train.py` the task's constants, the training
batches, the budget and `save` (`trial.py`); texts are read by `texts.py`, rows are packed by `packing.py`. It does not
score a trial: the trainer does that, from the saved weights. Patches may not touch these files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shards
import texts
from texts import CorpusError
from trial import Run, Trial

# numpy and torch are imported where they are used: with everything cached, the script is done in a tenth of a second.
if TYPE_CHECKING:
    import numpy as np
    import torch

VOCAB_SIZE = 8192  # the last id is the document separator
SEQ_LEN = 2048  # tokens a model sees when it is scored
BOS = VOCAB_SIZE - 1  # stands before every document

# A shuffled mixture of web text in 6,543 shards of about 60 M tokens: what public five-minute runs train on.
SOURCE = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
VALIDATION_SHARD = 6542  # pinned
TEST_SHARD = 6541  # sealed: for the final claim, never seen in the search

TRAIN_TOKENS = 800_000_000  # more than a trial on one card can read
HELD_OUT_ROWS = 1024  # of SEQ_LEN tokens, in validation and in test each: 2 M tokens, which every trial pays for
HELD_OUT_SHARE = 0.05  # of the documents that go to validation, and as many to test, where no shard is pinned
TOKENIZER_BYTES = 400_000_000  # of the training text that the tokenizer is learned from
COPIED_SHARE = 0.5  # a held-out document with more of its lines than this in train is dropped as a copy
LINE_CHARACTERS = 20  # lines shorter than this say nothing about copying
LEAST_ROWS = 4  # that each held-out part needs
BUCKETS = 64  # the training documents are spread over them by chance and each is shuffled: more would not fit in memory

# ---------------------------------------------------------------------------------------------------------------------
# The documents


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of texts, and which of its files are held out as wholes."""

    files: list[Path]
    validation: frozenset[Path] = frozenset()  # empty = documents are dealt out one by one
    test: frozenset[Path] = frozenset()

    @classmethod
    def of(cls, folder: Path) -> Source:
        """The pinned shards are held out where they are there, both or none."""
        files = texts.corpus_files(folder)
        validation, test = (folder / name for name in shards.shard_names(0, (VALIDATION_SHARD, TEST_SHARD)))
        if validation in files and test in files:
            return cls(files=files, validation=frozenset({validation}), test=frozenset({test}))
        return cls(files=files)

    def documents(self) -> Iterator[tuple[str, int, str]]:
        """(part, hash, text) of every document that holds more than white space."""
        pinned = bool(self.validation)
        for file in self.files:
            whole = "validation" if file in self.validation else "test" if file in self.test else "train"
            for text in texts.documents_of(file):
                if text and not text.isspace():
                    digest = _hash(text)
                    yield whole if pinned else _part(digest), digest, text


def _hash(text: str) -> int:
    """64 bits of a document's words: documents that differ in white space only have the same."""
    return int.from_bytes(hashlib.blake2b(" ".join(text.split()).encode(), digest_size=8).digest(), "big")


def _part(digest: int) -> str:
    position = digest / 2**64  # uniform in 0..1, so that more files reshuffle nothing
    return "validation" if position < HELD_OUT_SHARE else "test" if position < 2 * HELD_OUT_SHARE else "train"


def _lines(text: str) -> set[int]:
    return {hash(line) for line in map(str.strip, text.splitlines()) if len(line) >= LINE_CHARACTERS}


class HeldOut:
    """The documents of one held-out part, in the order of their hashes, and how much of each was seen elsewhere."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._texts: dict[int, str] = {}
        self._bytes = 0

    def offer(self, digest: int, text: str) -> None:
        """Take a document in while there is room."""
        if self._bytes < self._most and digest not in self._texts:
            self._texts[digest] = text
            self._bytes += len(text.encode())

    @property
    def lines(self) -> set[int]:
        """Hashes of all lines that say something."""
        return set().union(*(map(_lines, self._texts.values())))

    def new(self, seen: set[int], known: set[int]) -> list[str]:
        """The documents that are not known by their hash and mostly not by their lines."""
        kept = []
        for digest, text in sorted(self._texts.items()):
            own = _lines(text)
            if digest not in known and len(own & seen) <= COPIED_SHARE * len(own):
                kept.append(text)
        return kept


# ---------------------------------------------------------------------------------------------------------------------
# Preparing


def prepare_data(corpus: Path | None, cache: Path) -> dict[str, Any]:
    """The manifest of the prepared data, prepared first if `cache` lacks it; without a corpus, of what was downloaded.

    The key is made of everything that decides the content: of the corpus path, size and modification time of each file.
    """
    folder = corpus or cache / "shards"
    if corpus is None and not folder.is_dir():
        raise CorpusError(
            "there is no text yet: python prepare.py --download 8 brings some (about 1 GB), or name a folder of .txt, "
            ".jsonl or .parquet files as task.corpus in ratchetree.toml"
        )
    source = Source.of(folder)
    key = hashlib.sha256()
    for module in (__file__, texts.__file__, Path(__file__).with_name("packing.py")):
        key.update(Path(module).read_bytes())
    for file in source.files:
        stat = file.stat()
        key.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    ready = cache / key.hexdigest()[:16]
    if not (ready / "manifest.json").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{ready.name}.", dir=cache))
        try:
            _write(source, unfinished, hidden=folder)
            unfinished.rename(ready)
        except OSError:
            if not (ready / "manifest.json").is_file():  # else another preparation was faster, with the same result
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    manifest: dict[str, Any] = json.loads((ready / "manifest.json").read_text())
    return {name: str(ready / file) for name, file in manifest["files"].items()} | manifest["facts"]


def _write(source: Source, folder: Path, *, hidden: Path) -> None:
    import numpy as np

    held_out = {part: HeldOut(3 * 5 * HELD_OUT_ROWS * SEQ_LEN) for part in ("validation", "test")}  # 5 bytes a token
    _say("looking at the texts, learning the tokenizer")
    ranks = texts.train_tokenizer(_sample(source, held_out), VOCAB_SIZE)
    tokenizer, lengths = texts.encoding_of(ranks, BOS), texts.bytes_per_token(ranks, VOCAB_SIZE)
    wanted = held_out["validation"].lines | held_out["test"].lines
    written = _write_train(source, tokenizer, folder, wanted, lengths)
    facts: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "seq_len": SEQ_LEN, "bos": BOS, "hidden": [str(hidden)]}
    facts |= {"train_tokens": written.tokens, "train_documents": written.documents}
    digest = hashlib.sha256(lengths.tobytes() + written.digest)
    seen, known = written.seen, written.known
    for part, documents in held_out.items():
        kept = documents.new(seen, known)
        seen, known = seen | documents.lines, known | {_hash(text) for text in kept}
        rows = _held_out_rows(texts.tokens_of(kept, tokenizer, BOS) if kept else np.empty(0, "<u2"), part)
        # One separator more, so that the last row has a target for every place; it stands for no text.
        flat = np.append(rows.reshape(-1), np.uint16(BOS)).astype("<u2")
        flat.tofile(folder / f"{part}.bin")
        digest.update(flat.tobytes())
        facts |= {f"{part}_tokens": len(flat), f"{part}_bytes": int(lengths[flat].sum())}
    files = {"train": "train.bin", "validation": "validation.bin", "test": "test.bin"}
    files |= {"token_bytes": "token_bytes.npy", "tokenizer": "tokenizer.json"}
    facts["content"] = digest.hexdigest()[:16]  # scores compare only where this is equal
    np.save(folder / files["token_bytes"], lengths)
    texts.save_tokenizer(ranks, BOS, folder / files["tokenizer"])
    (folder / "manifest.json").write_text(json.dumps({"files": files, "facts": facts}))


def _sample(source: Source, held_out: dict[str, HeldOut]) -> Iterator[str]:
    """Training texts for the tokenizer; what is held out is put aside on the way."""
    given = 0
    for part, digest, text in source.documents():
        if part != "train":
            held_out[part].offer(digest, text)
        elif given < TOKENIZER_BYTES:
            given += len(text)
            yield text


def _held_out_rows(tokens: np.ndarray, part: str) -> np.ndarray:
    """uint16 [rows, SEQ_LEN], packed as training rows are: rows begin where the scorer's windows begin."""
    from packing import in_order, rows_of

    rows = rows_of(in_order(tokens, BOS), SEQ_LEN, HELD_OUT_ROWS)
    if len(rows) < LEAST_ROWS:
        raise CorpusError(
            f"too little text: {part} gets {len(rows)} rows of {SEQ_LEN} tokens and needs {LEAST_ROWS}; "
            f"about {HELD_OUT_SHARE:.0%} of the documents go there, so give more"
        )
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written for training, and what in it is also held out."""

    tokens: int
    documents: int
    digest: bytes
    seen: set[int]  # hashes of held-out lines that stand in train, too
    known: set[int]  # hashes of all its documents


def _write_train(source: Source, tokenizer: Any, folder: Path, wanted: set[int], lengths: np.ndarray) -> Written:
    import numpy as np

    buckets = [(folder / f"bucket-{i}").open("wb+") for i in range(BUCKETS)]
    known: set[int] = set()
    seen: set[int] = set()
    count, batch = 0, list[tuple[int, str]]()

    def flush() -> None:
        nonlocal count
        rows = tokenizer.encode_ordinary_batch([text for _, text in batch], num_threads=os.cpu_count() or 1)
        for (digest, text), row in zip(batch, rows, strict=True):
            buckets[digest % BUCKETS].write(np.array([BOS, *row], dtype="<u2").tobytes())
            count += len(row) + 1
            seen.update(wanted & _lines(text))
        batch.clear()
        _say(f"{count / 1e6:,.1f} M training tokens", again=True)

    for part, digest, text in source.documents():
        if part == "train" and digest not in known:
            known.add(digest)
            batch.append((digest, text))
            if len(batch) >= 4096:
                flush()
        if count >= TRAIN_TOKENS:
            break
    flush()
    if count == 0:
        raise CorpusError("there is no training text: every file in the folder is a held-out shard")
    tokens, hashed = 0, hashlib.sha256()
    with (folder / "train.bin").open("wb") as file:
        # First how many bytes each token has, so that a script can print bits per byte; documents begin after that.
        file.write(lengths.astype("<u2").tobytes())
        for number, bucket in enumerate(buckets):
            bucket.seek(0)
            piece = _mixed(np.frombuffer(bucket.read(), dtype="<u2"), number)
            file.write(piece.tobytes())
            hashed.update(piece.tobytes())
            tokens += len(piece)
            bucket.close()
            (folder / f"bucket-{number}").unlink()
    _say(f"{tokens / 1e6:,.1f} M training tokens in {len(known):,} documents")
    return Written(tokens=tokens, documents=len(known), digest=hashed.digest(), seen=seen, known=known)


def _mixed(tokens: np.ndarray, seed: int) -> np.ndarray:
    import numpy as np

    documents = np.split(tokens, np.flatnonzero(tokens == BOS)[1:])
    order = np.random.default_rng(seed).permutation(len(documents))
    return np.concatenate([documents[i] for i in order])


def _say(line: str, *, again: bool = False) -> None:
    """On standard error; what is said again and again only on a terminal, in one line."""
    if not again or sys.stderr.isatty():
        print(f"\r{line}", end="" if again else "\n", file=sys.stderr, flush=True)


def default_cache() -> Path:
    """Where the user's caches live."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "ratchetree", "gpt-gpu")


def main() -> int:
    """The script; returns the exit code."""
    parser = argparse.ArgumentParser(description="Bring and prepare the data of the gpt-gpu task; say where it lies.")
    parser.add_argument(
        "--corpus", type=Path, help="folder of .txt, .jsonl or .parquet (default: the downloaded shards)"
    )
    parser.add_argument("--cache", type=Path, default=None, help="where to keep what is downloaded and prepared")
    parser.add_argument(
        "--download", type=int, metavar="N", help="bring N shards of training text and the held-out two"
    )
    parser.add_argument("--source", default=SOURCE, help="URL of the folder that holds the shards")
    options = parser.parse_args()
    cache = (options.cache or default_cache()).absolute()
    try:
        if options.download is not None:
            if not 1 <= options.download <= TEST_SHARD:
                raise CorpusError(f"--download {options.download}: give 1 to {TEST_SHARD}")
            names = shards.shard_names(options.download, (VALIDATION_SHARD, TEST_SHARD))
            brought = shards.download(options.source.rstrip("/"), names, cache / "shards")
            if broken := shards.check(cache / "shards", names):
                raise CorpusError(f"{broken[0]} is not what it was when it came: delete it and download again")
            _say(f"{brought} shards brought, {len(names) - brought} were there, all with the right checksums")
        manifest = prepare_data(options.corpus.absolute() if options.corpus else None, cache)
    except (CorpusError, shards.DownloadError, OSError) as error:
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


def token_bytes() -> np.ndarray:
    """int32 [VOCAB_SIZE]: the bytes of each token, 0 for the separator. The clock must run: they come with the data."""
    import numpy as np

    return _trial.start().tokens[:VOCAB_SIZE].astype(np.int32)


def training_tokens() -> int:
    """So many there are."""
    return len(_trial.start().tokens) - VOCAB_SIZE


def train_batches(rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches (x, y), int64 [rows, length] each, y one token ahead of x, until the budget is used up.

    Rows are full and begin with a document. The clock starts when the first batch is asked for. The order follows the
    seed. Rows are packed by a thread and copied while the card computes: a batch is there before it is asked for.
    """
    if not (rows >= 1 and 1 <= length <= SEQ_LEN):
        raise ValueError(f"train_batches({rows}, {length}): rows must be at least 1 and length 1 to {SEQ_LEN}")
    return _batches(rows, length)


def _batches(rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    run = _trial.start()
    loader = _Loader(run, rows, length, _trial.task.device)
    try:
        while run.allows(rows * length):
            run.report()
            batch = loader.next()
            run.hand_out(rows * length)
            yield batch[:, :-1], batch[:, 1:]
    finally:
        loader.stop()


class _Loader:
    """A thread that packs rows into two buffers, pinned where the device is a card, while the other one is in use."""

    def __init__(self, run: Run, rows: int, length: int, device: str) -> None:
        import numpy as np
        import torch

        self._device = device
        self._free: queue.SimpleQueue[tuple[torch.Tensor, Any] | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[torch.Tensor | Exception] = queue.SimpleQueue()
        for _ in range(2):
            # Ids below 32,768 fit in 16 bits, which every device can widen.
            self._free.put((torch.empty(rows, length + 1, dtype=torch.int16, pin_memory=device == "cuda"), None))
        rng = np.random.default_rng([run.seed, run.streams])
        run.streams += 1
        threading.Thread(target=self._work, args=(run.tokens, rng, length + 1), daemon=True).start()

    def next(self) -> torch.Tensor:
        """int64 [rows, length + 1] on the device."""
        import torch

        buffer = self._ready.get()
        if isinstance(buffer, Exception):
            raise buffer
        batch = buffer.to(self._device, torch.int16, non_blocking=True, copy=True).long()
        copied = None
        if self._device == "cuda":
            copied = torch.cuda.Event()
            copied.record()
        self._free.put((buffer, copied))
        return batch

    def stop(self) -> None:
        """End the thread."""
        self._free.put(None)

    def _work(self, tokens: np.ndarray, rng: np.random.Generator, capacity: int) -> None:
        from packing import Packer, shuffled

        try:
            packer = Packer(shuffled(tokens, BOS, rng), capacity)
            while (freed := self._free.get()) is not None:
                buffer, copied = freed
                if copied is not None:
                    copied.synchronize()
                for row in buffer.numpy():
                    packer.fill(row)
                self._ready.put(buffer)
        except Exception as error:  # noqa: BLE001 - told to the training loop, which would wait for ever
            self._ready.put(error)


if __name__ == "__main__":
    sys.exit(main())
