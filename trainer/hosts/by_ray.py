"""The way to several hosts through Ray: an actor on every node of a cluster.

Ray knows which machines there are, starts a process on each and carries what is asked and answered; that is all that it
is used for. It asks nobody for a password: whoever reaches the cluster's ports runs what they like on its machines.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...search.errors import WrongUse
from ...search.settings import Settings
from .host import Host
from .trainer import HostLost

ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RayLink:
    """Implements Link."""

    name: str
    actor: Any

    async def call(self, method: str, *arguments: Any) -> Any:
        """Through the cluster."""
        import ray.exceptions

        try:
            return await getattr(self.actor, method).remote(*arguments)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except ray.exceptions.RayError as error:
            raise HostLost(type(error).__name__) from error


def connect(settings: Settings, workspace: Path) -> list[RayLink]:
    """A Host on every node of the cluster that `trainer.cluster` names. Raises WrongUse."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no word to anybody
    try:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    except ImportError as error:
        raise WrongUse('trainer.executor = "ray", but Ray is not installed: pip install "ratchetree[hosts]"') from error
    address = settings.trainer.cluster
    try:
        if ":" in address:  # Ray itself would try for minutes
            head, _, port = address.rpartition(":")
            socket.create_connection((head, int(port)), ANSWER_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises a dozen kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WrongUse(
            f'trainer.cluster = "{address}": no Ray cluster answers there ({reason}); start one with `ray start '
            '--head` and `ray start --address=...` on the other hosts, or try "local"'
        ) from error
    actor = ray.remote(Host)
    links = []
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in sorted(nodes, key=lambda node: str(node["NodeManagerHostname"])):
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = {"num_cpus": 0, "max_concurrency": 1000, "scheduling_strategy": there}
            host = actor.options(**options).remote(settings, f"{os.uname().nodename}:{workspace}")
            links.append(RayLink(node["NodeManagerHostname"], host))
    return links


def disconnect() -> None:
    """End the hosts, and the cluster if it is one of our own."""
    import ray

    ray.shutdown()
