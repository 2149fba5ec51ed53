"""Workers on a Ray cluster: jobs are dealt to them one by one, and given again when a worker is lost.

A worker is an actor, which keeps what it has loaded. Ray could restart actors and repeat their calls by itself, but
raises to the caller all the same where a node is lost. So Ray restarts nothing: a worker that is lost is replaced here,
and its jobs wait for another one.
"""

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from pipeline.errors import InputError, first_line

MAX_LOSSES = 5  # of workers during one job, from which on the job is to blame, and not the machines
PORT_SECONDS = 10.0  # until an address where nothing answers is given up
TOKEN = "~/.ray/auth_token"  # where Ray keeps the token of a cluster that expects one
PATIENCE_SECONDS = 60.0  # without any worker, until the user hears of it
GROWTH_SECONDS = 5.0  # between two looks at the size of the cluster


class Job(NamedTuple):
    """A call of a method of a worker.

    Attributes:
        key: What the caller knows it by.
        method: The name of the method.
        arguments: Its arguments.
        method_with_room: The method that is called instead while fewer jobs wait than workers are idle; "" for none.
        keeps: Whether the method returns a pair: a small result, and a large one that stays in the cluster as `Kept`.
    """

    key: Any
    method: str
    arguments: tuple[Any, ...]
    method_with_room: str = ""
    keeps: bool = False


class KeptLostError(Exception):
    """What was kept in the cluster was lost together with its machine."""


class Kept:
    """A large result of a job, in the memory of the machine on which it was made; any worker can get it.

    Args:
        reference: Ray's reference to it.
    """

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def get(self) -> Any:
        """Fetch it; arrays cannot be written to.

        Raises:
            KeptLostError: It was lost.
        """
        import ray

        try:
            return ray.get(self._reference)
        except ray.exceptions.RayError as error:
            raise KeptLostError(first_line(error)) from None


class Lost(NamedTuple):
    """In place of a result: MAX_LOSSES workers were lost during a job.

    Attributes:
        reason: Why the last one was, by Ray.
    """

    reason: str


class Share(NamedTuple):
    """What a worker takes of the cluster.

    Attributes:
        cpus: Cores.
        gpus: GPUs.
        num_parallel: The number of jobs that it does at the same time.
    """

    cpus: int = 1
    gpus: int = 0
    num_parallel: int = 1


@contextmanager
def connected(address: str) -> Iterator[list[dict[str, float]]]:
    """Connect to a cluster, and yield the resources of each of its machines: "CPU" and "GPU".

    Args:
        address: Its address, such as "10.0.0.1:6379"; "auto" for the cluster of this machine.

    Raises:
        InputError: Ray is not installed, there is no such cluster, or it runs another version of Ray or Python.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of its next version
    try:
        import ray
    except ImportError:
        raise InputError("--cluster: Ray is not installed: pip install '.[fleet]' in the repository") from None
    try:
        _check_port(address)  # Ray itself tries for a quarter of an hour
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError) as error:
        shown = address.rpartition("@")[2]  # without a password, which no cluster asks for
        reason = first_line(error).replace(address, shown)
        raise InputError(
            f"--cluster {shown}: cannot be reached ({reason}): is it running, of the same versions of Ray"
            f" and Python, and with the same token ({TOKEN}), if any? `ray start --head` starts one on this machine"
        ) from None
    try:
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()


def _check_port(address: str) -> None:
    """Raise OSError where nothing listens at an address of the form HOST:PORT."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PORT_SECONDS).close()


class Pool:
    """Workers that do jobs.

    Args:
        worker: The class of the workers. Its method `prepare` is called once, before any job.
        order: The argument of `prepare`.
        share: What a worker takes of the cluster.
        on_note: It is called with one sentence where no worker is ready for a long time.
    """

    def __init__(self, worker: type, order: Any, share: Share, *, on_note: Callable[[str], None]) -> None:
        import ray

        resources = {"num_cpus": share.cpus, "num_gpus": share.gpus}
        self._actor = ray.remote(worker).options(**resources, max_concurrency=share.num_parallel, max_restarts=0)
        self._order, self._share, self._on_note = order, share, on_note
        self._waiting: deque[Job] = deque()
        self._calls: dict[Any, _Call] = {}
        self._num_free: dict[Any, int] = {}  # of the workers that are ready, the number of jobs that they can take
        self._losses = Counter[Any]()  # of workers, by the keys of the jobs that they did
        self._num_prepare_losses = 0  # since the last worker was ready
        self._room = 1  # the number of workers that the cluster has room for
        self._looked = float("-inf")
        self.num_losses = 0

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        """Yield each job with its result, or `Lost`, as they come.

        Raises:
            InputError: A worker cannot prepare.
            Exception: A job raised it.
        """
        import ray

        self._waiting.extend(jobs)
        since = time.monotonic()
        while self._waiting or any(call.job for call in self._calls.values()):
            self._grow()
            self._deal()
            ready, _ = ray.wait(list(self._calls), timeout=GROWTH_SECONDS)
            if self._num_free or ready:
                since = time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                since = time.monotonic()
                self._on_note("the cluster has no free share for a worker: waiting for one")
            for reference in ready:
                yield from self._collect(reference)

    def add(self, jobs: Sequence[Job]) -> None:
        """Add jobs while others run, which are done before those that wait."""
        self._waiting.extendleft(reversed(jobs))
        self._looked = float("-inf")  # there may be room for more workers now

    def drop(self, keys: Container[Any]) -> None:
        """Forget the jobs with these keys that wait; those that are being done go on."""
        self._waiting = deque(job for job in self._waiting if job.key not in keys)

    def put(self, value: Any) -> Any:
        """Send an argument of several jobs into the cluster once, and return what stands for it."""
        import ray

        return ray.put(value)

    def close(self) -> None:
        """End all workers, and what they do."""
        import ray

        for worker in self._workers():
            ray.kill(worker)

    def _workers(self) -> set[Any]:
        return {call.worker for call in self._calls.values()} | self._num_free.keys()

    def _grow(self) -> None:
        """Start workers where there is room for them, and work."""
        import ray

        if time.monotonic() - self._looked < GROWTH_SECONDS and self._calls:
            return
        self._looked = time.monotonic()
        found, share = ray.cluster_resources(), self._share
        room = found.get("GPU", 0) // share.gpus if share.gpus else found.get("CPU", 0) // share.cpus
        self._room = max(1, int(room))
        for _ in range(min(self._room - len(self._workers()), len(self._waiting))):
            worker = self._actor.remote()
            self._calls[worker.prepare.remote(self._order)] = _Call(worker, None)

    def _deal(self) -> None:
        for worker in list(self._num_free):
            while self._waiting and self._num_free[worker]:
                self._start(worker, self._waiting.popleft())
                self._num_free[worker] -= 1

    def _start(self, worker: Any, job: Job) -> None:
        num_busy = sum(call.job is not None for call in self._calls.values()) + 1
        has_room = self._room * self._share.num_parallel > num_busy + len(self._waiting)
        method = getattr(worker, job.method_with_room if has_room and job.method_with_room else job.method)
        if job.keeps:
            reference, kept = method.options(num_returns=2).remote(*job.arguments)
            self._calls[reference] = _Call(worker, job, Kept(kept))
        else:
            self._calls[method.remote(*job.arguments)] = _Call(worker, job)

    def _collect(self, reference: Any) -> Iterator[tuple[Job, Any]]:
        """Yield the job of a call that has ended, with its result; nothing where it is to be done again."""
        import ray

        call = self._calls.pop(reference)
        worker, job, kept, is_check = call
        try:
            result = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if job is None and not isinstance(error.cause, InputError):
                raise InputError(
                    f"a worker cannot start ({first_line(error.cause)}): is the same version of Framescribe installed"
                    " on all machines?"
                ) from None
            raise error.cause from None
        except ray.exceptions.RayError as error:
            self._forget(call, error)
            if job is None:
                return
            self._losses[job.key] += 1
            if self._losses[job.key] < MAX_LOSSES:
                self.add([job])
            else:
                yield job, Lost(first_line(error))
            return
        if not is_check:
            self._num_prepare_losses = 0
        self._num_free[worker] = self._num_free.get(worker, 0) + (self._share.num_parallel if job is None else 1)
        if job is not None:
            yield job, (result, kept) if job.keeps else result

    def _forget(self, call: "_Call", error: Exception) -> None:
        """Count the worker of a call that was lost; it is replaced at the next look at the cluster, which is now.

        Idle workers may be lost together with it: each would take the next job with it. So they are asked first.
        """
        # A worker that does several jobs at once is lost with each of them, and counts once.
        self.num_losses += self._num_free.pop(call.worker, None) is not None or call.job is None
        self._looked = float("-inf")
        for idle in [each for each, num_free in self._num_free.items() if num_free == self._share.num_parallel]:
            del self._num_free[idle]
            self._calls[idle.__ray_ready__.remote()] = _Call(idle, None, is_check=True)
        self._num_prepare_losses += call.job is None and not call.is_check
        if self._num_prepare_losses >= MAX_LOSSES:
            raise InputError(
                f"{MAX_LOSSES} workers were lost while they loaded the model: is memory short, or has this"
                f" machine another token than the cluster ({TOKEN})? ({first_line(error)})"
            )


class _Call(NamedTuple):
    """A call of a worker that has not ended: of a job, or of `prepare`, where there is no job.

    A check asks a worker that is ready whether it is still there.
    """

    worker: Any
    job: Job | None
    kept: Kept | None = None
    is_check: bool = False
