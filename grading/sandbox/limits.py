"""What a worker may use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one worker.

    cpu and wall: seconds for each call and each cell. total_cpu: seconds in a worker's life.
    memory, reply, file and folder: bytes. files: how many in the worker's folder.
    """

    cpu: float = 10
    wall: float = 30
    total_cpu: int = 120
    memory: int = 3 * 2**30
    reply: int = 32 * 2**20
    file: int = 16 * 2**20
    folder: int = 64 * 2**20
    files: int = 2000
