"""The thumbnail service, as programs and people with a browser have it, and as somebody who means it harm."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import pytest
from PIL import Image

from tests.support.applications import ROOT, served
from tests.web.browser.conftest import Chromium, chromium

BAD_DECODER: Final = """
# Imported by each interpreter as it starts: there is no picture known that does this to Pillow.
import os, signal
from PIL import Image

decode = Image.open

def open(file, **options):
    data = file.getvalue()
    if b"CRASH" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    while b"SPIN" in data:
        pass
    return decode(file, **options)

Image.open = open
"""

__all__ = ["chromium"]


class Service(NamedTuple):
    """One that runs: where, and in which process."""

    base: str
    pid: int

    def sent(self, data: bytes) -> dict[str, str]:
        """Where the job of a picture is to be looked at."""
        answer = httpx.post(f"{self.base}/pictures", content=data, timeout=30)
        assert answer.status_code == 202, answer.text
        addresses: dict[str, str] = answer.json()
        return addresses

    def ended(self, said: dict[str, str]) -> dict[str, Any]:
        """How that has come out."""
        answer = httpx.get(f"{self.base}{said['job']}/result", params={"wait": 30}, timeout=60)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def got(self, said: dict[str, str]) -> Image.Image:
        """Its thumbnail."""
        answer = httpx.get(f"{self.base}{said['thumbnail']}", timeout=30)
        assert answer.headers["content-type"] == "image/jpeg", answer.text
        return Image.open(io.BytesIO(answer.content))

    def gallery(self) -> list[str]:
        answer: list[str] = httpx.get(f"{self.base}/pictures", timeout=30).json()
        return answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Started as its page says, on a port and with pictures of its own."""
    folder = tmp_path_factory.mktemp("thumbnails")
    (folder / "sitecustomize.py").write_text(BAD_DECODER)
    paths = os.pathsep.join((str(folder), str(ROOT)))
    with served(
        lambda port: ["-m", "uvicorn", "docs.examples.thumbnails.app:app", "--port", str(port)],
        folder / "log",
        env={"PYTHONPATH": paths, "PICTURES": str(folder / "pictures")},
    ) as server:
        yield Service(*server)
    said = (folder / "log").read_text()
    assert "Application shutdown complete" in said
    assert "Exception in ASGI application" not in said
    assert [*(folder / "pictures").glob("*.half")] == []


def photo(width: int, height: int, format: str = "JPEG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), (200, 80, 40)).save(data, format)
    return data.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A few bytes that say they are so many pixels."""
    small = photo(1, 1, "PNG")
    header = small[12:16] + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


@pytest.mark.parametrize(
    ("width", "height", "format", "made"),
    [(1200, 800, "JPEG", (240, 160)), (300, 900, "PNG", (80, 240)), (40, 20, "GIF", (40, 20))],
)
def test_a_picture_is_made_small_in_another_process(
    service: Service, width: int, height: int, format: str, made: tuple[int, int]
):
    said = service.sent(photo(width, height, format))
    result = service.ended(said)
    assert result["status"] == "completed", result
    assert (result["state"]["width"], result["state"]["height"]) == made
    assert result["state"]["process"] not in (0, service.pid)
    thumbnail = service.got(said)
    assert (thumbnail.size, thumbnail.format) == (made, "JPEG")
    assert service.gallery()[0] == said["thumbnail"]


def test_a_sample_is_drawn_and_its_progress_is_told(service: Service):
    said = httpx.post(f"{service.base}/samples", timeout=30).json()
    with httpx.stream("GET", f"{service.base}{said['job']}/events", timeout=60) as stream:
        lines = [*stream.iter_lines()]
    assert "event: job:progress" in lines
    assert "event: result" in lines
    assert service.got(said).size == (240, 160)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "NO_PICTURE"),
        (b"<svg onload='alert(1)'/>", "NO_PICTURE"),
        (photo(900, 900)[:-400], "NO_PICTURE"),
        (bomb(5_000, 5_000), "TOO_MANY_PIXELS"),
        (bomb(60_000, 60_000), "TOO_MANY_PIXELS"),
    ],
    ids=["nothing", "another format", "half of one", "a bomb", "a large bomb"],
)
def test_what_is_no_picture_or_too_large_gets_one_clear_error(service: Service, data: bytes, code: str):
    said = service.sent(data)
    result = service.ended(said)
    assert (result["status"], result["error"]["code"]) == ("failed", code)
    assert ("24 million pixels" if code == "TOO_MANY_PIXELS" else "no JPEG") in result["error"]["message"]
    assert httpx.get(f"{service.base}{said['thumbnail']}", timeout=30).status_code == 404


def test_a_picture_that_breaks_the_decoder_or_takes_for_ever_fails_alone(service: Service):
    spins, crashes = service.sent(b"SPIN"), service.sent(b"CRASH")
    well = service.sent(photo(480, 480))
    assert service.ended(crashes)["error"]["code"] == "PROCESS_CRASHED"
    assert service.ended(well)["status"] == "completed"
    assert service.ended(spins)["error"]["code"] == "PROCESSOR_TIMEOUT"
    assert service.got(well).size == (240, 240)


def test_an_upload_that_is_too_large_is_refused_and_kept_nowhere(service: Service):
    answer = httpx.post(f"{service.base}/pictures", content=bytes(8 * 1024 * 1024 + 1), timeout=30)
    assert (answer.status_code, answer.json()["detail"]) == (413, "a picture may have 8 MiB at most")


@pytest.mark.parametrize("name", ["x", "..%2f..%2fetc", "0" * 32, "0" * 5000])
def test_what_is_no_thumbnail_is_not_served(service: Service, name: str):
    assert httpx.get(f"{service.base}/pictures/{name}.jpg", timeout=30).status_code in (404, 422)


def test_nobody_submits_or_cancels_a_job_of_another_one(service: Service):
    said = service.sent(photo(10, 10))
    state = {"state": {"name": "../../etc/passwd"}}
    submitted = httpx.post(f"{service.base}/jobs/thumbnails.shrink", json=state, timeout=30)
    cancelled = httpx.delete(f"{service.base}{said['job']}", timeout=30)
    assert (submitted.status_code, cancelled.status_code) == (403, 404)


def test_pictures_are_sent_and_looked_at_in_a_browser(service: Service, chromium: Chromium):
    def look(page: Any) -> None:
        page.goto(service.base)
        page.get_by_label("Pictures").set_input_files(
            [
                {"name": "kite.jpg", "mimeType": "image/jpeg", "buffer": photo(600, 300)},
                {"name": "<b>note.txt", "mimeType": "text/plain", "buffer": b"hello"},
            ]
        )
        page.get_by_text("kite.jpg: 240 x 120, by process").wait_for()
        page.get_by_text("<b>note.txt: that is no JPEG").wait_for()
        page.get_by_role("button", name="Draw one").click()
        page.get_by_text("drawn: 240 x 160").wait_for()
        page.reload()
        page.locator("#gallery img").nth(1).wait_for()

    chromium.run(look, complains=True)
