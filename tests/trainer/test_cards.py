"""Cards, through a fake of the driver library: leases, emptiness, samples, speed, peaks and compiled code."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.search.model import Failure, FailureKind
from ratchetree.trainer.cards import Card, Keeper, Resident, nvidia
from ratchetree.trainer.cards.calibration import Calibration, calibrate, read
from ratchetree.trainer.cards.compiled import SNAPSHOT, Compiled
from ratchetree.trainer.cards.driver import DriverError
from ratchetree.trainer.cards.fake import CALM, FakeDriver, fake_card
from ratchetree.trainer.cards.keeper import PATIENCE_SECONDS, visible
from ratchetree.trainer.cards.lease import Lease, held_by, take
from ratchetree.trainer.cards.peaks import PEAKS, mfu, peak_tflops, told_flops
from ratchetree.trainer.cards.report import report_cards
from ratchetree.trainer.cards.sampling import Sampler, Strain, owner_check
from ratchetree.trainer.processes import end_marked
from ratchetree.trainer.sandbox.places import without_others

ONE, TWO = fake_card(0), fake_card(1)


# -- leases ------------------------------------------------------------------------------------------------------------


def test_two_campaigns_get_different_cards_and_a_third_is_told_who_holds_them(tmp_path: Path) -> None:
    first = take((ONE, TWO), 1, holder="/night/one", folder=tmp_path)
    second = take((ONE, TWO), 1, holder="/night/two", folder=tmp_path)
    assert [lease.card for lease in (*first, *second)] == [ONE, TWO]
    with pytest.raises(WrongUse, match=r"0 of 2 are free.*H100.*/night/one \(pid \d+.*/night/two"):
        take((ONE, TWO), 1, holder="/night/three", folder=tmp_path)
    first[0].end()
    first[0].end()  # harmless
    with pytest.raises(WrongUse, match="1 of 2 are free"):
        take((ONE, TWO), 2, holder="/night/three", folder=tmp_path)
    assert take((ONE, TWO), 1, holder="/night/three", folder=tmp_path)[0].card == ONE  # the failed try kept nothing
    assert "/night/two" in str(held_by(TWO, tmp_path))
    second[0].end()
    assert held_by(TWO, tmp_path) is None and held_by(fake_card(9), tmp_path) is None


def test_a_lease_ends_with_its_campaign_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ratchetree.trainer.cards.fake import fake_card\n"
        "from ratchetree.trainer.cards.lease import take\n"
        f"kept = take((fake_card(0),), 1, holder='/night/one', folder=Path({str(tmp_path)!r}))\n"
        "print('held', flush=True); time.sleep(300)"
    )
    campaign = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert campaign.stdout is not None and campaign.stdout.readline() == "held\n"
    assert f"(pid {campaign.pid}," in str(held_by(ONE, tmp_path))
    campaign.kill()
    campaign.communicate()
    assert held_by(ONE, tmp_path) is None
    take((ONE,), 1, holder="/night/two", folder=tmp_path)[0].end()


def test_a_lease_file_is_never_a_link_and_may_be_any_users(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    take((ONE,), 1, holder="x", folder=folder)[0].end()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    file = next(folder.iterdir())
    assert stat.S_IMODE(file.stat().st_mode) == 0o666
    file.write_text("no JSON")
    lease = take((ONE,), 1, holder="x", folder=folder)[0]
    file.write_text("no JSON")
    with pytest.raises(WrongUse, match="another campaign"):
        take((ONE,), 1, holder="y", folder=folder)
    lease.end()
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WrongUse, match="cannot be opened"):
        take((ONE,), 1, holder="x", folder=folder)


def test_more_slots_than_cards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r'slots = 2, but 1 card.*trainer.cards = "none"'):
        take((ONE,), 2, holder="x", folder=tmp_path)


@pytest.mark.parametrize(
    ("said", "expected"),
    [(None, (ONE, TWO)), ("1", (TWO,)), ("1,0", (TWO, ONE)), (TWO.uuid, (TWO,)), ("", ()), ("0,-1,1", (ONE,))],
)
def test_cards_are_those_that_the_environment_shows(said: str | None, expected: tuple[Card, ...]) -> None:
    environment = {} if said is None else {"CUDA_VISIBLE_DEVICES": said}
    assert visible((ONE, TWO), environment) == expected


def test_a_card_that_is_not_there_is_refused() -> None:
    with pytest.raises(WrongUse, match="'7' is none of this machine's cards"):
        visible((ONE, TWO), {"CUDA_VISIBLE_DEVICES": "7"})


# -- samples -----------------------------------------------------------------------------------------------------------


def strain_of(driver: FakeDriver, samples: int = 100, ours: Callable[[int], bool] = lambda pid: True) -> Strain:
    sampler = Sampler(driver, ONE.uuid, is_ours=ours)
    sampler.sample()  # before the clock runs: not counted
    sampler.training = True
    for _ in range(samples):
        sampler.sample()
    return sampler.strain()


def test_a_calm_card_gives_no_complaint_and_few_samples_say_nothing() -> None:
    assert strain_of(FakeDriver()).complaints() == []
    hot = FakeDriver(readings={ONE.uuid: replace(CALM, slowed=frozenset({"heat"}))})
    assert strain_of(hot, samples=4).complaints() == []
    assert strain_of(hot).complaints() == ["its card was slowed by heat for 100% of the time (at most 5%)"]


def test_a_card_at_its_power_limit_works_hard_and_is_not_void() -> None:
    limited = replace(CALM, clock_mhz=1485, slowed=frozenset({"power"}), power_watts=700, memory_mb=61440)
    strain = strain_of(FakeDriver(readings={ONE.uuid: limited}))
    assert strain.complaints() == []
    assert (strain.clock_share, strain.slowed, strain.power_watts, strain.memory_mb) == (
        0.75,
        {"power": 1.0},
        700,
        61440,
    )


def test_a_short_spell_is_forgiven_and_a_longer_one_is_not() -> None:
    for spell, void in ((5, False), (6, True)):
        left = [spell + 1]  # one look before the clock runs

        def heat(driver: FakeDriver, left: list[int] = left) -> None:
            slowed = frozenset({"brake"}) if left[0] > 0 else frozenset[str]()
            driver.readings[ONE.uuid] = replace(CALM, slowed=slowed)
            left[0] -= driver.asked % 2  # each sample asks twice

        assert bool(strain_of(FakeDriver(each_time=heat)).complaints()) is void


def test_others_on_the_card_make_the_trial_void_and_its_own_processes_do_not() -> None:
    driver = FakeDriver(on={ONE.uuid: (Resident(pid=7, memory_mb=5), Resident(pid=8, memory_mb=9))})
    strain = strain_of(driver, ours=lambda pid: pid == 7)
    assert strain.foreign == {8: 1.0}
    assert strain.complaints() == ["others computed on its card (pid 8)"]


def test_a_look_that_fails_is_no_sample() -> None:
    assert strain_of(FakeDriver(broken="gone")) == Strain()


def test_a_run_owns_the_pids_that_carry_its_mark_and_those_that_nobody_here_has() -> None:
    child = subprocess.Popen(["sleep", "300"], env={"RATCHETREE_RUN": "0001-0", "PATH": os.environ["PATH"]})
    try:
        gone = 2**22 + 5  # beyond the largest pid
        is_ours = owner_check(b"RATCHETREE_RUN=0001-0", (Resident(pid=gone + 1, memory_mb=1),))
        assert is_ours(child.pid) and not is_ours(os.getpid())
        assert is_ours(gone) and not is_ours(gone + 1)
    finally:
        child.kill()
        child.wait()


# -- the keeper --------------------------------------------------------------------------------------------------------


class Kept:
    """A keeper over a fake driver; pauses take no time."""

    def __init__(
        self, folder: Path, driver: FakeDriver | None, measured: list[Calibration | str] | None = None
    ) -> None:
        self.said: list[str] = []
        self.paused = 0.0
        self.measured = measured or []

        async def pause(seconds: float) -> None:
            self.paused += seconds
            await asyncio.sleep(0)

        async def measure(uuid: str) -> Calibration | str:
            return self.measured.pop(0)

        self.keeper = Keeper(
            driver, workspace=folder, say=self.said.append, leases=folder / "leases", pause=pause, measure=measure
        )


def test_a_machine_without_cards_has_nothing_to_keep(tmp_path: Path) -> None:
    for driver in (None, FakeDriver(present=())):
        assert Kept(tmp_path, driver).keeper.open(4, {}) == []
    deaf = Kept(tmp_path, FakeDriver(broken="the driver does not answer"))
    assert deaf.keeper.open(1, {}) == []
    assert deaf.said == ["cards are not watched: the driver does not answer"]


def test_cards_are_leased_at_the_start_and_given_back_at_the_end(tmp_path: Path) -> None:
    keeper = Kept(tmp_path, FakeDriver(present=(ONE, TWO))).keeper
    assert keeper.open(2, {}) == [ONE, TWO]
    assert keeper.card(TWO.uuid) == TWO and keeper.card("") is None
    with pytest.raises(WrongUse, match="free"):
        Kept(tmp_path, FakeDriver(present=(ONE, TWO))).keeper.open(1, {})
    keeper.close()
    assert Kept(tmp_path, FakeDriver(present=(ONE, TWO))).keeper.open(1, {}) == [ONE]


def test_a_trial_waits_for_its_card_and_is_void_if_it_is_never_empty(tmp_path: Path) -> None:
    somebody = {ONE.uuid: (Resident(pid=42, memory_mb=20_000),)}

    def leaves(driver: FakeDriver) -> None:
        if driver.asked > 30:
            driver.on = {}

    patient = Kept(tmp_path, FakeDriver(on=dict(somebody), each_time=leaves))
    assert asyncio.run(patient.keeper.ready(ONE.uuid, calibrate_every=0)) is None
    assert 5 < patient.paused < PATIENCE_SECONDS
    assert patient.said == [f"waiting for card {ONE.uuid}: pid 42 has 20,000 MB of it"]
    void = asyncio.run(Kept(tmp_path, FakeDriver(on=somebody)).keeper.ready(ONE.uuid, calibrate_every=0))
    assert isinstance(void, Failure) and void.kind is FailureKind.STARVED
    assert void.message == "its card was not free: pid 42 has 20,000 MB of it"


def test_memory_in_use_by_nobody_that_can_be_seen_counts_too(tmp_path: Path) -> None:
    full = FakeDriver(readings={ONE.uuid: replace(CALM, memory_mb=30_000)})
    assert asyncio.run(Kept(tmp_path, full).keeper.empty(ONE.uuid)) == "30,000 MB of it are in use"
    assert asyncio.run(Kept(tmp_path, FakeDriver()).keeper.empty(ONE.uuid)) is None
    assert asyncio.run(Kept(tmp_path, FakeDriver(broken="gone")).keeper.empty(ONE.uuid)) is None


def test_a_card_is_watched_while_a_trial_trains(tmp_path: Path) -> None:
    async def watch() -> Strain:
        keeper = Kept(tmp_path, FakeDriver(on={ONE.uuid: (Resident(pid=os.getpid(), memory_mb=1),)})).keeper
        async with keeper.watched(ONE.uuid, ("RATCHETREE_RUN", "0001-0")) as sampler:
            assert sampler is not None
            sampler.training = True
            while sampler.strain().samples < 10:  # noqa: ASYNC110 - the fake's pauses are as short
                await asyncio.sleep(0)
            return sampler.strain()

    assert asyncio.run(watch()).complaints() == [f"others computed on its card (pid {os.getpid()})"]

    async def unwatched() -> None:
        async with Kept(tmp_path, FakeDriver()).keeper.watched("", ("A", "b")) as sampler:
            assert sampler is None

    asyncio.run(unwatched())


FAST = Calibration(tflops=700, copy_gb_per_second=2800)


def test_speed_is_measured_before_the_first_trial_and_every_few_after(tmp_path: Path) -> None:
    measured: list[Calibration | str] = [FAST, replace(FAST, tflops=695), "no torch"]
    kept = Kept(tmp_path, FakeDriver(), measured)
    assert kept.keeper.speed(ONE.uuid) is None
    speeds = []
    for _ in range(7):
        assert asyncio.run(kept.keeper.ready(ONE.uuid, calibrate_every=3)) is None
        speeds.append(kept.keeper.speed(ONE.uuid))
    assert speeds == [1.0] * 3 + [695 / 700] * 4 and kept.measured == []
    assert kept.said == [f"card {ONE.uuid} could not be calibrated: no torch"]


def test_a_slow_card_gets_time_to_cool_and_is_then_told_of(tmp_path: Path) -> None:
    slow = Calibration(tflops=665, copy_gb_per_second=2800)
    cooled = Kept(tmp_path, FakeDriver(), [FAST, slow, FAST])
    hot = Kept(tmp_path, FakeDriver(), [FAST, slow, slow])
    for kept in (cooled, hot):
        for _ in range(2):
            asyncio.run(kept.keeper.ready(ONE.uuid, calibrate_every=1))
        assert kept.paused == 30.0
    assert cooled.keeper.speed(ONE.uuid) == 1.0 and cooled.said == []
    assert hot.keeper.speed(ONE.uuid) == 0.95 and "runs at 95.0% of its best (665 TFLOP/s" in hot.said[0]


@pytest.mark.slow
def test_the_calibration_runs_where_torch_does_and_says_why_if_not(tmp_path: Path) -> None:
    found = asyncio.run(calibrate("", tmp_path, workspace=tmp_path, device="cpu", size=64, seconds=0.05))
    assert isinstance(found, Calibration) and found.tflops > 0 and found.copy_gb_per_second > 0
    assert end_marked(RATCHETREE_WORKSPACE=str(tmp_path)) == 0
    (tmp_path / "log.txt").write_text("Traceback\nRuntimeError: no kernel image is available\n")
    assert read(None, tmp_path / "log.txt") == "RuntimeError: no kernel image is available"
    assert read(None, tmp_path / "nothing") == "it ended without a word"


# -- NVIDIA's library --------------------------------------------------------------------------------------------------


class NVMLError(Exception):
    """As the library's own."""


def library(**changes: Any) -> SimpleNamespace:
    """What the module pynvml answers for one card, with the types that it uses."""

    def memory(handle: str, version: int = 1) -> SimpleNamespace:
        return SimpleNamespace(total=80 << 30, used=(600 << 20) if version == 1 else (4 << 20))

    usual: dict[str, Any] = {
        "NVMLError": NVMLError,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlMemory_v2": 2,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda i: f"handle {i}",
        "nvmlDeviceGetHandleByUUID": lambda uuid: "handle 0",
        "nvmlDeviceGetUUID": lambda handle: b"GPU-1234",  # bytes in older packages
        "nvmlDeviceGetName": lambda handle: "NVIDIA H200",
        "nvmlDeviceGetMinorNumber": lambda handle: 3,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetClockInfo": lambda handle, which: 1500,
        "nvmlDeviceGetMaxClockInfo": lambda handle, which: 1980,
        "nvmlDeviceGetPowerUsage": lambda handle: 650_500,
        "nvmlDeviceGetTemperature": lambda handle, which: 71,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=99, memory=40),
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x01 | 0x04 | 0x20 | 0x80,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=5, usedGpuMemory=None)],
    }
    return SimpleNamespace(**usual | changes)


def test_the_librarys_units_and_bits_become_ours() -> None:
    driver = nvidia.NvidiaDriver(library())
    assert driver.cards() == (Card(uuid="GPU-1234", name="NVIDIA H200", device="/dev/nvidia3", memory_mb=81920.0),)
    reading = driver.reading("GPU-1234")
    assert (reading.clock_mhz, reading.top_clock_mhz, reading.power_watts, reading.busy) == (1500, 1980, 650.5, 0.99)
    assert reading.memory_mb == 4.0 and reading.slowed == {"power", "heat", "brake"}
    assert driver.residents("GPU-1234") == (Resident(pid=5, memory_mb=0.0),)


def test_older_packages_are_understood_and_errors_are_ours() -> None:
    old = library(
        nvmlDeviceGetCurrentClocksEventReasons=None,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x40,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=80 << 30, used=600 << 20),
    )
    reading = nvidia.NvidiaDriver(old).reading("GPU-1234")
    assert (reading.slowed, reading.memory_mb) == ({"heat"}, 600.0)

    def fails(*_: Any) -> None:
        raise NVMLError("driver not loaded")

    with pytest.raises(DriverError, match="driver not loaded"):
        nvidia.NvidiaDriver(library(nvmlInit=fails))
    with pytest.raises(DriverError, match="does not answer"):
        nvidia.NvidiaDriver(library(nvmlDeviceGetHandleByUUID=fails)).residents("GPU-1234")


def test_the_real_package_has_every_name_that_is_used() -> None:
    import pynvml

    missing = [name for name in vars(library()) if not hasattr(pynvml, name)]
    assert missing == []


# -- peaks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H100 NVL", 835.0),
        ("NVIDIA H200", 989.5),
        ("NVIDIA GH200 480GB", 989.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA Unheard-of", None),
    ],
)
def test_a_card_is_found_in_the_table_by_its_name_or_not_at_all(name: str, peak: float | None) -> None:
    assert peak_tflops(name) == peak


def test_mfu_by_hand() -> None:
    # 390 M tokens of 3.4e8 operations in 300 s are 442 TFLOP/s, of 989.5.
    used = mfu(name="NVIDIA H100 80GB HBM3", tokens=390_000_000, seconds=300, flops_per_token=3.4e8)
    assert used == pytest.approx(0.4467, abs=1e-4)
    assert mfu(name="NVIDIA H200", tokens=1, seconds=0.0, flops_per_token=1.0) is None
    assert mfu(name="NVIDIA Unheard-of", tokens=1, seconds=1, flops_per_token=1.0) is None
    assert told_flops("x\nflops_per_token: 3.4e+08\ny") == 3.4e8 and told_flops("flops_per_token: many") == 0.0
    assert all(peak > 0 for _, peak in PEAKS)


# -- doctor, compiled code ---------------------------------------------------------------------------------------------


def test_doctor_tells_of_every_card_what_stands_in_its_way(tmp_path: Path) -> None:
    driver = FakeDriver(
        present=(ONE, TWO, fake_card(2, "NVIDIA Unheard-of"), fake_card(3)),
        on={TWO.uuid: (Resident(pid=9, memory_mb=1),)},
        readings={fake_card(3).uuid: replace(CALM, memory_mb=9000, slowed=frozenset({"heat", "power"}))},
    )
    lease = take((ONE,), 1, holder="/night", folder=tmp_path)[0]
    assert isinstance(lease, Lease)
    told = list(report_cards(driver, seen="", leases=tmp_path))
    lease.end()
    assert [works for works, _ in told] == [False, False, True, False]
    for (_, says), words in zip(
        told, ("held by the campaign in /night", "pid 9", "no MFU", "slowed by heat"), strict=True
    ):
        assert words in says
    assert "9,000 MB are in use" in told[3][1] and "power" not in told[3][1]
    assert list(report_cards(None, seen="")) == []
    assert "not installed" in next(report_cards(None, seen="NVIDIA H100"))[1]
    assert list(report_cards(FakeDriver(broken="gone"), seen="")) == [(False, "gone")]


def test_only_what_the_root_compiled_is_shown_to_others(tmp_path: Path) -> None:
    def compiled(root: str = "c0ffee", card: str = "H100") -> Compiled:
        return Compiled(tmp_path / "state", root=root, card=card, torch="2.13")

    ours = compiled()
    ours.open()
    assert not ours.is_there and SNAPSHOT not in ours.environment("/out/compiled")
    left = tmp_path / "left"
    assert not ours.take(left)  # the root compiled nothing
    (left / "triton").mkdir(parents=True)
    (left / "triton" / "kernel.so").write_text("code")
    (left / "link").symlink_to("/etc/passwd")
    os.mkfifo(left / "pipe")
    assert ours.take(left) and ours.is_there
    assert [p.name for p in ours.folder.rglob("*") if p.is_file()] == ["kernel.so"]
    assert not any(p.is_symlink() for p in ours.folder.rglob("*"))
    assert ours.environment("/tmp/compiled") == {
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/compiled",
        "TRITON_CACHE_DIR": "/tmp/compiled/triton",
        SNAPSHOT: str(ours.folder),
    }
    again = compiled()
    again.open()
    assert again.is_there
    assert len({compiled(*key).folder for key in (("c0ffee",), ("other",), ("c0ffee", "A100"))}) == 3
    other = compiled(card="A100")
    other.open()
    assert not other.is_there and not ours.is_there  # forgotten


def test_a_trial_sees_the_device_file_of_its_own_card_and_the_drivers() -> None:
    devices = ("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia10", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/kfd")
    own = ("/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/kfd")
    assert without_others(devices, ("/dev/nvidia1",)) == own
    assert without_others(devices, ()) == devices
