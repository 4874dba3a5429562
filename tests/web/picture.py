"""Take the picture of the console that README and docs show: `python -m tests.web.picture [FILE] [PAGE]`.

It is what `am2z demo --web` shows, in Debian's Chromium.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
FILE = Path(__file__).parents[2] / "docs" / "images" / "console.png"
COMMAND = (sys.executable, "-m", "am2z_trio.cli", "demo", "--web", "--bind", "127.0.0.1:0")
PAGE = "/?range=15m"
SETTLES = 45_000
"""Milliseconds in which there is something to see."""


def main(file: Path = FILE, page: str = PAGE) -> None:
    """Take it."""
    with subprocess.Popen(COMMAND, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as demo:
        assert demo.stderr is not None
        (link,) = re.findall(r"http\S+token=[\w-]+", demo.stderr.readline().decode())
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page(viewport={"width": 1280, "height": 820})
            tab.goto(link)
            tab.wait_for_timeout(SETTLES)
            tab.goto(f"{link.partition('/?')[0]}{page}")
            tab.wait_for_timeout(2_000)
            tab.screenshot(path=file)
            browser.close()
        demo.send_signal(signal.SIGINT)
        demo.communicate()
    print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    file, page, *_ = [*sys.argv[1:], *("", "")[: 3 - len(sys.argv)]]
    main(Path(file or FILE), page or PAGE)
