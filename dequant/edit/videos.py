"""Video files through PyAV: frames out, and new pictures in with the timing, the turn and the sound of the old ones."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dequant.errors import InputError
from dequant.io.files import whole_path

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
"""Of codecs that are not encoded under their own name."""


CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes of files that keep the time of each frame."""


SHORT = 0.95
"""Share of the duration that a file states, below which it counts as cut off."""


QUALITY = {"libx264": "16", "libx265": "18", "libvpx": "16", "libvpx-vp9": "20", "libsvtav1": "20"}
"""Constant rate factors at which a loss is hard to see."""


HDR = {16: "PQ", 18: "HLG"}
"""Transfer curves of high dynamic range, which 8 bits of sRGB do not hold."""


BT709, BT601, UNSPECIFIED, HD, LIMITED = 1, 5, 2, 720, 1
"""Numbers of matrices, the height from which a video that names none has BT.709, and the number of the usual range."""


class Written(NamedTuple):
    """Of a new video: how many frames it has, and notes on the source."""

    frames: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Video:
    """A video file that can be read as often as needed: its frames are (H, W, 3) uint8, as they are stored."""

    path: Path

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Decode all frames.

        Raises:
            InputError: PyAV is missing, the file is no video or damaged, or of high dynamic range.
        """
        with _opened(self.path) as container, _whole(self.path):
            for frame in container.decode(container.streams.video[0]):
                yield _rgb(frame, self.path)

    def rewritten(self, path: Path, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Written:
        """Write the video with other pictures, whole or not at all.

        Times of frames, size, shape of pixels, turn, tags and the sound are kept; sound is copied, not recoded. The
        codec is the source's where it can be encoded, else H.264; colours are tagged BT.709.

        Args:
            path: of the new file; its suffix chooses the container.
            change: of a frame (H, W, 3) to another of the same size.

        Returns:
            The number of frames, and notes where the source ends before its time, or frames of it are damaged.

        Raises:
            InputError: as in reading, there is no frame, or the container cannot hold the video or its sound.
        """
        check_suffix(path)
        with _opened(self.path) as container, _whole(self.path):
            first = next(container.decode(container.streams.video[0]), None)
        if first is None:
            raise InputError(f"'{self.path}' has no frames: give a video with one at least.")
        with _opened(self.path) as source, whole_path(path) as partial, _written(partial, path) as result:
            return _rewrite(source, result, first, self.path, change)


def check_library() -> None:
    """Refuse to go on without PyAV.

    Raises:
        InputError: it is missing.
    """
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        raise InputError("Video files need PyAV: pip install 'dequant[video]', or give a folder of frames.") from None


def check_suffix(path: Path) -> None:
    """Refuse a name in whose container times of frames are lost, or nothing is written.

    Raises:
        InputError: it has such a suffix.
    """
    if path.suffix.lower() not in CONTAINERS:
        raise InputError(f"The result '{path}' of a video must be a file that ends in {', '.join(CONTAINERS)}.")


@contextmanager
def _opened(path: Path) -> "Iterator[av.container.InputContainer]":
    check_library()
    import av

    if not path.is_file():
        raise InputError(f"There is no video '{path}': give a video file, or a folder of frames.")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, ValueError):
        raise InputError(f"'{path}' is no video that can be read: give a video file, or a folder of frames.") from None
    with container:
        if not container.streams.video:
            raise InputError(f"'{path}' has no pictures: give a video file, or a folder of frames.")
        container.streams.video[0].thread_type = "AUTO"
        yield container


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Say of damage that it is one of the source."""
    import av

    try:
        yield
    except (av.error.InvalidDataError, av.error.EOFError):
        raise InputError(f"'{path}' is damaged: repair it, or give a folder of its frames.") from None


def _rgb(frame: "VideoFrame", path: Path) -> NDArray[np.uint8]:
    if frame.color_trc in HDR:
        raise InputError(f"'{path}' is of high dynamic range ({HDR[frame.color_trc]}): convert it to BT.709 first.")
    matrix = frame.colorspace
    if matrix == UNSPECIFIED:
        matrix = BT709 if frame.height >= HD else BT601
    return np.asarray(frame.to_ndarray(format="rgb24", src_colorspace=matrix), np.uint8)


@contextmanager
def _written(partial: Path, path: Path) -> "Iterator[av.container.OutputContainer]":
    """A container to write, and a sentence for what it does not hold."""
    import av

    try:
        with av.open(str(partial), "w") as result:
            yield result
    except av.error.FFmpegError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror) from None
        raise InputError(f"'{path}' cannot be written ({error.strerror}): give a name that ends in .mkv.") from None


def _rewrite(
    source: Any, result: Any, first: "VideoFrame", path: Path, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> Written:
    """Copy and encode, in the order of the packets."""
    pictures, sounds = source.streams.video[0], source.streams.audio
    result.metadata.update(source.metadata)
    stream = _like(result, pictures, first)
    copies = {one.index: _copied(one, result) for one in sounds}
    count, damaged, end = 0, 0, 0.0
    for packet in source.demux(pictures, *sounds):
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index in copies:
            if packet.dts is not None:  # the last one of a stream is empty
                packet.stream = copies[packet.stream.index]
                result.mux(packet)
            continue
        with _whole(path):
            frames = packet.decode()
        for frame in frames:
            result.mux(stream.encode(_encodable(change(_rgb(frame, path)), frame, stream, path)))
            count, damaged = count + 1, damaged + frame.is_corrupt
    result.mux(stream.encode(None))
    stated = (source.duration or 0) / 1e6
    found = end - (source.start_time or 0) / 1e6
    notes = {
        f"it ends after {found:.2f} of {stated:.2f} seconds: perhaps it was cut off": found < SHORT * stated,
        f"damaged frames: {damaged} of {count}": damaged > 0,
    }
    return Written(count, tuple(note for note, holds in notes.items() if holds))


def _copied(sound: Any, result: Any) -> Any:
    """A stream of a new file for the packets of a sound.

    Raises:
        InputError: the container does not hold it.
    """
    name = sound.codec_context.name
    try:
        stream = result.add_stream_from_template(sound)
    except ValueError:
        raise InputError(f"A {result.format.name} file does not hold sound of {name}: give a .mkv as result.") from None
    stream.metadata.update(sound.metadata)
    return stream


def _like(result: Any, pictures: Any, first: "VideoFrame") -> Any:
    """A stream for pictures such as those of another one."""
    codec = _encoder(pictures.codec_context.name, result)
    options = {"crf": QUALITY[codec]} if codec in QUALITY else {}
    stream = result.add_stream(codec, rate=pictures.average_rate or pictures.guessed_rate, options=options)
    context = stream.codec_context
    stream.width, stream.height = first.width, first.height
    formats = [one.name for one in context.codec.video_formats or ()]
    halved = first.width % 2 == first.height % 2 == 0 and "444" not in first.format.name
    wanted = "yuv420p" if halved else "yuv444p"
    stream.pix_fmt = wanted if wanted in formats or not formats else formats[0]
    if pictures.sample_aspect_ratio:
        context.sample_aspect_ratio = pictures.sample_aspect_ratio
    context.time_base = stream.time_base = pictures.time_base
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED
    if first.rotation:
        stream.set_display_rotation(first.rotation)
    stream.metadata.update(pictures.metadata)
    return stream


def _encoder(codec: str, result: Any) -> str:
    """The encoder of a codec where there is one that the container holds, else that of H.264, else its usual one."""
    import av

    held = result.supported_codecs
    for one in (codec, "h264", result.default_video_codec):
        name = ENCODERS.get(one, one)
        if one in held and name in av.codecs_available:
            try:
                av.Codec(name, "w")
            except ValueError:  # it is only decoded
                continue
            return name
    raise InputError(f"PyAV writes no pictures into a {result.format.name} file: give a .mkv as result.")


def _encodable(picture: NDArray[np.uint8], frame: "VideoFrame", stream: Any, path: Path) -> "VideoFrame":
    import av

    if (frame.width, frame.height) != (stream.width, stream.height):
        raise InputError(f"'{path}' changes its size on the way: give a folder of its frames.")
    new = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    new = new.reformat(format=stream.pix_fmt, dst_colorspace=BT709, dst_color_range=LIMITED)
    new.colorspace = new.color_primaries = new.color_trc = BT709
    new.color_range = LIMITED
    new.pts, new.time_base = frame.pts, frame.time_base
    if frame.duration:
        new.duration = frame.duration
    return new
