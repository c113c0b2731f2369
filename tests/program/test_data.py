"""The data: what is read, how it is split, and what stands in the token files."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from .conftest import TASK, manifest_of, random_document, run_prepare, write_corpus

PARTS = ("train", "validation", "test")


def decoded(manifest: dict[str, Any], part: str, prepare: Any) -> list[str]:
    """The documents of a part, read back from its token file."""
    tokens = np.fromfile(manifest[part], dtype="<u2")
    tokenizer = prepare.texts.load_tokenizer(Path(manifest["tokenizer"]))
    rows = np.split(tokens, np.flatnonzero(tokens == manifest["bos"]))[1:]
    return [tokenizer.decode(row[1:].tolist()) for row in rows]


def test_every_document_lands_in_exactly_one_part_unchanged(corpus: Path, manifest: dict[str, Any], load: Any) -> None:
    prepare = load("prepare")
    texts = [text for part in PARTS for text in decoded(manifest, part, prepare)]
    assert sorted(texts) == sorted(file.read_text(encoding="utf-8") for file in corpus.iterdir())
    assert [manifest[f"{part}_documents"] for part in PARTS] == [
        len(decoded(manifest, part, prepare)) for part in PARTS
    ]


def test_the_parts_are_about_ninety_five_and_five_percent(manifest: dict[str, Any]) -> None:
    total = sum(manifest[f"{part}_bytes"] for part in PARTS)
    assert 0.84 < manifest["train_bytes"] / total < 0.95
    assert 0.02 < manifest["validation_bytes"] / total < 0.09
    assert 0.02 < manifest["test_bytes"] / total < 0.09


def test_token_bytes_are_the_tokens_own_bytes_and_sum_to_the_text(manifest: dict[str, Any], load: Any) -> None:
    prepare = load("prepare")
    tokenizer = prepare.texts.load_tokenizer(Path(manifest["tokenizer"]))
    token_bytes = np.load(manifest["token_bytes"])
    assert token_bytes.dtype == np.int32 and token_bytes.shape == (manifest["vocab_size"],)
    assert token_bytes[manifest["bos"]] == 0
    for token in range(tokenizer.max_token_value):  # BOS is the largest
        if token_bytes[token]:
            assert token_bytes[token] == len(tokenizer.decode_single_token_bytes(token))
    for part in PARTS:
        size = sum(len(text.encode()) for text in decoded(manifest, part, prepare))
        assert token_bytes[np.fromfile(manifest[part], dtype="<u2")].sum() == size == manifest[f"{part}_bytes"]


def test_half_a_character_counts_as_the_bytes_it_has(manifest: dict[str, Any], load: Any) -> None:
    tokenizer = load("prepare").texts.load_tokenizer(Path(manifest["tokenizer"]))
    halves = tokenizer.encode_ordinary("€")  # three bytes, not in the corpus, so three tokens
    assert np.load(manifest["token_bytes"])[halves].tolist() == [1, 1, 1]
    assert [tokenizer.decode([half]) for half in halves] == ["\ufffd"] * 3  # what decoding would have counted as nine


def test_the_separator_stands_before_each_document_and_nowhere_else(tmp_path: Path, load: Any) -> None:
    documents = write_corpus(tmp_path / "corpus", 399)
    (tmp_path / "corpus" / "x.txt").write_text("one <|bos|> two <|bos|>\n" + random_document(random.Random(5)))
    manifest = manifest_of(run_prepare("--corpus", tmp_path / "corpus", "--cache", tmp_path / "cache"))
    separators = sum((np.fromfile(manifest[part], dtype="<u2") == manifest["bos"]).sum() for part in PARTS)
    assert separators == len(documents) + 1


def found(prepare: Any, texts: list[str]) -> Iterator[Any]:
    """The texts as documents of a user's corpus, a file each."""
    for number, text in enumerate(texts):
        yield prepare.Document(text=text, file=Path(f"{number}.txt"), held_out_share=prepare.HELD_OUT_SHARE)


def test_only_modules_that_no_training_needs_are_held_out_and_their_files_are_named(load: Any) -> None:
    prepare = load("prepare")
    documents = list(prepare.documents(None))
    parts = prepare.split(iter(documents))
    stdlib = Path(sysconfig.get_path("stdlib"))
    modules = {file.relative_to(stdlib).parts[0].removesuffix(".py") for file in parts.held_out_files}
    assert modules <= prepare.SPARE
    imported = subprocess.run(
        [sys.executable, "-c", "import sys, torch, numpy, torch._dynamo, torch.utils.data; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not prepare.SPARE & {name.partition(".")[0] for name in imported.stdout.split()}
    texts = {document.text: document.file for document in documents}
    for text in (*parts.validation, *parts.test):
        assert any(whole.startswith(text) and file in parts.held_out_files for whole, file in texts.items())


def test_the_split_depends_on_content_alone(load: Any) -> None:
    prepare, rng = load("prepare"), random.Random(3)
    documents = [random_document(rng, 20) for _ in range(300)]
    parts = prepare.split(found(prepare, documents))
    shuffled = rng.sample(documents, len(documents))
    again = prepare.split(found(prepare, shuffled))
    assert [getattr(again, part) for part in PARTS] == [getattr(parts, part) for part in PARTS]
    more = prepare.split(found(prepare, [*documents, *(random_document(rng, 20) for _ in range(300))]))
    for part in PARTS:
        assert set(getattr(parts, part)) < set(getattr(more, part))


def test_documents_that_differ_in_white_space_only_count_once(load: Any) -> None:
    prepare, rng = load("prepare"), random.Random(4)
    documents = [random_document(rng, 5) for _ in range(200)]
    respaced = ["\n\n" + text.replace(" ", "  ").replace("\n", "\n\n") for text in documents]
    parts = prepare.split(found(prepare, [*documents, *respaced]))
    kept = [*parts.train, *parts.validation, *parts.test]
    assert sorted(kept) == sorted(documents)


def test_a_held_out_document_that_repeats_the_lines_of_train_is_dropped(load: Any) -> None:
    prepare, rng = load("prepare"), random.Random(6)
    documents = [random_document(rng, 20) for _ in range(300)]
    parts = prepare.split(found(prepare, documents))
    source = parts.train[0]
    edited = [f"edition {number}\n{source}" for number in range(100)]  # each has a hash of its own
    again = prepare.split(found(prepare, [*documents, *edited]))
    assert set(again.train) > set(parts.train)  # some copies went to train
    assert again.validation == parts.validation and again.test == parts.test


def test_held_out_parts_are_capped_and_no_document_fills_them(load: Any) -> None:
    prepare, rng = load("prepare"), random.Random(7)
    parts = prepare.split(found(prepare, [random_document(rng, 1000) for _ in range(200)]))  # 60 kB each
    for held_out in (parts.validation, parts.test):
        sizes = [len(text.encode()) for text in held_out]
        assert sum(sizes) <= prepare.HELD_OUT_BYTES and max(sizes) <= prepare.HELD_OUT_DOCUMENT_BYTES
        assert len(sizes) >= 2


def test_jsonl_and_parquet_rows_are_documents_like_text_files(
    corpus: Path, manifest: dict[str, Any], tmp_path: Path
) -> None:
    texts = [file.read_text(encoding="utf-8") for file in sorted(corpus.iterdir())]
    lines, rows, files = texts[:100], texts[100:200], texts[200:]
    mixed = tmp_path / "mixed"
    (mixed / "deeper").mkdir(parents=True)
    (mixed / "a.jsonl").write_text("\n".join(json.dumps({"text": text, "id": 1}) for text in lines) + "\n\n")
    pyarrow.parquet.write_table(pyarrow.table({"n": range(100), "text": rows}), mixed / "b.parquet", row_group_size=30)
    for number, text in enumerate(files):
        (mixed / "deeper" / f"{number}.txt").write_text(text, encoding="utf-8")
    same = manifest_of(run_prepare("--corpus", mixed, "--cache", tmp_path / "cache"))
    assert same["content"] == manifest["content"]


def test_two_preparations_at_once_agree_and_leave_nothing_behind(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, TASK / "prepare.py", "--corpus", corpus, "--cache", tmp_path]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1]
    assert [folder.name for folder in tmp_path.iterdir()] == [Path(json.loads(printed[0])["train"]).parent.name]


def test_a_second_preparation_imports_nothing_heavy_and_says_the_same(
    corpus: Path, cache: Path, manifest: dict[str, Any]
) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['prepare.py', '--corpus', {str(corpus)!r}, '--cache', {str(cache)!r}]\n"
        f"sys.path.insert(0, {str(TASK)!r})\n"
        "try:\n"
        f"    runpy.run_path({str(TASK / 'prepare.py')!r}, run_name='__main__')\n"
        "finally:\n"
        "    assert not {'torch', 'numpy', 'tiktoken', 'rustbpe', 'pyarrow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert manifest_of(done) == manifest


def test_a_changed_corpus_is_prepared_anew(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", 400)
    before = manifest_of(run_prepare("--corpus", tmp_path / "corpus", "--cache", tmp_path / "cache"))
    (tmp_path / "corpus" / "new.txt").write_text(random_document(random.Random(99)))
    after = manifest_of(run_prepare("--corpus", tmp_path / "corpus", "--cache", tmp_path / "cache"))
    assert after["content"] != before["content"] and after["train"] != before["train"]


def test_the_default_corpus_is_the_standard_library(tmp_path: Path) -> None:
    found = manifest_of(run_prepare(XDG_CACHE_HOME=str(tmp_path)))
    assert Path(found["train"]).is_relative_to(tmp_path / "ratchetree" / "gpt-cpu")
    assert found["train_bytes"] > 1_000_000
    for part in ("validation", "test"):
        assert 50_000 < found[f"{part}_bytes"] <= 256_000


def failure_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr."""
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    line = failure_of(run_prepare("--corpus", tmp_path / "nowhere", "--cache", tmp_path))
    assert "nowhere" in line and "no such folder" in line


def test_a_folder_without_documents_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    line = failure_of(run_prepare("--corpus", tmp_path, "--cache", tmp_path / "cache"))
    assert "no .txt, .jsonl, .parquet file" in line


def test_too_little_text_is_one_clear_line_and_leaves_no_cache(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", 3)
    line = failure_of(run_prepare("--corpus", tmp_path / "corpus", "--cache", tmp_path / "cache"))
    assert "too little text" in line and "train" in line
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("line", ['{"text": 3}', '{"words": "a"}', '["a"]', "{"])
def test_a_broken_jsonl_line_is_one_clear_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    assert "a.jsonl" in failure_of(run_prepare("--corpus", tmp_path, "--cache", tmp_path / "cache"))


def test_a_parquet_without_text_is_one_clear_line(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2]}), tmp_path / "a.parquet")
    assert "a.parquet" in failure_of(run_prepare("--corpus", tmp_path, "--cache", tmp_path / "cache"))


def test_parquet_without_pyarrow_is_one_clear_line(tmp_path: Path) -> None:
    # A package that cannot be imported, in the place where Python looks first.
    (tmp_path / "path" / "pyarrow").mkdir(parents=True)
    (tmp_path / "path" / "pyarrow" / "__init__.py").write_text("raise ImportError('not here')")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    done = run_prepare("--corpus", tmp_path, "--cache", tmp_path / "cache", PYTHONPATH=str(tmp_path / "path"))
    assert "needs pyarrow" in failure_of(done)


def test_a_file_that_is_not_utf8_is_skipped_and_named(corpus: Path, manifest: dict[str, Any], tmp_path: Path) -> None:
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    done = run_prepare("--corpus", tmp_path, "--cache", tmp_path / "cache")
    assert manifest_of(done)["content"] == manifest["content"]
    assert "latin.txt" in done.stderr


def test_a_python_without_its_source_is_one_clear_line(tmp_path: Path, load: Any) -> None:
    prepare = load("prepare")
    with pytest.raises(prepare.CorpusError, match="no standard library source"):
        prepare.stdlib_files(tmp_path)
