"""A card's memory between two processes: NVIDIA's own bindings over a driver that keeps it in the machine's memory."""

from __future__ import annotations

import asyncio
import ctypes.util
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.model import ScoreReport, TrialReport
from ratchetree.search.ports import Job
from ratchetree.trainer.cards.fake import FakeDriver, fake_card
from ratchetree.trainer.device_memory import DeviceMemory, DeviceMemoryError
from ratchetree.trainer.doctor import card_memory
from ratchetree.trainer.sandbox import BACKENDS
from ratchetree.trainer.scorer import Exchange, InMemory
from ratchetree.trainer.scorer import exchange as choose_exchange
from ratchetree.trainer.sharing import why_not_shared

from .test_on_cards import ONE, Overlapping, short_task  # noqa: F401 - a fixture
from .test_trainers import seed_task  # noqa: F401 - a fixture

Build = Callable[..., Path]


def probe(name: str, folder: Path, readable: Path) -> str | None:
    place = folder / "probe"
    place.mkdir()
    sandbox = BACKENDS[name]
    if (missing := sandbox.missing()) is not None:
        pytest.skip(missing)
    return asyncio.run(why_not_shared(fake_card(0), sandbox, place, workspace=folder, readable=(str(readable),)))


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_what_a_confined_process_writes_arrives(name: str, fake_cuda: Build, tmp_path: Path) -> None:
    assert probe(name, tmp_path, fake_cuda()) is None


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("cuMemCreate", "cuMemCreate: CUDA_ERROR_NOT_SUPPORTED"),
        ("cuMemExportToShareableHandle", "cuMemExportToShareableHandle: CUDA_ERROR_NOT_SUPPORTED"),
        (
            "cuMemImportFromShareableHandle",
            "in the sandbox: .*cuMemImportFromShareableHandle: CUDA_ERROR_NOT_SUPPORTED",
        ),
    ],
)
def test_where_the_driver_cannot_share_the_probe_says_what_it_refused(
    refused: str, reason: str, fake_cuda: Build, tmp_path: Path
) -> None:
    said = probe("bubblewrap", tmp_path, fake_cuda(refused))
    assert said is not None and re.fullmatch(reason, said), said


@pytest.mark.skipif(bool(ctypes.util.find_library("cuda")), reason="this machine has a driver")
def test_without_a_driver_there_is_one_line_and_the_logits_go_through_the_machines_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DeviceMemoryError, match="cuInit: "):
        DeviceMemory(1)
    said = probe("bubblewrap", tmp_path, tmp_path)
    assert said is not None and said.startswith("cuInit: ") and "\n" not in said
    instead: Exchange = choose_exchange((16, 4, 8), on_card=True)
    assert isinstance(instead, InMemory)
    instead.close()
    assert "the logits go through the machine's memory: cuInit" in capsys.readouterr().err
    checks = list(card_memory(FakeDriver()))
    assert [check.works for check in checks] == [False] and not checks[0].needed
    assert list(card_memory(None)) == []


@pytest.mark.slow
def test_a_score_is_the_same_whether_the_logits_leave_the_card_or_not(
    short_task: Path,  # noqa: F811
    fake_cuda: Build,
    monkeypatch: Any,
) -> None:
    readable = {"readable": [str(fake_cuda())]}

    async def score(job: Job, *, train: bool) -> tuple[Overlapping, float]:
        real = Overlapping(short_task, FakeDriver(present=(ONE,)), **readable)
        await real.trainer.open(job.commit)
        if train:
            assert isinstance(await real.trainer.train(job), TrialReport)
        report = await real.trainer.score(job)
        assert isinstance(report, ScoreReport), report
        await real.trainer.close()
        return real, report.value

    commit = Overlapping(short_task, FakeDriver()).repository.main()
    job = Job(experiment=1, trial=0, seed=1, commit=commit, cuts=8)
    log = short_task / ".ratchetree" / "trials" / "0001-0" / "score.txt"
    on_card, value = asyncio.run(score(job, train=True))
    assert not [line for line in on_card.said if "logits" in line]
    assert "logits" not in log.read_text()
    monkeypatch.delenv("LD_LIBRARY_PATH")
    in_memory, again = asyncio.run(score(job, train=False))
    assert [line.partition(":")[0] for line in in_memory.said if "logits" in line] == [
        "logits leave the card when a trial is scored, which takes longer"
    ]
    assert math.isclose(value, again, rel_tol=1e-6)
