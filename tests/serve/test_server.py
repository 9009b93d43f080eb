"""`lure serve` as a process: how it starts, 200 clients at a time, and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter

import httpx2
import psutil
import pytest
from click.testing import CliRunner
from sending import pair

from lure_jax.cli import main

CLIENTS = 200
FILLING = 2**20  # bytes behind the end of each PNG: what 200 clients send does not fit into the allowed growth
GROWTH = 150 * 2**20


@pytest.fixture
def server(model_folder):
    """The process and its address."""
    command = [sys.executable, "-m", "lure_jax.cli", "serve", "--model", str(model_folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), line + process.stdout.read()
    yield process, line.split()[0]
    process.kill()
    process.wait()


@pytest.mark.slow
def test_two_hundred_clients_at_a_time_in_bounded_memory_and_a_clean_end(server):
    process, url = server
    files = {m: (name, data + bytes(FILLING)) for m, (name, data) in pair().items()}
    request = httpx2.Client().build_request("POST", f"{url}/api/fuse", files=files)
    body, headers = request.read(), {"Content-Type": request.headers["Content-Type"]}
    before = [httpx2.post(f"{url}/api/fuse", content=body, headers=headers, timeout=120) for _ in range(10)]
    assert {answer.status_code for answer in before} == {200}
    started_with = psutil.Process(process.pid).memory_info().rss
    answers, peak = asyncio.run(rush(process.pid, f"{url}/api/fuse", body, headers))
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503} and sum(counts.values()) == CLIENTS
    assert {answer.content for answer in answers if answer.status_code == 200} == {before[0].content}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all("busy" in answer.json()["error"] and int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert peak - started_with < GROWTH < CLIENTS * len(body) / 2
    assert httpx2.get(f"{url}/api/health").json()["status"] == "ok"
    assert httpx2.post(f"{url}/api/fuse", content=body, headers=headers, timeout=120).content == before[0].content
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in process.stdout.read()


async def rush(pid, url, body, headers):
    """All clients at once: their answers, and the most memory the server had."""
    peak, done = 0, False

    async def watch():
        nonlocal peak
        while not done:
            peak = max(peak, psutil.Process(pid).memory_info().rss)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    async with httpx2.AsyncClient(timeout=120, limits=httpx2.Limits(max_connections=None)) as client:
        answers = await asyncio.gather(*(client.post(url, content=body, headers=headers) for _ in range(CLIENTS)))
    done = True
    await watching
    return answers, peak


def says(arguments, *words):
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1, result.output
    for word in words:
        assert word in result.output, result.output


def test_a_taken_port_is_one_sentence(model_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        says(["--model", str(model_folder), "--port", port], f"127.0.0.1 port {port} cannot be listened on", "--port")


def test_an_address_of_another_machine_and_an_unknown_model(model_folder):
    says(["--model", str(model_folder), "--host", "192.0.2.1"], "192.0.2.1 port 8000 cannot be listened on")
    says(["--model", "lure_huge"], "There is no model 'lure_huge'")


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart"])
def test_without_the_extra_it_says_what_to_install(module, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("lure_jax.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    says([], "pip install 'lure-jax[serve]'")
