"""Manifests: what is written is read, and what is damaged is no reason to skip a file."""

import errno
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dequant.cli import manifest
from dequant.cli.jobs import Job, Terms, carry_out, publish
from dequant.cli.manifest import History, Output, Record
from dequant.cli.sources import Source
from dequant.errors import InputError
from tests.support.operations import Copy

SAME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def record(folder: Path, name: str = "a.png", **changes: object) -> Record:
    outputs = (Output(str(folder / name), "0" * 64), Output("/else/ü\udcff.yaml", None))
    return replace(Record("in/a.png", "1" * 64, "2" * 64, 3, outputs, 0.1, ("w", "x")), **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / manifest.NAME


def test_what_is_written_is_read(path: Path) -> None:
    first, second = record(path.parent), record(path.parent, "sub/b.png", error=None)
    for one in (first, second, record(path.parent, error="bad", outputs=())):
        manifest.append(path, one)
    outputs = {output.path for one in (first, second) for output in one.outputs}
    made = {first.outputs[0].path: [first], second.outputs[0].path: [second]}
    assert manifest.read([path]) == History(made, outputs, 0)


def test_lines_have_the_fields_of_the_documents(path: Path) -> None:
    manifest.append(path, record(path.parent))
    (line,) = path.read_text().splitlines()
    fields = json.loads(line)
    names = {"input", "input_sha256", "recipe_sha256", "outputs", "seed", "seconds", "warnings", "error", "check"}
    assert fields.keys() == names and next(iter(fields)) == "input"
    assert fields["outputs"][0] == {"path": "a.png", "sha256": "0" * 64}


def test_folder_of_results_can_be_moved(path: Path, tmp_path: Path) -> None:
    manifest.append(path, record(path.parent))
    path.parent.rename(tmp_path / "moved")
    assert str(tmp_path / "moved" / "a.png") in manifest.read([tmp_path / "moved" / manifest.NAME]).made


@pytest.mark.parametrize("left", [0, 1, 9, 10, 200, -1])
def test_torn_line_is_ended_and_ignored(path: Path, left: int) -> None:
    first, second, third = (record(path.parent, name) for name in "abc")
    manifest.append(path, first)
    whole = path.stat().st_size
    manifest.append(path, second)
    os.truncate(path, whole + (left if left >= 0 else whole - 1))
    manifest.append(path, third)
    history = manifest.read([path])
    kept = (first, second, third) if left < 0 else (first, third)  # only its end was cut off
    assert list(history.made.values()) == [[one] for one in kept]
    assert history.damaged == (left > 0)


def test_line_is_written_at_once_and_reaches_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    manifest.append(path, record(path.parent))
    assert synced == [path.stat().st_size]


def test_full_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="There is no space left for '.*dequant.jsonl'"):
        manifest.append(path, record(path.parent))


def test_a_line_for_which_the_space_did_not_suffice(path: Path) -> None:
    """It counts as a full disk, and the next line is not lost with it."""
    manifest.append(path, record(path.parent))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))  # a write ends there
    try:
        with pytest.raises(InputError, match="There is no space left for '.*dequant.jsonl'"):
            manifest.append(path, record(path.parent))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    manifest.append(path, record(path.parent))
    history = manifest.read([path])
    assert history.damaged == 1
    assert len(history.made[str(path.parent / "a.png")]) == 2


def test_shards_have_manifests_of_their_own(path: Path) -> None:
    assert manifest.sharded(path, 3, 16).name == "dequant.3-of-16.jsonl"
    assert manifest.with_shards(path) == []
    for number in (1, 2):
        manifest.append(manifest.sharded(path, number, 2), record(path.parent, f"{number}.png"))
    found = manifest.with_shards(path)
    assert len(found) == 2 and len(manifest.read(found).made) == 2
    (path.parent / "sub").mkdir()
    assert set(manifest.above(path.parent / "sub")) == set(found)


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0", b"a,b\n1,2\n", b"[" * 100_000, b"{}", b'{"inputs": 1}'])
def test_what_is_no_manifest(content: bytes, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a manifest of dequant"):
        manifest.read([path])
    assert manifest.read([], [path, path.parent]) == History({}, set(), 0)


def test_what_cannot_be_read(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be read"):
        manifest.read([path])


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"inp', b'{"input": "a.png", "err'])
def test_beginning_of_a_manifest(content: bytes, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert manifest.read([path]).made == {}


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "swap", "insert", "repeat"]), st.integers(0, 2**30), st.binary(max_size=4)
    ),
    min_size=1,
    max_size=4,
)


def mutated(content: bytes, mutations: list[tuple[str, int, bytes]]) -> bytes:
    for kind, where, what in mutations:
        i = where % max(len(content), 1)
        j = (where * 7919) % max(len(content), 1)
        if kind == "flip" and content:
            content = content[:i] + bytes([content[i] ^ (1 << where % 8)]) + content[i + 1 :]
        elif kind == "cut":
            content = content[: min(i, j)] + content[max(i, j) :]
        elif kind == "swap":
            content = content[i : i + 64] + content[:i] + content[i + 64 :]
        elif kind == "insert":
            content = content[:i] + what + content[i:]
        else:
            content = content[:i] + content[min(i, j) : max(i, j)] + content[i:]
    return content


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Terms, Job, bytes]:
    """A job that is done, with its manifest."""
    folder = tmp_path_factory.mktemp("done")
    source, path = folder / "a.jpg", folder / manifest.NAME
    source.write_text("content")
    job, terms = Job(Source(source), (folder / "a.txt",)), Terms(Copy(), "recipe")
    outcome = carry_out(terms, job)
    manifest.append(path, outcome.record)
    publish(outcome)
    return terms, job, path.read_bytes()


STALE = st.sampled_from(["input", "recipe", "seed", "output", "nothing"])


@given(mutations=MUTATIONS, stale=STALE)
@settings(SAME, max_examples=100)
def test_mutated_manifest_never_skips_wrongly(
    mutations: list[tuple[str, int, bytes]], stale: str, done: tuple[Terms, Job, bytes]
) -> None:
    """Whatever is in the manifest, only a file that is done is skipped."""
    terms, job, content = done
    (source, output), path = (job.source.path, job.outputs[0]), job.outputs[0].with_name(manifest.NAME)
    path.write_bytes(mutated(content, mutations))
    try:
        known = manifest.read([path]).made.get(str(output), [])
    except InputError as error:
        assert "\n" not in str(error)
        return
    terms = terms._replace(recipe_sha256="other" if stale == "recipe" else "recipe", seed=int(stale == "seed"))
    changed = {"input": source, "output": output}.get(stale)
    before = b"" if changed is None else changed.read_bytes()
    if changed is not None:
        changed.write_text("changed")
    status = carry_out(terms._replace(dry_run=True, overwrite=True), job._replace(known=tuple(known))).status
    if changed is not None:
        changed.write_bytes(before)
    assert status in (("skipped", "planned") if stale == "nothing" else ("planned",))


def test_manifest_that_is_whole_skips(done: tuple[Terms, Job, bytes]) -> None:
    terms, job, content = done
    path = job.outputs[0].with_name(manifest.NAME)
    path.write_bytes(content)
    known = tuple(manifest.read([path]).made[str(job.outputs[0])])
    assert carry_out(terms, job._replace(known=known)).status == "skipped"


FIELDS = ["input_sha256", "recipe_sha256", "seed", "outputs", "error"]


@given(field=st.sampled_from(FIELDS), value=st.one_of(st.none(), st.text(), st.integers(), st.lists(st.text())))
@SAME
def test_fields_cannot_be_forged_by_chance(field: str, value: object, done: tuple[Terms, Job, bytes]) -> None:
    _, job, content = done
    path, fields = job.outputs[0].with_name(manifest.NAME), json.loads(content)
    path.write_text(json.dumps(fields | {field: value}))
    assert bool(manifest.read([path]).made) == (fields[field] == value)
