"""What the thumbnail service does: processors that run in processes of their own.

The pictures lie in a folder that all of them see, and a job is told the name of one. It is a stranger's: its
size is looked at before it is decoded, and decoding it may crash, or take for ever. That ends its job and the
process that had it, and nothing else.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Final

import msgspec
from PIL import Image, ImageDraw, ImageOps

from am2z_trio import BusinessError, Context, QueueOptions, RetryPolicy, chain, processor

FOLDER: Final = Path(os.environ.get("PICTURES", "pictures"))
"""The processes have the node's environment, and its current folder."""

SIDE: Final = 240
"""Pixels that the longer side of a thumbnail has at most."""

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
MAX_PIXELS: Final = 24_000_000
MAX_WAITING: Final = 100
BOUNDED: Final = QueueOptions(max_size=MAX_WAITING)
"""With so many waiting no more are accepted."""

ONCE: Final = RetryPolicy(max_attempts=1)
"""What a picture has done to the decoder, it does again."""


class Picture(msgspec.Struct, kw_only=True):
    """What travels: the name of a picture, and what has become of it."""

    name: str
    width: int = 0
    height: int = 0
    process: int = 0
    """Which one has made the thumbnail."""

    @property
    def upload(self) -> Path:
        return FOLDER / f"{self.name}.upload"

    @property
    def thumbnail(self) -> Path:
        return FOLDER / f"{self.name}.jpg"


@processor(name="thumbnails.shrink", run_in="process", timeout=5, retry=ONCE, queue=BOUNDED)
def shrink(picture: Picture, ctx: Context) -> Picture:
    """Make the thumbnail of an upload. Takes nothing away: when its node dies, it is run again."""
    image = decoded(picture.upload.read_bytes())
    ctx.sync.update_progress(0.6)
    image.thumbnail((SIDE, SIDE))
    ctx.sync.update_progress(0.9)
    half = picture.thumbnail.with_suffix(".half")
    image.save(half, "JPEG", quality=85)
    half.replace(picture.thumbnail)
    picture.width, picture.height = image.size
    picture.process = os.getpid()
    return picture


def decoded(data: bytes) -> Image.Image:
    """The picture, upright. Refused where it is none, or too large: before its pixels take any memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BusinessError(
            f"the picture has more than {MAX_PIXELS // 10**6} million pixels", code="TOO_MANY_PIXELS"
        ) from None
    except Exception as error:
        # Whatever a decoder raises: it is the picture's fault.
        raise BusinessError(
            "that is no JPEG, PNG, WebP or GIF, or not all of it", code="NO_PICTURE"
        ) from error


@processor(name="thumbnails.draw", run_in="process", timeout=30, retry=ONCE)
def draw(picture: Picture, ctx: Context) -> Picture:
    """Draw a large picture, each another one, as if it had been uploaded."""
    hue = int(picture.name[:8], 16) % 256
    image = Image.new("HSV", (3000, 2000), (hue, 90, 250))
    pen = ImageDraw.Draw(image)
    for ring in range(40):
        ctx.check_cancelled()
        pen.ellipse(
            (40 * ring, 20 * ring, 3000 - 30 * ring, 2000 - 25 * ring), ((hue + 5 * ring) % 256, 150, 240)
        )
        ctx.sync.update_progress(ring / 80)
    image.convert("RGB").save(picture.upload, "JPEG")
    return picture


# One job: its steps have a process each in turn.
sample = chain("thumbnails.sample", [draw, shrink], inline=True, retry=ONCE, queue=BOUNDED)
