"""Processes that train one model together under torchrun: who they are, and what they add up. Alone it does nothing."""

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

_PATIENCE = datetime.timedelta(minutes=30)  # that a process waits for another, which may be reading a large text

Value = TypeVar("Value")


class LostProcessError(CharLSTMError):
    """Another process of the job is gone."""


@dataclass(frozen=True)
class Group:
    """The processes of a job."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those on this machine."""
    restarts: int = 0
    """How often torchrun has begun the job again."""

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def rows(self, streams: int) -> slice:
        """Return which of so many streams are this process's."""
        return slice(streams * self.rank // self.size, streams * (self.rank + 1) // self.size)

    def add(self, tensors: Sequence["Tensor"]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange; all are of one type.

        Raises:
            LostProcessError: where another process is gone; so do all that follow.
        """
        if self.size == 1:
            return
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _guarded(torch.distributed.all_reduce, flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def any(self, flags: Iterable[bool]) -> list[bool]:
        """Return which flags are set in any of the processes; on the CPU, so that no GPU is waited for."""
        if self.size == 1:
            return list(flags)
        import torch

        raised = torch.tensor([float(flag) for flag in flags])
        _guarded(torch.distributed.all_reduce, raised)
        return [bool(flag) for flag in raised > 0]

    def agree(self, value: Value) -> Value:
        """Return the first process's value."""
        if self.size == 1:
            return value
        import torch

        values: list[Any] = [value]
        _guarded(torch.distributed.broadcast_object_list, values)
        agreed: Value = values[0]
        return agreed

    def gather(self, part: "Tensor", streams: int) -> "Tensor":
        """Put together what each process has of so many streams, which lie along the second axis; in fp32."""
        if self.size == 1:
            return part
        whole = part.new_zeros((part.shape[0], streams, *part.shape[2:])).float()
        whole[:, self.rows(streams)] = part
        self.add([whole])
        return whole

    @contextlib.contextmanager
    def one_first(self) -> Iterator[None]:
        """Let one process of each machine do something before the others of that machine do it."""
        if self.local_rank:
            self.any([False])
        yield
        if not self.local_rank:
            self.any([False])


ALONE = Group()


def processes() -> int:
    """Return how many processes torchrun has started of this job; 1 where it has not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> Group:
    """Return the job that torchrun has started this process in, or ALONE.

    Args:
        device: `cpu`, where the processes exchange through gloo, or `cuda`, where the gradients go through NCCL.
    """
    size = processes()
    if size == 1:
        return ALONE
    import torch
    import torch.distributed.nn  # before there is a group: see `leave`
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
    """Return a word that all processes of this start of the job have agreed on, and no earlier start.

    torchrun keeps one store for all restarts: in it lie the addresses of processes that are gone, and whoever took them
    for the new ones would wait for ever (pytorch/pytorch issue 135712). Its count of restarts need not be the same on
    every machine. So the first process draws a word; each of the others answers with one of its own, and goes on when
    the first one has written down that answer.
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
        token: str = store.get("token").decode()  # waits for the first
        store.set(f"{token}/{rank}", mine)
        for _ in range(20):
            if store.check([f"{token}/all"]):
                break
            time.sleep(0.01)
        if store.check([f"{token}/all"]) and mine in store.get(f"{token}/all").decode().split():
            return token


def leave(group: Group) -> None:
    """Take leave of the other processes, after the last exchange; no thread of the group is left.

    A thread that still lets go of a tensor while Python ends would abort the process, or stop it for ever. The group's
    threads end with its last reference, and `torch.distributed.nn`, which torch imports when it sees fit, keeps one as
    the default of its arguments where there is a group as it is imported.
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
