"""Energy and carbon: beside codecarbon over the same load, and meters of the house as others simulate them.

codecarbon runs in a process of its own over the same minutes; both model the whole machine, and have to agree. The node's
own model has to be what it says: its processor time, as the system counts it, times the watts of a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.node import SMOL, Node, eventually, running

LOAD_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")

# Tracks the whole machine until a line comes, then says what it took, in joules.
TRACKER = """
import json, sys
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(
    country_iso_code="DEU", tracking_mode="machine", save_to_file=False, log_level="error",
    measure_power_secs=1, allow_multiple_runs=True, force_mode_cpu_load=False,
)
tracker.start()
print("started", flush=True)
sys.stdin.readline()
tracker.stop()
said = tracker.final_emissions_data
joules = lambda kwh: kwh * 3.6e6
print(json.dumps({
    "total": joules(said.energy_consumed), "cpu": joules(said.cpu_energy),
    "memory": joules(said.ram_energy), "seconds": said.duration,
    "grams": said.emissions * 1e3,
}), flush=True)
"""


def get(node: Node, path: str) -> Any:
    with urllib.request.urlopen(f"{node.url}{path}", timeout=30) as answer:
        return json.loads(answer.read())


def energy(node: Node) -> dict[str, int]:
    shown: dict[str, int] = get(node, "/v1/carbon/node")["energy"]
    assert shown["total_uj"] == shown["requests_uj"] + shown["unattributed_uj"]
    return shown


def cpu_seconds(pid: int) -> float:
    """Processor time of a process with all its threads (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(node: Node, seconds: float) -> None:
    """Chats, two at a time with rests between, for so long."""
    until = time.monotonic() + seconds
    client = node.client()

    def ask(number: int) -> None:
        while time.monotonic() < until:
            client.chat.completions.create(
                model=SMOL,
                messages=[{"role": "user", "content": f"Write about the number {number}."}],
                max_tokens=64,
                seed=number,
            )
            time.sleep(0.2 * number)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, (0, 1)))


def test_energy_is_codecarbons_in_its_own_mode(folder: Path) -> None:
    config = '[carbon]\nmeter = "codecarbon"\ncountry = "DE"\n'
    with running(folder, config=config) as node:
        home = {**os.environ, "HOME": str(folder)}
        tracker = subprocess.Popen(
            [sys.executable, "-c", TRACKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=home,
        )
        try:
            assert tracker.stdin and tracker.stdout
            assert tracker.stdout.readline() == "started\n"
            before, began = energy(node), time.monotonic()
            load(node, LOAD_SECONDS)
            after, ended = energy(node), time.monotonic()
            tracker.stdin.write("\n")
            tracker.stdin.flush()
            theirs = json.loads(tracker.stdout.readline())
        finally:
            tracker.kill()
            tracker.wait(10)
    ours = (after["total_uj"] - before["total_uj"]) / 1e6
    # They begin and end some tenths of a second apart: per second, then.
    ours_watts = ours / (ended - began)
    theirs_watts = theirs["total"] / theirs["seconds"]
    print(f"ours {ours_watts:.3f} W, codecarbon {theirs_watts:.3f} W: {theirs}")
    assert ours_watts == pytest.approx(theirs_watts, rel=0.05)
    memory_watts = theirs["memory"] / theirs["seconds"]
    ours_cpu = ours_watts - memory_watts
    assert ours_cpu == pytest.approx(theirs["cpu"] / theirs["seconds"], rel=0.15)


def test_our_own_model_is_processor_time_and_adds_up(folder: Path) -> None:
    config = '[carbon]\nmeter = "cpu_time"\nwatts_per_thread = 4.0\ncountry = "DE"\n'
    with running(folder, config=config) as node:
        before, used = energy(node), cpu_seconds(node.pid)
        with node.client() as client:
            ids, headers = [], []
            for number in range(4):
                answer = client.chat.completions.with_raw_response.create(
                    model=SMOL,
                    messages=[{"role": "user", "content": f"Count to {number + 5}."}],
                    max_tokens=32,
                    seed=1,
                )
                ids.append(answer.parse().id)
                headers.append(float(answer.headers["x-kwaai-energy-j"]))
        after, used = energy(node), cpu_seconds(node.pid) - used
        figures = [get(node, f"/v1/carbon/requests/{id}")["cost"] for id in ids]
        report = get(node, "/v1/carbon/report")
    ours = (after["total_uj"] - before["total_uj"]) / 1e6
    # The system counts in hundredths of a second for each of many threads.
    assert ours == pytest.approx(4.0 * used, rel=0.05)
    requests = (after["requests_uj"] - before["requests_uj"]) / 1e6
    assert [figure["energy_j"] for figure in figures] == headers
    assert sum(headers) == pytest.approx(requests, abs=1e-5)
    assert requests > 0.7 * ours, "a busy node works for its requests"
    for figure in figures:
        assert figure["carbon_g"] == pytest.approx(figure["energy_j"] / 3.6e6 * 380.95, abs=1e-6)
    assert report["total"]["requests"]["requests"] == 4


def test_the_sdk_takes_figures_in_the_usage_and_comments_in_streams(folder: Path) -> None:
    with running(folder, config='[carbon]\ncountry = "FR"\n') as node, node.client() as client:
        stream = client.chat.completions.create(
            model=SMOL,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"kwaai": {"carbon": True}},
        )
        *_, last = stream
        assert last.usage and last.usage.model_extra
        figures = last.usage.model_extra["kwaai"]
        assert figures["energy_j"] > 0 and figures["intensity_evidence"] == "yearly"


# An inverter's map: SunSpec's mark, the common model, model 103 with 2,345.6 W, the end.
REGISTERS = [
    *struct.unpack(">2H", b"SunS"),
    *(1, 66, *([0] * 66)),
    *(103, 50, *([0x8000] * 12), 23456, 0xFFFF, *([0x8000] * 36)),
    *(0xFFFF, 0),
]


class Inverter:
    """pymodbus' server with that map, on a thread of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()
        eventually(self._listens)

    def _run(self) -> None:
        from pymodbus.server import StartAsyncTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        data = SimData(40_000, values=REGISTERS, datatype=DataType.REGISTERS)
        device = SimDevice(id=1, simdata=[data])
        serving = StartAsyncTcpServer(device, address=("127.0.0.1", self.port))
        self.loop.run_until_complete(serving)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def test_an_inverter_of_another_maker_is_understood(folder: Path) -> None:
    inverter = Inverter()
    config = f'[[power.meter]]\nkind = "sunspec"\naddress = "127.0.0.1:{inverter.port}"\n'
    with running(folder, config=config) as node:
        shown = eventually(lambda: get(node, "/v1/carbon/node")["renewable"])
        assert shown["evidence"] == "local_meter"
        assert "says nothing" not in node.log
