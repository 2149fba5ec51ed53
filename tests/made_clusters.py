"""Small Ray clusters on this machine."""

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

MAX_STARTS = 8  # a node gives up after 15 s, in which busy cores may not have started its agents


@contextmanager
def serving_cluster(*, num_nodes: int, cores: int) -> Iterator[Cluster]:
    """Start a cluster of nodes with some cores each."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
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


def add_node(cluster: Cluster, cores: int) -> Any:
    """Add a node to a cluster, and return it; its first one is the head."""
    for num_left in reversed(range(MAX_STARTS)):
        try:
            return cluster.add_node(num_cpus=cores, include_dashboard=False)
        except Exception as error:
            if not num_left or "timed out" not in str(error):
                raise


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
