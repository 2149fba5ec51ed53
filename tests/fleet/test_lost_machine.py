"""A machine whose workers are all idle is lost: the next job is not to blame."""

import time
from contextlib import closing

import pytest
import ray
from made_clusters import add_node, serving_cluster

from pipeline.fleet.cluster import MAX_LOSSES, Job, Pool, Share, connected

pytestmark = pytest.mark.slow  # a cluster takes long to start


class Worker:
    def prepare(self, order: None) -> None:
        pass

    def rest(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds


def test_idle_workers_that_die_together_are_not_blamed_on_the_next_job():
    with serving_cluster(num_nodes=1, cores=0) as cluster:
        node = add_node(cluster, MAX_LOSSES + 1)
        with connected(cluster.address), closing(Pool(Worker, None, Share(), on_note=pytest.fail)) as pool:
            jobs = [Job(number, "rest", (1.0,)) for number in range(3 * MAX_LOSSES)]
            results = {}
            for job, result in pool.run(jobs):
                results[job.key] = result
                if len(results) == len(jobs):
                    add_node(cluster, 1)
                    cluster.remove_node(node, allow_graceful=False)
                    while ray.cluster_resources()["CPU"] > 1:  # until Ray knows
                        time.sleep(0.5)
                    pool.add([Job("next", "rest", (0.5,))])
            assert results["next"] == 0.5
            assert pool.num_losses
