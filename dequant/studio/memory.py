"""What was computed of files, kept for the next request: the last ones, within a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memory(Generic[Value]):
    """The values that were used last, for all threads.

    Args:
        size: bytes of a value.
        most: bytes of all values, at most; a larger one is not kept.
        count: of values, at most.
    """

    def __init__(self, size: Callable[[Value], int], most: int, count: int = 1000) -> None:
        self._size, self._most, self._count = size, most, count
        self._held: OrderedDict[tuple[Path, Hashable], tuple[Value, int]] = OrderedDict()
        self._lock = Lock()

    @property
    def held(self) -> int:
        """Of all values."""
        with self._lock:
            return sum(size for _, size in self._held.values())

    def get(self, path: Path, of: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a file, made where it is not known.

        Args:
            path: of the file, whose content never changes.
            of: what tells values of one file apart.
            make: the value.
        """
        key = (path, of)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        value = make()
        size = self._size(value)
        if size <= self._most:
            with self._lock:
                self._held[key] = (value, size)
                self._held.move_to_end(key)
                while len(self._held) > self._count or sum(one for _, one in self._held.values()) > self._most:
                    self._held.popitem(last=False)
        return value

    def move(self, path: Path, other: Path) -> None:
        """The file has another name now."""
        with self._lock:
            for key in [one for one in self._held if one[0] == path]:
                self._held[(other, key[1])] = self._held.pop(key)

    def forget(self, path: Path) -> None:
        """The file is gone; of a folder, all that was in it."""
        with self._lock:
            for key in [one for one in self._held if one[0] == path or path in one[0].parents]:
                del self._held[key]
