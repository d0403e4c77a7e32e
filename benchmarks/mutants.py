"""How many changes to the code the tests notice: the mutation score of a room.

    pip install cosmic-ray==8.7.0
    python -m benchmarks.mutants color [--sample 150] [--seed 0] [--log FILE] [--csv FILE]

A mutant is a module with one operator, comparison, constant or condition changed by Cosmic Ray. A place and a kind of
change give one mutant, with a replacement by chance, and a sample of a room's mutants is tried. Arithmetic stays
arithmetic. Annotations, error messages, `strict` of zip and decorators that only make the code faster are left alone.

The fast tests run once with coverage. A mutant meets those that execute its line, or that reach or import its module if
the line runs at import or in a decorated function: the fastest first, for 8 seconds, in a fork with all libraries.
Numba compiles a mutated module anew. A mutant is killed by a test that fails; it times out after four times what its
tests take and 20 seconds, or a minute with Numba. Those in equivalent_mutants.csv, with the reason, do not count.

    score   (killed + timed_out) / (mutants - equivalent)
    lines   share of the room's lines that the tests execute, compiled functions among those that they do not
"""

import ast
import gc
import hashlib
import importlib
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import hypothesis
import numba
import parso
import pytest
import torch
import typer
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import Coverage

from dequant.errors import InputError, one_sentence
from dequant.io.files import read_csv, write_csv
from dequant.provenance import ROOT, check_clean, provenance

FIGURES = ("mutants", "killed", "timed_out", "survived", "equivalent", "score", "lines", "seed")
COLUMNS = ("room", *FIGURES, "command", "commit", "hardware", "torch", "date")
TESTS = {"color": ("color", "edit/test_lut.py"), "condition": ("condition",), "diffusion": ("diffusion",)}
MOST = 8  # seconds of tests that a mutant meets
ARITHMETIC, BITS = "(_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow))", "(_(BitOr|BitAnd|BitXor))"
OPERATORS = rf"core/(?!Variable|ReplaceBinary).*|.*Binary.*({ARITHMETIC}{{2}}|{BITS}{{2}}|_[RL]Shift_[RL]Shift)"
"""What stays arithmetic, or logic, or a shift. Variables are not replaced."""
FASTER = ("_compiled", "cache", "cached_property")


class Mutant(NamedTuple):
    """A file of which one operator of Cosmic Ray changes one occurrence, and the first line that differs."""

    path: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str = ""


class Reach(NamedTuple):
    """Seconds by test, tests by file and line, share of the lines that are executed, and modules of libraries."""

    seconds: dict[str, float]
    tests: dict[str, dict[str, list[str]]]
    lines: float
    libraries: list[str]


class Tests:
    """A plugin of pytest: runs some tests in an order and ends with the first that fails, or notes what all reach."""

    def __init__(self, order: Sequence[str] = (), coverage: Coverage | None = None):
        self.place, self.coverage = {test: index for index, test in enumerate(order)}, coverage
        self.seconds = dict[str, float]()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the others."""
        if self.place:
            items[:] = sorted((one for one in items if one.nodeid in self.place), key=lambda it: self.place[it.nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Attribute lines to this test from here."""
        if self.coverage is not None:
            self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the phases; leave at once where one failed."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            os._exit(1)


class Mutated(SourceFileLoader):
    """Find and load a module from other source, and let Numba compile it anew."""

    def __init__(self, path: str, source: str):
        super().__init__(path.removesuffix(".py").replace("/", "."), str(ROOT / path))
        self.source = source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Leave others to others."""
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> Any:
        """Compile without a cache."""
        return compile(self.source, self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        """Keep compiled functions in an empty folder."""
        with tempfile.TemporaryDirectory() as folder:
            numba.config.CACHE_DIR, before = folder, numba.config.CACHE_DIR
            super().exec_module(module)
            numba.config.CACHE_DIR = before


def modules(room: str) -> list[str]:
    """Paths of a room's modules."""
    return [f"dequant/{room}/{one.name}" for one in sorted((ROOT / "dequant" / room).glob("[a-z]*.py"))]


def spared(source: str) -> Iterator[tuple[Any, Any]]:
    """Ranges of (line, column) in which nothing changes."""
    for node in ast.walk(ast.parse(source)):
        parts: list[Any] = [node.annotation] if isinstance(node, ast.arg | ast.AnnAssign) else []
        if isinstance(node, ast.Raise | ast.Assert) or getattr(node, "arg", None) == "strict":
            parts = [node]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            parts = [node.test]
        elif isinstance(node, ast.FunctionDef):
            parts = [one for one in node.decorator_list if ast.unparse(one) in FASTER] + [node.returns]
            parts += [node] * (node.name == "_compiled")
        for part in filter(None, parts):
            yield (part.lineno, part.col_offset - 1), (part.end_lineno, part.end_col_offset)


def mutants(path: str, seed: int) -> dict[str, Mutant]:
    """One mutant for each place and kind of change, by a key that changes elsewhere do not alter."""
    source = (ROOT / path).read_text()
    lines, ranges, nodes = source.splitlines(), list(spared(source)), [parso.parse(source)]
    operators = {name: get_operator(name)() for name in operator_names() if re.fullmatch(OPERATORS, name)}
    counts, repeated, found = dict.fromkeys(operators, 0), dict[str, int](), dict[str, Mutant]()
    while nodes:
        node: Any = nodes.pop()
        nodes.extend(reversed(getattr(node, "children", [])))
        places = dict[tuple[str, Any], list[tuple[str, int]]]()
        for name, operator in operators.items():
            for start, _ in operator.mutation_positions(node):
                if not any(first <= start < last for first, last in ranges):
                    places.setdefault((name.split("/")[1].split("_")[0], start), []).append((name, counts[name]))
                counts[name] += 1
        for (kind, (line, column)), choices in places.items():
            text = f"{seed} {path} {lines[line - 1]} {column} {kind}"
            repeated[text] = repeated.get(text, 0) + 1
            key = hashlib.sha256(f"{text} {repeated[text]}".encode()).hexdigest()
            found[key] = Mutant(path, line, *random.Random(key).choice(sorted(choices)), lines[line - 1].strip())
    return found


def fork(work: Callable[[], int], limit: float) -> int | None:
    """The exit status of work in a process of its own, 99 if it raises, None if it takes longer than a limit."""
    child = os.fork()
    if child == 0:
        os.setsid()
        for stream in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        status = 99
        with suppress(BaseException):
            status = work()
        os._exit(status)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run(tests: Sequence[str], plugin: Tests, folder: str) -> int:
    """The exit status of pytest with the package imported anew, and without the search for smallest examples."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("dequant", "tests")]:
        del sys.modules[name]
    profile, phases = hypothesis.settings.register_profile, [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    quick = staticmethod(lambda *args, **settings: profile(*args, phases=phases, **settings))
    type.__setattr__(hypothesis.settings, "register_profile", quick)  # otherwise read-only
    options = ["-x", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    return int(pytest.main([*tests, *options, "-m", "not slow", f"--basetemp={folder}/tests"], plugins=[plugin]))


def collect(room: str, folder: str) -> int:
    """Run the tests with coverage and write what they reach."""
    measured = Coverage(data_file=None, source=[f"{ROOT}/dequant/{room}"])
    recorder = Tests(coverage=measured)
    measured.start()
    status = run([f"tests/{one}" for one in TESTS[room]], recorder, folder)
    measured.stop()
    tests, data = dict[str, dict[str, list[str]]](), measured.get_data()
    for path in modules(room):
        by_line = data.contexts_by_lineno(str(ROOT / path))
        tests[path] = {str(line): [one for one in found if one] for line, found in by_line.items()}
    libraries = [name for name in sys.modules if name.split(".")[0] not in ("dequant", "tests", "benchmarks")]
    reach = Reach(recorder.seconds, tests, measured.report(file=io.StringIO()) / 100, libraries)
    (Path(folder) / "reach.json").write_text(json.dumps(reach._asdict()))
    return status


def tests_of(mutant: Mutant, reach: Reach) -> list[str]:
    """Tests that execute the statement of a mutant, or its module, the fastest first."""
    by_line, lines, decorated = reach.tests[mutant.path], range(mutant.line, mutant.line + 1), False
    for node in ast.walk(ast.parse((ROOT / mutant.path).read_text())):  # from the outside in
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            if not body or mutant.line < body[0].lineno:
                lines = range(node.lineno, body[0].lineno if body else (node.end_lineno or 0) + 1)
            decorated |= isinstance(node, ast.FunctionDef) and bool(node.decorator_list)
    reached = [by_line[str(line)] for line in lines if str(line) in by_line]
    found = {test for tests in reached for test in tests}
    if decorated or (reached and not found):
        stem = Path(mutant.path).stem
        names = re.compile(rf"import .*\b{stem}\b|\b{stem} import")
        found = {test for tests in by_line.values() for test in tests}
        found |= {test for test in reach.seconds if names.search((ROOT / test.split("::")[0]).read_text())}
    tests = sorted(found, key=lambda test: reach.seconds[test])
    total = accumulate(reach.seconds[test] for test in tests)
    return [test for test, seconds in zip(tests, total, strict=True) if seconds <= MOST]


def outcome(mutant: Mutant, source: str, reach: Reach, folder: str) -> str:
    """Killed, timed out or survived."""
    tests = tests_of(mutant, reach)

    def work() -> int:
        sys.meta_path.insert(0, Mutated(mutant.path, source))
        return run(sorted({one.split("::")[0] for one in tests}), Tests(tests), folder)

    limit = 20 + 40 * ("numba" in source) + 4 * sum(reach.seconds[test] for test in tests)
    status = fork(work, limit) if tests else 0
    if status is not None and status >= 5:
        raise InputError(f"The tests of {mutant.path}:{mutant.line} could not be run (status {status}).")
    return "timed_out" if status is None else "killed" if status else "survived"


def tried(room: str, sample: int, seed: int, log: Path) -> dict[str, str]:
    """The figures of a sample of mutants."""
    found = {key: mutant for path in modules(room) for key, mutant in mutants(path, seed).items()}
    listed = ROOT / "benchmarks" / "equivalent_mutants.csv"
    known = {tuple(row.values())[:3]: "equivalent" for row in read_csv(listed, ("path", "before", "after", "why"))}
    for line in log.read_text().splitlines() if log.exists() else []:
        path, _, _, _, *text, result = json.loads(line)
        known |= {(path, *text): result} if result in ("killed", "timed_out") else {}
    counts = dict.fromkeys(("killed", "timed_out", "survived", "equivalent"), 0)
    with tempfile.TemporaryDirectory() as folder:
        if status := fork(lambda: collect(room, folder), 1800):
            raise InputError(f"The tests of {room} fail without a mutant (status {status}): mend them first.")
        reach = Reach(**json.loads((Path(folder) / "reach.json").read_text()))
        for name in reach.libraries:
            with suppress(Exception):
                importlib.import_module(name)
        gc.freeze()
        path = next(path for path, by_line in reach.tests.items() if any(by_line.values()))
        if outcome(Mutant(path, 1, "", 0, ""), (ROOT / path).read_text(), reach, folder) != "survived":
            raise InputError(f"{path} does not survive its tests without a change: mend the measurement first.")
        for key in sorted(found)[:sample]:
            original = (ROOT / found[key].path).read_text()
            source = mutate_code(original, get_operator(found[key].operator)(), found[key].occurrence)
            pairs = zip(original.splitlines(), source.splitlines(), strict=False)
            mutant = found[key]._replace(after=next((new.strip() for old, new in pairs if old != new), ""))
            result = known.get((mutant.path, mutant.before, mutant.after)) or outcome(mutant, source, reach, folder)
            counts[result] += 1
            if result == "survived":
                print(f"{mutant.path}:{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)
            with log.open("a") as file:
                file.write(json.dumps([*mutant, result]) + "\n")
    score = 1 - counts["survived"] / (sum(counts.values()) - counts["equivalent"])
    row = {"room": room, "mutants": str(sum(counts.values())), **{name: str(count) for name, count in counts.items()}}
    return row | {"score": f"{score:.3f}", "lines": f"{reach.lines:.3f}", "seed": str(seed)}


@one_sentence()
def main(
    room: Annotated[str, typer.Argument(help=f"One of {', '.join(TESTS)}.")],
    sample: Annotated[int, typer.Option(help="At most so many mutants.")] = 150,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    log: Annotated[Path, typer.Option(help="Gets all; what is killed in it is not tried again.")] = Path(os.devnull),
    csv: Annotated[Path | None, typer.Option(help="Table whose row is replaced.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Measure the mutation score of a room."""
    check_clean(csv, allow_dirty)
    if room not in TESTS:
        raise InputError(f"There is no room '{room}': choose one of {', '.join(TESTS)}.")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    row = tried(room, sample, seed, log)
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    if csv is not None:
        kept = [one for one in read_csv(csv, COLUMNS) if one["room"] != room]
        write_csv(csv, COLUMNS, [*kept, row | provenance(torch.device("cpu"))])


if __name__ == "__main__":
    typer.run(main)
