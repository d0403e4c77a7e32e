"""Sequences: one palette, one noise, and less flicker than frames that are edited each for itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dequant.edit.edits import transfer
from dequant.edit.frames import SAMPLES, Look, flicker, spread, transferred
from dequant.edit.painting import Settings
from dequant.edit.sources import Source
from dequant.edit.videos import Video
from dequant.errors import InputError
from dequant.io.originals import Original
from tests.support.videos import moving, told, write_video

COLORS = ["#102040", "#f0e0c0", "#806040", "#c05030", "#208060", "#a0c0e0"]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return moving(4, 48, 32)


def test_a_shared_palette_flickers_less_than_one_for_each_frame(frames: list[np.ndarray]) -> None:
    shared = flicker(transferred(frames, COLORS, 6), frames)
    alone = flicker([transfer(Original(frame), COLORS, 6).levels for frame in frames], frames)
    own = flicker(frames, frames)
    assert own < shared < 0.75 * alone, (own, shared, alone)


def test_flicker_is_that_of_brightness_and_not_of_motion() -> None:
    still = [np.roll(moving(1)[0], t, axis=1) for t in range(3)]
    brighter = [(frame * (0.8 + 0.1 * t)).astype(np.uint8) for t, frame in enumerate(still)]
    jumping = [frame if t % 2 else 255 - frame for t, frame in enumerate(still)]
    assert flicker([frame * 0 + 9 for frame in still], still) == 0
    assert flicker(still, still) < flicker(brighter, still) < flicker(jumping, still)


def test_each_frame_depends_on_the_look_alone_and_comes_out_the_same(frames: list[np.ndarray]) -> None:
    look = Look.of(frames, COLORS, 6)
    first, again = look.apply(frames[3]), Look.of(frames, COLORS, 6).apply(frames[3])
    assert (first == again).all() and first.dtype == np.uint8
    assert (list(transferred(frames, COLORS, 6))[3] == first).all()
    other = Look.of(frames, COLORS, 6, settings=Settings(seed=1)).apply(frames[3])
    assert (other != first).any()


def test_the_palette_is_of_all_frames_and_of_any_size() -> None:
    red, blue = (np.full((8, 12, 3), color, np.uint8) for color in ((200, 0, 0), (0, 0, 200)))
    look = Look.of([red, blue[:5]], ["#000000", "#ffffff"], 2)
    assert sorted((look.palette * 255).round().int().tolist()) == [[0, 0, 200], [200, 0, 0]]
    assert [pair["from"] for pair in look.as_json()["mapping"]] != [pair["to"] for pair in look.as_json()["mapping"]]


def test_plain_frames_are_painted_as_photos_are() -> None:
    """A title or a fade has few colours, as an indexed image has, which must not change how it is painted."""
    few = np.random.default_rng(0).integers(0, 2, (32, 32, 1), np.uint8).repeat(3, 2) * 250
    palette = torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.8, 0.7]])
    assert not Source.of(Original(few), None, Settings()).textured
    source = Source.in_palette(Original(few), palette, Settings())
    assert source.textured and (source.quantized.indices.numpy() == few[..., 0] // 250).all()


def test_swaps_are_the_same_in_all_frames(frames: list[np.ndarray]) -> None:
    swapped = list(transferred(frames, swaps={"#b04030": "#2040c0"}))
    alone = transfer(Original(frames[2]), swaps={"#b04030": "#2040c0"}).levels
    assert (swapped[2] == alone).all() and (swapped[2] != frames[2]).any()


def test_swaps_go_with_a_palette(frames: list[np.ndarray]) -> None:
    look = Look.of(frames, COLORS, 6, swaps={"#b04030": "#00ff00"})
    assert look.target is not None and (look.target == torch.tensor([0.0, 1.0, 0.0])).all(1).sum() == 1


def test_frames_of_16_bits_keep_them(frames: list[np.ndarray]) -> None:
    deep = [frame.astype(np.uint16) * 257 for frame in frames]
    assert next(iter(transferred(deep, COLORS, 6))).dtype == np.uint16


@pytest.mark.parametrize("count", [1, 2, SAMPLES, SAMPLES + 1, 100, 1000])
def test_samples_come_from_all_over_the_sequence(count: int) -> None:
    found = [int(frame[0, 0, 0]) for frame in spread(np.full((1, 1, 3), t, np.uint16) for t in range(count))]
    assert found[0] == 0 and len(found) <= SAMPLES and len(found) >= min(count, SAMPLES // 2)
    steps = set(np.diff(found).tolist())
    assert len(steps) <= 1 and count - 1 - found[-1] <= max(steps, default=0)


def test_frames_are_read_one_at_a_time(frames: list[np.ndarray]) -> None:
    class Reader:
        read = 0

        def __iter__(self) -> Iterator[np.ndarray]:
            for frame in frames:
                self.read += 1
                yield frame

    reader = Reader()
    made = transferred(reader, swaps={"#b04030": "#2040c0"})
    next(made)
    assert reader.read == len(frames) + 1


def test_wrong_arguments_are_refused(frames: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="Nothing is asked for"):
        transferred(frames)
    with pytest.raises(InputError, match="only once"):
        transferred(iter(frames), COLORS)
    with pytest.raises(InputError, match="no frame"):
        transferred([], COLORS)
    with pytest.raises(InputError, match="n_colors"):
        Look.of(frames, COLORS, 0)
    with pytest.raises(InputError, match="two frames"):
        flicker(frames[:1], frames[:1])


@pytest.mark.parametrize(
    ("name", "turn", "size", "codec"),
    [
        ("a.mp4", 90, (64, 48), "libx264"),
        ("a.mkv", 0, (64, 48), "libvpx-vp9"),
        ("a.mov", 180, (64, 48), "mpeg4"),
        ("odd.mkv", 0, (63, 47), "libx264"),
    ],
)
def test_a_video_keeps_sound_times_size_and_turn(
    name: str, turn: int, size: tuple[int, int], codec: str, tmp_path: Path
) -> None:
    source, result = tmp_path / name, tmp_path / f"new_{name}"
    write_video(source, turn, size, codec)
    assert Video(source).rewritten(result, lambda frame: 255 - frame).frames == 10
    before, after = told(source), told(result)
    assert after.frames == before.frames and len(after.frames) == 10
    assert {abs(turned) for _, turned in after.frames} == {turn}
    assert after.sound == before.sound and len(after.sound) > 20
    assert (after.codec, after.size, after.shape) == (before.codec, size, before.shape)
    assert after.colors[:3] == (1, 1, 1)
    for old, new in zip(Video(source), Video(result), strict=True):
        assert np.abs(255 - old.astype(int) - new).mean() < 5


def test_videos_that_cannot_be_read_or_written_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="does not hold sound of aac"):
        Video(tmp_path / "a.mp4").rewritten(tmp_path / "b.webm", np.copy)
    with pytest.raises(InputError, match="must be a file that ends in"):
        Video(tmp_path / "a.mp4").rewritten(tmp_path / "b.avi", np.copy)
    with pytest.raises(InputError, match="is no video"):
        list(Video(Path(__file__)))
    with pytest.raises(InputError, match="There is no video"):
        list(Video(tmp_path / "missing.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_was_cut_off_is_told(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv")
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    written = Video(tmp_path / "cut.mkv").rewritten(tmp_path / "b.mkv", np.copy)
    assert written.frames < 10 and "cut off" in written.notes[0]
