"""Which photos are trained on, which validate and which test, by a digest of their content."""

from collections.abc import Sequence

SPLITS = ("train", "val", "test")


def fraction(digest: str) -> float:
    """A hexadecimal digest as a number in [0, 1)."""
    return int(digest[:12], 16) / 16**12


def splits_by_digest(digests: Sequence[str]) -> list[str]:
    """Split of each photo by a hexadecimal digest of its content: 80 % train, 10 % val, 10 % test.

    A photo keeps its split when others come and go. Only where the digests leave a split empty, although
    there are at least three different ones, do the photos of smallest digest fill it.
    """
    split = {}
    for digest in sorted(set(digests)):
        share = fraction(digest)
        split[digest] = "train" if share < 0.8 else "val" if share < 0.9 else "test"
    for name in ("val", "test", "train"):
        members = list(split.values())
        if len(split) >= len(SPLITS) and name not in members:
            split[next(digest for digest in split if members.count(split[digest]) > 1)] = name
    return [split[digest] for digest in digests]
