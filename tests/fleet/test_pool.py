"""Jobs are done once each, whatever happens to the workers of a cluster."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from made_clusters import serving_cluster

from pipeline.errors import InputError
from pipeline.fleet.cluster import MAX_LOSSES, Job, Kept, Lost, Pool, Share, connected

pytestmark = pytest.mark.slow  # a cluster takes long to start


class Worker:
    """A worker whose jobs end it, or fail, as the test says."""

    def prepare(self, order: str) -> None:
        if order == "refuse":
            raise InputError("the worker refuses")
        if order == "break":
            raise AttributeError("no such thing")
        self.order = order

    def square(self, number: int) -> int:
        return number * number

    def cube(self, number: int) -> int:
        return number**3

    def keep(self, number: int) -> tuple[int, list[int]]:
        return number, [number] * 3

    def total(self, kept: list[Kept]) -> int:
        return sum(sum(each.get()) for each in kept)

    def end_once(self, mark: Path) -> str:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    def end_always(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(self) -> None:
        raise ZeroDivisionError("a defect")


@pytest.fixture(scope="module")
def cluster():
    with serving_cluster(num_nodes=1, cores=2) as cluster, connected(cluster.address):
        yield cluster


def run(jobs: list[Job], order: str = "work") -> tuple[dict, Pool]:
    pool = Pool(Worker, order, Share(), on_note=pytest.fail)
    try:
        return {job.key: result for job, result in pool.run(jobs)}, pool
    finally:
        pool.close()


def test_every_job_is_done_once(cluster):
    results, pool = run([Job(number, "square", (number,)) for number in range(20)])
    assert results == {number: number * number for number in range(20)}
    assert pool.num_losses == 0


def test_jobs_of_lost_workers_are_done_by_others_and_one_that_ends_them_all_is_given_up(cluster, tmp_path):
    jobs = [Job(f"once{number}", "end_once", (tmp_path / f"mark{number}",)) for number in range(3)]
    results, pool = run([*jobs, Job("always", "end_always", ()), Job("square", "square", (3,))])
    assert isinstance(results.pop("always"), Lost)
    assert results == {"once0": "done", "once1": "done", "once2": "done", "square": 9}
    assert pool.num_losses == 3 + MAX_LOSSES


def test_jobs_may_follow_from_results_and_what_is_kept_goes_from_worker_to_worker(cluster):
    with closing(Pool(Worker, "work", Share(), on_note=pytest.fail)) as pool:
        kept, results = [], []
        for job, result in pool.run([Job(number, "keep", (number,), keeps=True) for number in range(3)]):
            if job.keeps:
                small, large = result
                assert (small, large.get()) == (job.key, [job.key] * 3)
                kept.append(large)
                if len(kept) == 3:
                    pool.add([Job("total", "total", (kept,)), Job("dropped", "fail", ())])
                    pool.drop({"dropped"})
            else:
                results.append(result)
    assert results == [9]


def test_another_method_is_called_while_workers_are_idle(cluster):
    """There are two workers: of several jobs only the last one leaves a worker idle."""
    alone, _ = run([Job(0, "square", (2,), method_with_room="cube")])
    assert alone == {0: 8}
    several, _ = run([Job(number, "square", (2,), method_with_room="cube") for number in range(4)])
    assert [several[number] for number in range(3)] == [4, 4, 4]


def test_what_a_worker_raises_ends_the_call(cluster):
    with pytest.raises(InputError, match="the worker refuses"):
        run([Job(0, "square", (1,))], order="refuse")
    with pytest.raises(InputError, match=r"no such thing.*is the same version of Framescribe installed"):
        run([Job(0, "square", (1,))], order="break")
    with pytest.raises(ZeroDivisionError, match="a defect"):
        run([Job(0, "fail", ())])


@pytest.mark.parametrize("name", ["", "name:secret@"])
def test_a_cluster_that_is_not_there_is_told_in_a_sentence(name):
    start = time.monotonic()
    with (
        pytest.raises(InputError, match=r"^--cluster 127\.0\.0\.1:1: cannot be reached") as raised,
        connected(f"{name}127.0.0.1:1"),
    ):
        pytest.fail("there is no cluster")
    assert "secret" not in str(raised.value)
    assert time.monotonic() - start < 60, "Ray itself tries for a quarter of an hour"
