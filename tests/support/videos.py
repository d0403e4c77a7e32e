"""Small moving pictures, and what a video file holds."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.support.paths import GOLDEN

TIMES = (0, 1, 2, 3, 5, 6, 7, 8, 9, 12)
"""Of frames, in units of 1001/24000 seconds: not evenly spaced."""


class Told(NamedTuple):
    """What a video file holds: seconds and turn of each frame, its packets of sound, and numbers of its pictures."""

    frames: list[tuple[float, int]]
    sound: list[tuple[float, bytes]]
    codec: str
    size: tuple[int, int]
    colors: tuple[int, int, int, int]
    shape: Fraction | None


def moving(count: int = 6, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """A window that pans over a photo, while the light grows slowly."""
    size = (width + 2 * count, height + count)
    photo = np.asarray(Image.open(GOLDEN / "caps.png").convert("RGB").resize(size, Image.Resampling.BOX)).astype(float)
    parts = [photo[t : t + height, 2 * t : 2 * t + width] * (0.85 + 0.03 * t) for t in range(count)]
    return [part.clip(0, 255).round().astype(np.uint8) for part in parts]


def write_video(path: Path, turn: int = 0, size: tuple[int, int] = (64, 48), codec: str = "libx264") -> None:
    """Ten frames with half a second of a sine wave; pixels that are a third wider than high."""
    import av

    unit = Fraction(1001, 24000)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=1 / unit, options={"crf": "10"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 else "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        if turn:
            stream.set_display_rotation(turn)
        sound = file.add_stream("aac", rate=44100, layout="mono")
        for time, picture in zip(TIMES, moving(len(TIMES), *size), strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = time, unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(22050) / 44100)
        samples = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 44100, 0, Fraction(1, 44100)
        file.mux(sound.encode(samples))
        file.mux(sound.encode(None))


def told(path: Path) -> Told:
    """Read a video file."""
    import av

    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frames = [(float(frame.pts * frame.time_base), frame.rotation) for frame in file.decode(stream)]
        context = stream.codec_context
        colors = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        size, shape = (context.width, context.height), stream.sample_aspect_ratio
    with av.open(str(path)) as file:
        packets = file.demux(file.streams.audio) if file.streams.audio else []
        sound = [(float(one.pts * one.time_base), bytes(one)) for one in packets if one.pts is not None]
    return Told(frames, sound, context.name, size, colors, shape)
