"""The seed of a photo's edit: the same wherever the edit is made."""

import hashlib


def seed_of(seed: int, digest: str) -> int:
    """The seed of a file, whatever its name and place in a run, from that of the user and the hash of its content."""
    return int(hashlib.sha256(f"{seed} {digest}".encode()).hexdigest()[:8], 16)
