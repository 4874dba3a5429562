"""`SyncRuntime` in Django, in a real WSGI server, as the guide has it: a view submits, a worker runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import wait_until

SITE = """
import sys, threading, wsgiref.simple_server, socketserver
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from am2z_trio import LocalRuntime, QueueRuntime, SyncRuntime, processor

@processor
async def send_mail(order: int) -> int:
    return order + 1

jobs = SyncRuntime(QueueRuntime(sys.argv[1], workers=False))
starting = threading.Lock()

def client():
    with starting:
        return jobs if jobs.is_started else jobs.start()

def submit(request, order):
    return JsonResponse({"job": client().submit(send_mail, order, job_id=f"order-{order}").id})

def result(request, order):
    return JsonResponse({"made": client().job(f"order-{order}", int).result(60).unwrap()})

async def from_async(request, order):
    # Django runs it in a loop of its own, in another thread than the runtime's.
    return JsonResponse({"status": client().job(f"order-{order}").status()})

urlpatterns = [
    path("submit/<int:order>", submit),
    path("result/<int:order>", result),
    path("async/<int:order>", from_async),
]

class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True

if __name__ == "__main__":
    settings.configure(DEBUG=False, SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"])
    django.setup()
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, get_wsgi_application(), server_class=Server)
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    finally:
        jobs.close()
"""

WORKER = """
import sys, trio
from site_ import send_mail
from am2z_trio import QueueRuntime

async def main():
    async with QueueRuntime(sys.argv[1]) as runtime:
        runtime.register(send_mail)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site_.py").write_text(SITE)
    (tmp_path / "work.py").write_text(WORKER)
    programs = list[subprocess.Popen[str]]()
    try:
        for name in ("work.py", "site_.py"):
            command = [sys.executable, str(tmp_path / name), redis_url]
            programs.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
            )
        stdout = programs[1].stdout
        assert stdout is not None
        yield f"http://127.0.0.1:{int(stdout.readline())}"
    finally:
        for program in programs:
            program.kill()
            program.wait(60)
            if program.stdout is not None:
                program.stdout.close()


def test_a_view_submits_and_another_one_has_the_result(site):
    with httpx.Client(base_url=site, timeout=60) as web:
        assert web.get("/submit/17").json() == {"job": "order-17"}
        assert web.get("/result/17").json() == {"made": 18}
        wait_until(lambda: web.get("/async/17").json() == {"status": "completed"}, "its status")
        # Once more: it is the same job.
        assert web.get("/submit/17").json() == {"job": "order-17"}
