"""`lure serve` under load and with bad inputs: two tables, and the same as JSON.

python benchmarks/serve.py --json runs/serve.json
"""

import argparse
import asyncio
import io
import json
import pathlib
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter

import httpx2
import psutil
from PIL import Image

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images"
FIELDS = ("clients", "requests", "fused", "busy", "other", "median_s", "p95_s", "images_per_s", "peak_mb")


def main():
    arguments = _arguments()
    command = [sys.executable, "-m", "lure_jax.cli", "serve", "--model", arguments.model, "--port", "0"]
    command += ["--concurrency", str(arguments.concurrency)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[0]
        good = {m: (f"{m}.png", (IMAGES / f"{m}.png").read_bytes()) for m in ("visible", "infrared")}
        httpx2.post(f"{url}/api/fuse", files=good, timeout=300).raise_for_status()  # compiled
        rows = [asyncio.run(load(server.pid, url, good, n, arguments.rounds)) for n in arguments.clients]
        print("".join(f"{name:>13}" for name in FIELDS))
        for row in rows:
            values = (f"{row[name]:.2f}" if isinstance(row[name], float) else row[name] for name in FIELDS)
            print("".join(f"{value:>13}" for value in values))
        bad = [send_bad(url, name, good | {"visible": ("v.png", data)}) for name, data in bad_inputs().items()]
        print()
        for row in bad:
            print(f"{row['input']:32} {row['status']}  {row['error']}")
        alive = httpx2.post(f"{url}/api/fuse", files=good, timeout=60).status_code
        print(f"\nafterwards: {alive}, {psutil.Process(server.pid).memory_info().rss / 1e6:.0f} MB")
    finally:
        server.terminate()
        server.wait()
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"load": rows, "bad": bad, "afterwards": alive}, indent=2) + "\n")


async def load(pid: int, url: str, files: dict, clients: int, rounds: int) -> dict:
    """`clients` at a time, each sending one request after the other; a refused one waits as long as it is told."""
    process, peak, seconds, statuses = psutil.Process(pid), [0], [], Counter()
    request = httpx2.Client().build_request("POST", f"{url}/api/fuse", files=files)
    body, headers = request.read(), {"Content-Type": request.headers["Content-Type"]}

    async def client(http):
        for _ in range(rounds):
            start = time.perf_counter()
            answer = await http.post(f"{url}/api/fuse", content=body, headers=headers)
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                seconds.append(time.perf_counter() - start)
            elif answer.status_code == 503:
                await asyncio.sleep(int(answer.headers["Retry-After"]))

    async def watch():
        while True:
            peak[0] = max(peak[0], process.memory_info().rss)
            await asyncio.sleep(0.05)

    watching, start = asyncio.create_task(watch()), time.perf_counter()
    async with httpx2.AsyncClient(timeout=300, limits=httpx2.Limits(max_connections=None)) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    watching.cancel()
    fused, busy = statuses.pop(200, 0), statuses.pop(503, 0)
    return {
        "clients": clients,
        "requests": clients * rounds,
        "fused": fused,
        "busy": busy,
        "other": sum(statuses.values()),
        "median_s": statistics.median(seconds),
        "p95_s": sorted(seconds)[int(0.95 * (len(seconds) - 1))],
        "images_per_s": fused / (time.perf_counter() - start),
        "peak_mb": peak[0] / 1e6,
    }


def bad_inputs() -> dict[str, bytes]:
    """What must be refused, by name."""
    small = io.BytesIO()
    Image.new("RGB", (320, 200)).save(small, "PNG")
    visible = (IMAGES / "visible.png").read_bytes()
    return {
        "empty file": b"",
        "text named .png": b"this is no image",
        "half a PNG": visible[: len(visible) // 2],
        "PNG bomb, 60000 x 60000": bomb(60_000),
        "40 MB": bytes(40 * 2**20),
        "another size than its partner": small.getvalue(),
    }


def bomb(side: int) -> bytes:
    """A PNG of some bytes that declares side x side pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b""))
    packed = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def send_bad(url: str, name: str, files: dict) -> dict:
    answer = httpx2.post(f"{url}/api/fuse", files=files, timeout=60)
    return {"input": name, "status": answer.status_code, "error": answer.json().get("error", "")}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lure_tiny", help="name, model folder or workdir")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 200], help="at a time")
    parser.add_argument("--rounds", type=int, default=3, help="requests of each client")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
