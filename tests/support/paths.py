"""Where the repository's files lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
GOLDEN = ROOT / "tests" / "golden"
CASES = ROOT / "tests" / "cases"
