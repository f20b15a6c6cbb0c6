"""Processes that train one model together under torchrun: which they are, and how they exchange values.

In a single process, every exchange does nothing.
"""

import contextlib
import datetime
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from charlstm.errors import CharLSTMError

if TYPE_CHECKING:
    from torch import Tensor

_PATIENCE = datetime.timedelta(minutes=30)  # how long one process waits for another, which may be reading a large text

Value = TypeVar("Value")


class LostProcessError(CharLSTMError):
    """Another process of the job has disappeared."""


@dataclass(frozen=True)
class Group:
    """The processes of a job."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The rank among the processes on this machine."""
    restarts: int = 0
    """How often torchrun has restarted the job."""

    @property
    def first(self) -> bool:
        """Whether this is the process that prints output and writes files."""
        return self.rank == 0

    def rows(self, streams: int) -> slice:
        """Return which rows belong to this process when this many streams are divided among all."""
        return slice(streams * self.rank // self.size, streams * (self.rank + 1) // self.size)

    def add(self, tensors: Sequence["Tensor"]) -> None:
        """Replace each tensor by its sum over all processes, in a single exchange; all must have the same dtype.

        Raises:
            LostProcessError: if another process is gone. The methods below raise it too.
        """
        if self.size == 1:
            return
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _guarded(torch.distributed.all_reduce, flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def add_rows(self, gradient: "Tensor") -> "Tensor":
        """Return the sum over all processes of a sparse coalesced gradient, coalesced, from the rows that each has."""
        if self.size == 1:
            return gradient
        import torch

        rows, values = gradient.indices()[0], gradient.values()
        counts = values.new_zeros(self.size)
        counts[self.rank] = len(rows)
        self.add([counts])
        most = int(counts.max())
        # Each process writes what it has into its own part of a sum in which the others have zeros.
        all_rows, all_values = values.new_zeros(self.size, most), values.new_zeros(self.size, most, values.shape[1])
        all_rows[self.rank, : len(rows)], all_values[self.rank, : len(rows)] = rows, values
        self.add([all_rows, all_values])
        there = torch.arange(most, device=values.device) < counts[:, None]
        parts = torch.sparse_coo_tensor(
            all_rows[there].long()[None], all_values[there], gradient.shape, check_invariants=False
        )
        return parts.coalesce()

    def any(self, flags: Iterable[bool]) -> list[bool]:
        """Return which flags are set in any process; exchanged on the CPU, so as not to wait for a GPU."""
        if self.size == 1:
            return list(flags)
        import torch

        raised = torch.tensor([float(flag) for flag in flags])
        _guarded(torch.distributed.all_reduce, raised)
        return [bool(flag) for flag in raised > 0]

    def agree(self, value: Value) -> Value:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        import torch

        values: list[Any] = [value]
        _guarded(torch.distributed.broadcast_object_list, values)
        agreed: Value = values[0]
        return agreed

    def gather(self, part: "Tensor", streams: int) -> "Tensor":
        """Return a tensor of all streams, in fp32, from each process's part; streams lie along the second axis."""
        if self.size == 1:
            return part
        whole = part.new_zeros((part.shape[0], streams, *part.shape[2:])).float()
        whole[:, self.rows(streams)] = part
        self.add([whole])
        return whole

    @contextlib.contextmanager
    def one_first(self) -> Iterator[None]:
        """Let one process on each machine run the block before the others on that machine do."""
        if self.local_rank:
            self.any([False])
        yield
        if not self.local_rank:
            self.any([False])


ALONE = Group()


def processes() -> int:
    """Return how many processes torchrun has started for this job; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Return whether this is the process that prints and writes; usable before `join`."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: str) -> Group:
    """Return the group of the torchrun job that this process belongs to, or ALONE.

    Args:
        device: `cpu` (all exchanges go through gloo) or `cuda` (gradients go through NCCL).
    """
    size = processes()
    if size == 1:
        return ALONE
    import torch
    import torch.distributed.nn  # must be imported before a group exists: see `leave`
    from torch import distributed

    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    backends = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"

    def meet(backends: str) -> None:
        store, _, _ = next(distributed.rendezvous("env://", timeout=_PATIENCE))  # type: ignore[attr-defined]
        fresh = distributed.PrefixStore(_token(store, rank, size), store)  # type: ignore[attr-defined]
        distributed.init_process_group(backends, timeout=_PATIENCE, store=fresh, rank=rank, world_size=size)

    _guarded(meet, backends)
    return Group(rank, size, local_rank, int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))


def _token(store: Any, rank: int, size: int) -> str:
    """Return a token that all processes agree on and that is new each time the job starts.

    torchrun keeps one store across restarts. It still contains the addresses of processes that are gone, and a process
    that mistook them for current ones would wait forever (pytorch/pytorch issue 135712). Its restart count may differ
    between machines. So the first process draws a token; each other process answers with one of its own, and continues
    once the first process has recorded that answer.
    """
    mine = secrets.token_hex(8)
    others = range(1, size)
    if rank == 0:
        store.set("token", mine)
        answers = [f"{mine}/{other}" for other in others]
        store.wait(answers, _PATIENCE)
        store.set(f"{mine}/all", b" ".join(store.get(answer) for answer in answers))
        return mine
    while True:
        token: str = store.get("token").decode()  # waits for the first process
        store.set(f"{token}/{rank}", mine)
        for _ in range(20):
            if store.check([f"{token}/all"]):
                break
            time.sleep(0.01)
        if store.check([f"{token}/all"]) and mine in store.get(f"{token}/all").decode().split():
            return token


def leave(group: Group) -> None:
    """Leave the group after the last exchange, and end all of the group's threads.

    A thread that releases a tensor while Python shuts down would abort the process, or hang it forever. The group's
    threads end with the last reference to the group. `torch.distributed.nn`, which torch imports at a time of its own
    choosing, keeps a reference in its default arguments if a group exists at that time; `join` imports it earlier.
    """
    if group.size > 1:
        from torch import distributed

        distributed.destroy_process_group()


def _guarded(exchange: Callable[[Any], Any], data: Any) -> None:
    try:
        exchange(data)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise LostProcessError(
            f"another process of this job is gone ({reason[:160]}); "
            "torchrun --max-restarts N goes on from the last save by itself"
        ) from None
