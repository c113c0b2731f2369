"""The gpt-gpu task's data: downloading, what is held out, packed rows, batches that are there before they are asked."""

from __future__ import annotations

import functools
import hashlib
import http.server
import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from .conftest import GPU_TASK, Parent, manifest_of, random_document, run_prepare

BOS = 8191


class Shards(http.server.BaseHTTPRequestHandler):
    """A server with resume whose connections end after `cut` bytes, and that says the SHA-256 of a file or a lie."""

    folder: Path
    cut = 10**9
    lie = ""
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        kind, where = type(self), self.headers.get("Range")
        file = kind.folder / self.path.lstrip("/")
        kind.asked.append((file.name, where))
        if not file.is_file():
            self.send_error(404)
            return
        data, start = file.read_bytes(), int(where.removeprefix("bytes=").rstrip("-")) if where else 0
        self.send_response(206 if where else 200)
        self.send_header("ETag", f'"{kind.lie or hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + kind.cut])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, type[Shards]]]:
    """Three shards of a corpus, served: 0 for training and the two that are held out."""
    folder = tmp_path / "served"
    folder.mkdir()
    rng = random.Random(1)
    for number, documents in ((0, 500), (6542, 12), (6541, 12)):
        rows = [random_document(rng, 20 if number == 0 else 200) for _ in range(documents)]
        pyarrow.parquet.write_table(pyarrow.table({"text": rows}), folder / f"shard_{number:05d}.parquet")
    kind = type("Served", (Shards,), {"folder": folder, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", kind
        serving.shutdown()
        thread.join()


def test_shards_come_once_and_the_pinned_ones_are_what_is_held_out(
    server: tuple[str, type[Shards]], tmp_path: Path, load_gpu: Any
) -> None:
    url, kind = server
    prepare = functools.partial(run_prepare, folder=GPU_TASK)
    first = prepare("--download", "1", "--source", url, "--cache", tmp_path / "cache")
    manifest = manifest_of(first)
    assert "3 of 3 files" in first.stderr and "3 shards brought, 0 were there" in first.stderr
    asked = len(kind.asked)
    again = prepare("--download", "1", "--source", url, "--cache", tmp_path / "cache")
    assert len(kind.asked) == asked and "0 shards brought, 3 were there" in again.stderr
    assert manifest_of(prepare("--cache", tmp_path / "cache")) == manifest == manifest_of(again)
    assert manifest["train_documents"] == 500 and manifest["hidden"] == [str(tmp_path / "cache" / "shards")]
    tokenizer = load_gpu("prepare").texts.load_tokenizer(Path(manifest["tokenizer"]))
    held_out = set(pyarrow.parquet.read_table(kind.folder / "shard_06542.parquet")["text"].to_pylist())
    flat = np.fromfile(manifest["validation"], dtype="<u2")
    assert (len(flat) - 1) % 2048 == 0 and (flat[::2048] == BOS).all()  # each of the scorer's rows begins a document
    for document in np.split(flat, np.flatnonzero(flat == BOS)[1:])[:-1]:
        text = tokenizer.decode(document[1:].tolist())
        assert any(text in whole for whole in held_out)
    assert np.load(manifest["token_bytes"])[flat].sum() == manifest["validation_bytes"]


def test_a_broken_download_goes_on_where_it_was_and_what_is_wrong_is_thrown_away(
    server: tuple[str, type[Shards]], tmp_path: Path, load_gpu: Any
) -> None:
    url, kind = server
    shards = load_gpu("shards")
    name, whole = "shard_00000.parquet", (kind.folder / "shard_00000.parquet").read_bytes()
    kind.cut = len(whole) // 2 + 1
    assert shards.download(url, [name], tmp_path / "to", pause=0.0) == 1
    assert (tmp_path / "to" / name).read_bytes() == whole
    assert [where for file, where in kind.asked if file == name] == [None, f"bytes={kind.cut}-"]
    kind.cut, kind.lie = 10**9, "0" * 64
    with pytest.raises(shards.DownloadError, match="came with the SHA-256"):
        shards.download(url, [name], tmp_path / "other", pause=0.0)
    assert not list((tmp_path / "other").iterdir())
    with pytest.raises(shards.DownloadError, match="404"):
        shards.download(url, ["shard_00009.parquet"], tmp_path / "other", pause=0.0)
    (tmp_path / "to" / name).write_bytes(whole[:-1])
    assert shards.check(tmp_path / "to", [name, "none"]) == [name, "none"]


def test_without_text_there_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    done = run_prepare("--cache", tmp_path, folder=GPU_TASK)
    assert done.returncode == 2 and "--download 8" in done.stderr and len(done.stderr.splitlines()) == 1
    wrong = run_prepare("--download", "0", "--cache", tmp_path, folder=GPU_TASK)
    assert wrong.returncode == 2 and "give 1 to 6541" in wrong.stderr


def packed(packing: Any, documents: list[list[int]], capacity: int, rows: int) -> list[list[int]]:
    """Rows of small numbers; 0 separates."""
    given = (np.array(document, np.uint16) for document in documents)
    found = packing.rows_of(given, capacity, rows)
    return [row.tolist() for row in found]


def test_the_longest_document_that_fits_is_taken_and_the_shortest_is_cropped(load_gpu: Any) -> None:
    packing = load_gpu("packing")
    documents = [[0, 1, 1], [0, 2, 2, 2, 2], [0, 3], [0, 4, 4, 4]]
    # 5 fits 7 best and leaves 2, which [0, 3] fills; then 4 and 3 of the rest.
    assert packed(packing, documents, 7, 9) == [[0, 2, 2, 2, 2, 0, 3], [0, 4, 4, 4, 0, 1, 1]]
    assert packed(packing, [[0, 1, 1, 1], [0, 2, 2]], 6, 9) == [[0, 1, 1, 1, 0, 2]]  # cropped, not left empty
    assert packed(packing, [[0, 1]], 3, 9) == []  # no row is filled


def test_a_document_longer_than_a_row_is_cut_into_pieces_that_begin_alike(load_gpu: Any) -> None:
    packing = load_gpu("packing")
    assert sorted(packed(packing, [[0, *range(1, 10)]], 4, 9)) == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 7, 8, 9]]


def test_an_epoch_holds_every_document_once_in_an_order_of_its_own(load_gpu: Any, monkeypatch: Any) -> None:
    packing = load_gpu("packing")
    monkeypatch.setattr(packing, "BLOCK", 50)
    tokens = np.concatenate([[BOS, i, i + 1] for i in range(100)]).astype("<u2")
    epochs = packing.shuffled(tokens, BOS, np.random.default_rng(0))
    first, second = ([d.tolist() for d in itertools.islice(epochs, 100)] for _ in range(2))
    assert sorted(first) == sorted(second) == [[BOS, i, i + 1] for i in range(100)]
    assert first != second != sorted(second)
    assert [d.tolist() for d in packing.in_order(tokens, BOS)] == [[BOS, i, i + 1] for i in range(100)]
    with pytest.raises(ValueError, match="no document"):
        next(packing.shuffled(np.zeros(9, np.uint16), BOS, np.random.default_rng(0)))


@pytest.fixture
def documents(parent: Parent) -> Parent:
    """A parent whose data is 3,000 documents of 2 to 61 tokens: a separator, then one number again and again."""
    rng = random.Random(2)
    parts = [[BOS] + [i % 8000] * rng.randrange(1, 61) for i in range(3000)]
    np.concatenate(parts).astype("<u2").tofile(parent.data)
    return parent


def test_rows_are_full_begin_with_a_document_and_y_is_one_ahead(load_gpu: Any, documents: Parent) -> None:
    prepare = load_gpu("prepare")
    documents.answer("tokens", 8 * 64 * 5 + 1)
    batches = list(prepare.train_batches(8, 64))
    assert len(batches) == 5 and prepare.progress() == 8 * 64 * 5 / (8 * 64 * 5 + 1)
    for x, y in batches:
        assert x.dtype == y.dtype == torch.int64 and x.shape == y.shape == (8, 64)
        assert torch.equal(x[:, 1:], y[:, :-1]) and (x[:, 0] == BOS).all()
        inside = (x != BOS) & (y != BOS)
        assert torch.equal(x[inside], y[inside])  # documents are in one piece
    with pytest.raises(ValueError, match="length 1 to 2048"):
        prepare.train_batches(1, 2049)


def test_the_order_follows_the_seed_and_not_the_machine(load_gpu: Any, documents: Parent, monkeypatch: Any) -> None:
    import os

    orders = []
    for seed in (1, 1, 2):
        prepare = load_gpu("prepare")
        monkeypatch.setenv("RATCHETREE_CONTROL", str(os.dup(documents.childs.fileno())))
        documents.answer("tokens", 2000, seed=seed)
        orders.append(torch.cat([x for x, _ in prepare.train_batches(2, 50)]).tolist())
    assert orders[0] == orders[1] != orders[2]


def test_what_goes_wrong_while_packing_is_told_to_the_training_loop(load_gpu: Any, parent: Parent) -> None:
    prepare = load_gpu("prepare")
    np.zeros(5000, "<u2").tofile(parent.data)
    parent.answer()
    with pytest.raises(ValueError, match="no document"):
        next(prepare.train_batches(2, 16))
