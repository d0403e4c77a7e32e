"""Where results go."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dequant.cli.outputs import FIELDS, check_distinct, check_new, destination, results, suffix_of
from dequant.cli.sources import Found, Source
from dequant.errors import InputError
from tests.support.paths import CASES


def found(*sources: Source, single: bool | None = None) -> Found:
    return Found(list(sources), Path("in"), len(sources) == 1 if single is None else single, [], {})  # type: ignore[arg-type]


PHOTO = Source(Path("in/sub/photo.jpg"), Path("sub"))
FIRST = Source(Path("in/first.png"))


def places(out: str | None, source: Source, count: int = 1, single: bool = True, suffix: str = "") -> list[str]:
    where = destination(out, found(source, single=single))
    return [path.as_posix() for path in results(source, where, "op", suffix, count)]


@pytest.mark.parametrize(
    ("out", "single", "expected"),
    [
        (None, True, "in/sub/photo.op.jpg"),
        (None, False, "in/sub/photo.op.jpg"),
        ("new.png", True, "new.png"),
        ("far/new.TIF", True, "far/new.TIF"),
        ("new/", True, "new/sub/photo.jpg"),
        ("there", True, "there/sub/photo.jpg"),
        ("new", False, "new/sub/photo.jpg"),
        ("new.v2", False, "new.v2/sub/photo.jpg"),
        ("there.png", False, "there.png/sub/photo.jpg"),
        ("{dir}/{op}/{name}", False, "in/sub/op/photo.jpg"),
        ("out/{tree}/{stem}-{op}{ext}", False, "out/sub/photo-op.jpg"),
        ("{stem}.webp", False, "photo.webp"),
        ("{{{stem}}}.webp", False, "{photo}.webp"),
        ("{there}", False, "{there}/sub/photo.jpg"),
    ],
)
def test_places(out: str | None, single: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("there", "there.png", "{there}"):
        (tmp_path / name).mkdir()
    assert places(out, PHOTO, single=single) == [expected]


@pytest.mark.parametrize(
    ("name", "ext"),
    [("a.JPG", ".JPG"), ("a.heic", ".png"), ("a.gif", ".png"), ("a", ".png"), ("a.b.tiff", ".tiff"), ("é.ppm", ".png")],
)
def test_suffix_is_one_that_can_be_written(name: str, ext: str) -> None:
    assert places("{ext}{ext}", Source(Path(name))) == [f"{ext}{ext}"]
    assert places(None, Source(Path(name))) == [f"{Path(name).stem}.op{ext}"]


def test_several_results_are_numbered() -> None:
    assert places(None, PHOTO, 3) == ["in/sub/photo.op.jpg", "in/sub/photo.op.2.jpg", "in/sub/photo.op.3.jpg"]
    assert places("a.b.png", PHOTO, 2) == ["a.b.png", "a.b.2.png"]


def test_operation_with_a_suffix_of_its_own() -> None:
    assert places(None, PHOTO, suffix=".cube") == ["in/sub/photo.op.cube"]
    with pytest.raises(InputError, match=r"'a.png' must end in .cube"):
        places("a.png", PHOTO, suffix=".cube")


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("", "is empty"),
        ("new", "'new' must end in .avif, .bmp, .*, or in / where it is a folder"),
        ("new.gif", "must end in"),
        ("{stem}", "must end in"),
        ("{path}.png", "cannot contain '{path}'"),
        ("{}.png", "cannot contain '{}'"),
        ("{0}.png", "cannot contain '{0}'"),
        ("{stem!r}.png", "cannot contain '{stem}' like this"),
        ("{stem:>{dir}}.png", "cannot contain '{stem}' like this"),
        ("{stem.__class__}.png", "cannot contain"),
        ("{stem[0]}.png", "cannot contain"),
        ("{stem.png", "is not a template"),
        ("stem}.png", "is not a template"),
    ],
)
def test_what_means_nothing(out: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        places(out, PHOTO)


def test_file_for_several(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("new.png", "file"):
        with pytest.raises(InputError, match="names a file, but several inputs need a folder"):
            places(str(tmp_path / name), PHOTO, single=False)


@given(st.text(alphabet="{}!:.[]/adirstemnop-0", max_size=20))
def test_templates_are_right_or_refused(out: str) -> None:
    try:
        (path,) = places(out, PHOTO)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert Path(path).suffix in (".jpg", ".png")


def test_folder_of_results() -> None:
    def folder(out: str | None) -> Path | None:
        return destination(out, found(PHOTO, FIRST)).folder

    assert folder("out/") == folder("out/{stem}.png") == folder("out/x{tree}/{name}") == Path("out")
    assert folder(None) is None and folder("{dir}/x/{name}") is None
    assert folder("{stem}.png") == folder("x{stem}.png") == Path()


def test_standard_output() -> None:
    piped = Source(Path("-"), data=(CASES / "photo.png").read_bytes())
    assert destination(None, found(piped)).stdout and destination("-", found(PHOTO)).stdout
    assert not destination("a.png", found(piped)).stdout
    assert places("out/", piped) == ["out/stdin.png"]
    with pytest.raises(InputError, match="takes one image"):
        destination("-", found(PHOTO, FIRST))


@pytest.mark.parametrize(
    ("format_", "suffix"), [("JPEG", ".jpg"), ("TIFF", ".tif"), ("WEBP", ".webp"), ("GIF", ".png"), ("PPM", ".png")]
)
def test_standard_input_keeps_its_format(format_: str, suffix: str, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x", format=format_)
    assert suffix_of((tmp_path / "x").read_bytes()) == suffix
    assert suffix_of(b"nothing") == ".png"


def distinct(*pairs: tuple[str, str]) -> None:
    check_distinct([Source(Path(source)) for source, _ in pairs], [[Path(output)] for _, output in pairs])


def test_results_are_distinct_and_no_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_text("")
    Path("link.png").symlink_to("a.png")
    distinct(("a.png", "b.png"), ("c.png", "d.png"))
    with pytest.raises(InputError, match="'a.png' and 'c.png' would have the same result 'x/../b.png'"):
        distinct(("a.png", "b.png"), ("c.png", "x/../b.png"))
    for own in ("a.png", "x/../a.png", "link.png", str(tmp_path / "a.png")):
        with pytest.raises(InputError, match="The result of 'a.png' would replace the source 'a.png'"):
            distinct(("a.png", own))
    with pytest.raises(InputError, match="The result of 'b.png' would replace the source 'a.png'"):
        distinct(("b.png", "a.png"), ("a.png", "c.png"))


def test_existing_results(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    check_new([paths])
    paths[1].symlink_to("nowhere")
    with pytest.raises(InputError, match="b' exists: add --resume to complete an earlier run, or --overwrite"):
        check_new([paths])
    paths[2].write_text("")
    with pytest.raises(InputError, match="b' exists, and 1 more result does:"):
        check_new([paths[:1], paths[1:]])


def test_help_names_every_field() -> None:
    from dequant.cli.options import Out

    (option,) = Out.__metadata__  # type: ignore[attr-defined]
    assert all(f"{{{field}}}" in option.help for field in FIELDS)
