"""From the members of a shard to its samples."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from dequant.data.checks import shown
from dequant.data.sources import MAP_SUFFIXES, NO_IMAGE, stem
from dequant.data.tars import BROKEN, Member
from dequant.errors import InputError
from dequant.io.formats import SUFFIXES


class Raw(NamedTuple):
    """One sample of a shard as stored.

    Attributes:
        key: path of its members up to the first dot of the file name, or what else names it.
        image: the image file; empty where there is a flaw.
        record: its JSON record.
        maps: its maps of segments.
        flaw: why it cannot be taken, or None.
    """

    key: str
    image: bytes
    record: dict[str, Any]
    maps: tuple[bytes, ...] = ()
    flaw: str | None = None

    @property
    def caption(self) -> str:
        """What its record says of the photo, maybe nothing; `InputError` where records have no captions."""
        if "caption" not in self.record:
            raise InputError(f"The record of the photo {shown(self.key)} has no caption: use shards whose records do.")
        return str(self.record["caption"] or "").strip()


def samples(members: Iterable[Member]) -> Iterator[Raw]:
    """Consecutive members whose paths agree up to the first dot of the file name.

    A break counts as one sample: the one beside it that lacks a part, or else one of its own. So it moves no other
    sample, as far as that can be known.
    """
    last, before, lost, recorded = "", list[Raw](), None, False
    for key, group in itertools.groupby(members, lambda member: None if member.flaw == BROKEN else stem(member.name)):
        if key is None:
            lost = lost or Raw(f"byte {next(group).offset}", b"", {}, flaw=BROKEN)
            continue
        if lost is None:
            yield from before
            before = _sample(key, list(group))
        else:
            after = _sample(key, list(group))
            recorded = recorded or any(raw.record for raw in after)
            yield from [lost] if key == last else _around(lost, before, after, recorded)
            before, lost = [], None
        last = key
        recorded = recorded or any(raw.record for raw in before)
    yield from before if lost is None else _around(lost, before, [], recorded)


def _around(lost: Raw, before: list[Raw], after: list[Raw], recorded: bool) -> list[Raw]:
    """The samples around a break; of one that lacks its image, or a record where others have one, nothing is taken."""
    if any(not raw.image or (recorded and not raw.record) for raw in after):
        return [*before, lost]
    if any(not raw.image or (recorded and not raw.record) for raw in before):
        return [lost, *after]
    return [*before, lost, *after]


def _sample(key: str, members: Sequence[Member]) -> list[Raw]:
    """The sample of some members; several where the photos have names of their own, such as `a.x.jpg`, `a.y.jpg`."""
    flawed = next((one for one in members if one.flaw and _suffix(one) in (*SUFFIXES, ".json")), None)
    if flawed is not None:
        return [Raw(flawed.name, b"", {}, flaw=flawed.flaw)]
    images = [one for one in members if _suffix(one) in SUFFIXES and not one.name.lower().endswith(MAP_SUFFIXES)]
    if not images:
        flaw = next((one.flaw for one in members if one.flaw), NO_IMAGE)
        return [Raw(members[0].name, b"", {}, flaw=flaw)]
    record = next((one.content for one in reversed(members) if _suffix(one) == ".json"), b"{}")
    maps = tuple(one.content for one in members if one.name.removeprefix(key).lower() in MAP_SUFFIXES)
    plain = [one for one in images if one.name.removeprefix(key).lower() in SUFFIXES][-1:]
    if plain:
        return [Raw(key, plain[0].content, _record(record), maps)]
    several = len(images) > 1
    return [Raw(one.name if several else key, one.content, _record(record), maps) for one in images]


def _suffix(member: Member) -> str:
    return PurePosixPath(member.name).suffix.lower()


def _record(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
