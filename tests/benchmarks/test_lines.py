"""The shares of lines that the tests execute."""

from benchmarks.lines import by_room


def test_rows_are_rooms_and_the_last_is_all() -> None:
    files = {
        "dequant/io/files.py": {"summary": {"num_statements": 30, "covered_lines": 27}},
        "dequant/io/images.py": {"summary": {"num_statements": 10, "covered_lines": 9}},
        "dequant/errors.py": {"summary": {"num_statements": 20, "covered_lines": 5}},
        "dequant/io/__init__.py": {"summary": {"num_statements": 0, "covered_lines": 0}},
        "dequant/data/__init__.py": {"summary": {"num_statements": 0, "covered_lines": 0}},
    }
    assert [tuple(row.values()) for row in by_room(files)] == [
        ("errors", "20", "5", "0.250"),
        ("io", "40", "36", "0.900"),
        ("all", "60", "41", "0.683"),
    ]
