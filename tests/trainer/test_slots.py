"""Slots: who runs when, and on which CPUs."""

import asyncio

import pytest

from ratchetree.trainer.slots import SCORE, SMOKE, TRAIN, Slot, Slots, share_out


def two() -> Slots:
    return Slots([Slot(number=0, cpus=(0,)), Slot(number=1, cpus=(1,))])


def test_never_more_run_than_there_are_slots_and_each_has_its_own() -> None:
    async def main() -> None:
        slots, held, most = two(), set[int](), 0

        async def work() -> None:
            nonlocal most
            async with slots.use(TRAIN) as slot:
                assert slot.number not in held
                held.add(slot.number)
                most = max(most, len(held))
                await asyncio.sleep(0)
                held.remove(slot.number)

        await asyncio.gather(*(work() for _ in range(20)))
        assert most == 2

    asyncio.run(main())


def test_scoring_goes_before_smoke_runs_before_training_and_equals_in_order() -> None:
    async def main() -> list[str]:
        slots, order = Slots([Slot(number=0, cpus=())]), list[str]()
        everybody_waits = asyncio.Event()

        async def work(name: str, priority: int) -> None:
            async with slots.use(priority):
                order.append(name)
                await everybody_waits.wait()

        tasks = []
        for name, priority in (("first", TRAIN), ("t1", TRAIN), ("t2", TRAIN), ("smoke", SMOKE), ("score", SCORE)):
            tasks.append(asyncio.create_task(work(name, priority)))
            await asyncio.sleep(0)
        everybody_waits.set()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(main()) == ["first", "score", "smoke", "t1", "t2"]


def test_a_slot_that_is_kept_waits_a_moment_for_a_scoring() -> None:
    async def main(*, scored: bool) -> list[str]:
        slots, order = Slots([Slot(number=0, cpus=())], moment=0.05), list[str]()

        async def work(name: str, priority: int) -> None:
            async with slots.use(priority):
                order.append(name)

        async with slots.use(TRAIN) as slot:
            waiting = [asyncio.create_task(work("next", TRAIN)), asyncio.create_task(work("smoke", SMOKE))]
            await asyncio.sleep(0)
            slots.keep_for_scoring(slot)
        assert not slots.is_free(slot)
        await asyncio.sleep(0)
        if scored:
            await work("score", SCORE)
        await asyncio.gather(*waiting)
        assert slots.is_free(slot)
        return order

    assert asyncio.run(main(scored=True)) == ["score", "smoke", "next"]
    assert asyncio.run(main(scored=False)) == ["smoke", "next"]


def test_a_slot_is_not_lost_when_its_waiter_or_holder_is_cancelled() -> None:
    async def main() -> None:
        slots = Slots([Slot(number=0, cpus=())])

        async def hold() -> None:
            async with slots.use(TRAIN):
                await asyncio.sleep(60)

        holder = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiters = [asyncio.create_task(hold()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        holder.cancel()
        await asyncio.sleep(0)
        waiters[1].cancel()  # granted in this very moment
        await asyncio.sleep(0.01)
        waiters[2].cancel()
        await asyncio.gather(holder, *waiters, return_exceptions=True)
        async with asyncio.timeout(1), slots.use(TRAIN) as slot:
            assert slot.number == 0

    asyncio.run(main())


def test_who_waits_for_one_slot_gets_that_one_and_lets_others_have_the_rest() -> None:
    async def main() -> list[str]:
        slots, order = two(), list[str]()
        first, second = Slot(number=0, cpus=(0,)), Slot(number=1, cpus=(1,))
        assert slots.is_free(first) and slots.is_free(second)

        async def work(name: str, only: Slot | None, until: asyncio.Event, priority: int = TRAIN) -> None:
            async with slots.use(priority, only=only) as slot:
                order.append(f"{name} {slot.number}")
                await until.wait()

        now, later, at_once = asyncio.Event(), asyncio.Event(), asyncio.Event()
        at_once.set()
        tasks = []
        for name, only, until, priority in (
            ("a", second, now, TRAIN),
            ("b", first, later, TRAIN),
            ("waits for b", first, at_once, SCORE),
            ("waits for a", second, at_once, TRAIN),
            ("waits for any", None, at_once, SCORE),
        ):
            tasks.append(asyncio.create_task(work(name, only, until, priority)))
            await asyncio.sleep(0)
        assert not slots.is_free(first) and not slots.is_free(second)
        now.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert order == ["a 1", "b 0", "waits for any 1", "waits for a 1"]
        later.set()
        await asyncio.gather(*tasks)
        async with slots.use(SCORE) as slot:
            order.append(f"the last that was given back: {slot.number}")
        return order

    assert asyncio.run(main())[4:] == ["waits for b 0", "the last that was given back: 0"]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_cpus_are_shared_out_without_overlap_where_there_are_enough(count: int) -> None:
    slots = share_out(count)
    assert [slot.number for slot in slots] == list(range(count))
    assert all(slot.cpus for slot in slots)
    cpus = [cpu for slot in slots for cpu in slot.cpus]
    if len(set(cpus)) >= count:
        assert len(cpus) == len(set(cpus))
