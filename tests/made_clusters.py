"""Small Ray clusters on this machine."""

import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from ray._private import services
from ray.cluster_utils import Cluster

START_SECONDS = 240  # of a node; Ray waits for 30, in which busy cores may not have started its agents


@contextmanager
def serving_cluster(*, num_nodes: int, cores: int) -> Iterator[Cluster]:
    """Start a cluster of nodes with some cores each."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        patch.setattr(services, "get_node", _waiting(services.get_node))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default: on busy cores workers would hardly run
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # workers import this project and its tests
        cluster = Cluster()
        try:
            for _ in range(num_nodes):
                add_node(cluster, cores)
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Cluster, cores: int) -> None:
    """Add a node to a cluster; its first one is the head."""
    cluster.add_node(num_cpus=cores)


def _waiting(get_node: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    def wait(gcs_address: str, node_id: str) -> Any:
        started = time.monotonic()
        while True:
            try:
                return get_node(gcs_address, node_id)
            except RuntimeError:  # the node is not known yet
                if time.monotonic() - started > START_SECONDS:
                    raise
                time.sleep(0.2)

    return wait


def find_workers() -> list[psutil.Process]:
    """Find the processes of workers that label videos on this machine."""
    return [p for p in psutil.process_iter(["cmdline"]) if "ray::FleetWorker" in str(p.info["cmdline"])]


def kill_worker(draw: random.Random) -> bool:
    """Kill a worker, and return whether there was one."""
    workers = find_workers()
    if workers:
        draw.choice(workers).kill()
    return bool(workers)


def kill_node(cluster: Cluster, draw: random.Random) -> None:
    """Kill a node of one core, but not the head, with all that runs on it, and start another one."""
    cluster.remove_node(draw.choice(sorted(cluster.worker_nodes, key=id)), allow_graceful=False)
    add_node(cluster, 1)
