from pathlib import Path

from dequant.studio.memory import Memory


def held(memory: Memory[bytes], *names: str) -> set[str]:
    """Which files are known."""
    missed: list[str] = []
    for name in names:
        memory.get(Path(name), None, lambda name=name: missed.append(name) or bytes(100))  # too large to be kept
    return set(names) - set(missed)


def test_the_last_ones_are_kept_within_a_number_of_bytes() -> None:
    memory: Memory[bytes] = Memory(len, 10)
    for name in "abc":
        memory.get(Path(name), None, lambda: bytes(4))
    assert held(memory, "a", "b", "c") == {"b", "c"} and memory.held == 8
    memory.get(Path("b"), None, lambda: bytes(4))
    memory.get(Path("d"), None, lambda: bytes(4))
    assert held(memory, "b", "c", "d") == {"b", "d"}


def test_what_is_too_large_alone_is_not_kept() -> None:
    memory: Memory[bytes] = Memory(len, 10)
    memory.get(Path("a"), None, lambda: bytes(4))
    assert len(memory.get(Path("b"), None, lambda: bytes(11))) == 11
    assert held(memory, "a", "b") == {"a"}


def test_values_of_one_file_are_told_apart() -> None:
    memory: Memory[bytes] = Memory(len, 10)
    assert memory.get(Path("a"), 1, lambda: b"x") == b"x" and memory.get(Path("a"), 2, lambda: b"y") == b"y"
    assert memory.get(Path("a"), 1, lambda: b"z") == b"x"


def test_files_move_and_go_with_their_folder() -> None:
    memory: Memory[bytes] = Memory(len, 10)
    memory.get(Path("a"), None, lambda: b"x")
    memory.move(Path("a"), Path("folder/a"))
    memory.get(Path("folder/b"), None, lambda: b"y")
    memory.get(Path("c"), None, lambda: b"z")
    assert held(memory, "a", "folder/a") == {"folder/a"}
    memory.forget(Path("folder"))
    assert held(memory, "folder/a", "folder/b", "c") == {"c"} and memory.held == 1


def test_there_is_a_number_of_values_too() -> None:
    memory: Memory[bytes] = Memory(len, 10, count=2)
    for name in "abc":
        memory.get(Path(name), None, lambda: b"")
    assert held(memory, "a", "b", "c") == {"b", "c"}
