"""ICC profiles: those of RGB from their primaries, and small ones of grey and of ink, byte by byte."""

import struct

import imagecodecs
import numpy as np

D50 = (63190, 65536, 54061)
"""The white of ICC in 1/65536."""

ADOBE_RGB = imagecodecs.cms_profile("adobergb")

PRIMARIES = {
    "Display P3": ((0.3127, 0.3290), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060), 2.2),
    "ProPhoto": ((0.3457, 0.3585), (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), 1.8),
}
"""White, red, green, blue and exponent."""


def rgb_profile(name: str) -> bytes:
    """A profile of `PRIMARIES`, or "Adobe RGB"."""
    if name == "Adobe RGB":
        return ADOBE_RGB
    white, *colors, gamma = PRIMARIES[name]
    xyy = [number for x, y in colors for number in (x, y, 1)]
    return imagecodecs.cms_profile("rgb", whitepoint=[*white, 1], primaries=xyy, gamma=gamma)


def grey_profile(gamma: float) -> bytes:
    """Of greys with an exponent."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    return _profile("mntr", "GRAY", "XYZ ", "Grey", {"kTRC": curve})


def ink_profile() -> bytes:
    """Of CMYK, for reading: the product of what each ink lets through, over the 16 corners of its cube."""
    corners = np.array(list(np.ndindex(2, 2, 2, 2)))
    light = 100 * (1 - corners[:, 3]) * (1 - corners[:, :3] @ (0.3, 0.5, 0.1))
    a, b = -40 * corners[:, 0] + 70 * corners[:, 1], -40 * corners[:, 0] + 80 * corners[:, 2]
    lab = np.stack((light * 2.55, *(128 + one * (1 - corners[:, 3]) for one in (a, b))), axis=-1)
    ramp, one = bytes(range(256)), struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table = (
        b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + one + ramp * 4 + lab.clip(0, 255).astype(np.uint8).tobytes() + ramp * 3
    )
    return _profile("prtr", "CMYK", "Lab ", "Ink", {"A2B0": table, "A2B1": table})


def _profile(device: str, space: str, connection: str, name: str, tables: dict[str, bytes]) -> bytes:
    """An ICC profile, version 2: header, and tags of description, white and what converts."""
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + b"\0" + bytes(79)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", *D50)
    parts, tags, body = {"desc": text, "wtpt": white} | tables, b"", b""
    for tag, data in parts.items():
        tags += tag.encode() + struct.pack(">II", 132 + 12 * len(parts) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    names = (device.encode(), space.encode(), connection.encode())
    header = struct.pack(">I4sI4s4s4s", 132 + len(tags) + len(body), b"\0\0\0\0", 0x02100000, *names)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", *D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(parts)) + tags + body
