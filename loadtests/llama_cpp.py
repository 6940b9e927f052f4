#!/usr/bin/env python3
"""The node beside llama.cpp: the same files, the same threads, in turns.

Takes the folder with llama.cpp's tools and GGUF files; runs `llama-bench`, `llama-batched-bench` and
`kwaainet bench` one after the other, in an order that is turned every round, and `llama-server` under
`kwaainet bench --against`. Every figure of a round is divided by that of the same round; the medians of
these ratios are what is told. Nothing else should run on the machine meanwhile. Only the standard
library is needed.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

# Seconds that one measurement may take.
TOOL_MAX = 1800
SERVER_MAX = 6 * 3600
SERVER_START_MAX = 120
# Tokens of the answers that llama-bench measures; the same as ours.
ANSWER = 128
LONG = 1024
# What llama-server is given for its sequences: each has room for 128 tokens in, 128 out, and a template.
SLOTS = 16
SLOT_TOKENS = 512


def main():
    args = arguments()
    report = []
    for model in args.models:
        for threads in args.threads:
            note(f"{model.name}, {threads} threads")
            report.append(measure(args, model, threads))
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for one in report:
            print_table(one)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True, metavar="DIR", help="where llama-bench and the others are")
    parser.add_argument(
        "--llama-cpp-plain", type=Path, metavar="DIR",
        help="another build, without AMX, for the comparison with AMX off on both sides; without it, llama.cpp's "
        "repacking is turned off there, which takes its AMX with it",
    )
    parser.add_argument("--kwaainet", type=Path, default=Path("target/release/kwaainet"), metavar="FILE")
    parser.add_argument("--plain-kernel", default="avx512", metavar="KERNEL", help="ours with AMX off (default: avx512)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,...", help="(default: 1,2)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (default: 5)")
    parser.add_argument("--server-runs", type=int, default=3, metavar="N", help="of each number of streams (default: 3)")
    parser.add_argument("--streams", default="1,8,16,32,64", metavar="N,...")
    parser.add_argument("--no-server", action="store_true", help="leave HTTP out")
    parser.add_argument("--no-engine", action="store_true", help="leave all but HTTP out")
    parser.add_argument(
        "--speculation", action="store_true",
        help="let the node guess ahead over HTTP, which llama-server does not do by itself",
    )
    parser.add_argument("--quick", action="store_true", help="short measurements, to see that all works")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("models", type=Path, nargs="+", metavar="GGUF")
    args = parser.parse_args()
    for path in [args.llama_cpp, args.kwaainet, *args.models]:
        if not path.exists():
            parser.error(f"{path} is not there")
    return args


def numbers(text):
    return [int(number) for number in text.split(",")]


def measure(args, model, threads):
    one = {"model": model.name, "threads": threads, "rows": [], "http": None}
    if not args.no_engine:
        one["rows"] = engine_rows(args, model, threads)
    if not args.no_server:
        one["http"] = http(args, model, threads)
    return one


# -- the engines ----------------------------------------------------------------------------------


def engine_rows(args, model, threads):
    """Ours and theirs, round by round, then the ratios."""
    sides = {"ours": lambda: ours(args, model, threads), "theirs": lambda: theirs(args, model, threads)}
    rounds = []
    for number in range(args.rounds):
        order = list(sides)
        if number % 2:
            order.reverse()
        rounds.append({side: sides[side]() for side in order})
        note(f"  round {number + 1} of {args.rounds}")
    names = list(dict.fromkeys(name for one in rounds for name in one["ours"]))
    return [compared(name, rounds) for name in names]


def compared(name, rounds):
    our = [one["ours"][name] for one in rounds if name in one["ours"]]
    their = [one["theirs"][name] for one in rounds if name in one["theirs"]]
    row = {"what": name, "ours": statistics.median(our), "theirs": None, "ratio": None, "rounds": len(our)}
    if len(their) == len(our):
        row["theirs"] = statistics.median(their)
        row["ratio"] = statistics.median(a / b for a, b in zip(our, their))
        row["ratios"] = [a / b for a, b in zip(our, their)]
    return row


def ours(args, model, threads):
    kernel, figures = our_figures(args, model, threads)
    plain = figures
    if kernel != args.plain_kernel:
        # The short form holds what is needed of it.
        _, plain = our_figures(args, model, threads, "--quick", "--kernels", args.plain_kernel)
    return figures | {"prefill 512, AMX off": plain["prefill 512"]}


def our_figures(args, model, threads, *more):
    """The kernel that was taken, and what it came to."""
    command = [args.kwaainet, "bench", "--json", "--runs", 1, "--threads", threads, "--model", model, *more]
    if args.quick and "--quick" not in more:
        command.append("--quick")
    engine = json.loads(run(command))["engines"][0]
    figures = {}
    for row in engine["rows"]:
        if row["test"] == "prefill":
            figures[f"prefill {row['tokens']}"] = row["tokens_per_s"]
        elif row["test"] == "decode":
            name = decode_name(row["sequences"], row["context"])
            figures[name] = row["tokens_per_s"]
            if row["sequences"] == 1:
                figures[f"{name}, share of bandwidth"] = row["bandwidth_share"]
        elif row["test"] == "cached_prefix":
            figures[f"cached prefix {row['tokens']}, share of cold"] = row["ratio"]
        else:
            what = f"schema {row['sequences']}, context {row['context']}, share of a step"
            figures[what] = row["share"]
    figures["bandwidth GB/s"] = engine["bandwidth"] / 1e9
    figures["load s"] = engine["load_s"]
    if engine["resident_mib"] is not None:
        figures["resident MiB"] = engine["resident_mib"]
    return engine["kernel"], figures


def theirs(args, model, threads):
    answer = 32 if args.quick else ANSWER
    prompts = "128,512" if args.quick else "128,512,2048"
    tool = args.llama_cpp / "llama-bench"
    common = ["-m", model, "-t", threads, "-r", 1, "-o", "json"]
    figures = bench_figures(run([tool, *common, "-p", prompts, "-n", answer]))
    figures |= bench_figures(run([tool, *common, "-p", 0, "-n", answer, "-d", LONG]))
    for name, value in plain_figures(args, common).items():
        figures[f"{name}, AMX off"] = value
    return figures | batched_figures(args, model, threads, answer)


def plain_figures(args, common):
    if args.llama_cpp_plain:
        return bench_figures(run([args.llama_cpp_plain / "llama-bench", *common, "-p", 512, "-n", 0]))
    return bench_figures(run([args.llama_cpp / "llama-bench", *common, "-p", 512, "-n", 0, "--repack", 0]))


def bench_figures(text):
    figures = {}
    for test in json.loads(text):
        if test["n_gen"]:
            name = decode_name(1, test["n_depth"])
        else:
            name = f"prefill {test['n_prompt']}"
        figures[name] = test["avg_ts"]
    return figures


def batched_figures(args, model, threads, answer):
    """Several sequences at once, each after a short prompt of its own."""
    sequences = [8, 16] if args.quick else [2, 4, 8, 16, 32]
    prompt = 16
    room = max(sequences) * (prompt + answer)
    out = run([
        args.llama_cpp / "llama-batched-bench", "-m", model, "-t", threads, "-c", room, "-b", 2048, "-ub", 512,
        "-npp", prompt, "-ntg", answer, "-npl", ",".join(map(str, sequences)), "--output-format", "jsonl",
    ])
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {decode_name(line["pl"], prompt): line["speed_tg"] for line in lines}


def decode_name(sequences, context):
    where = "" if context < LONG else f" at {context}"
    return f"decode {sequences}{where}"


# -- over HTTP ------------------------------------------------------------------------------------


def http(args, model, threads):
    with server(args, model, threads) as url:
        command = [
            args.kwaainet, "bench", "--json", "--runs", args.server_runs, "--threads", threads, "--model", model,
            "--against", url, "--streams", args.streams,
        ]
        if args.quick:
            command.append("--quick")
        guesses = {} if args.speculation else {"KWAAINET_ENGINE_SPECULATION": "off"}
        return json.loads(run(command, SERVER_MAX, guesses))["loads"]


@contextmanager
def server(args, model, threads):
    """llama-server on a free port of this machine, stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        args.llama_cpp / "llama-server", "-m", model, "-t", threads, "-np", SLOTS, "-c", SLOTS * SLOT_TOKENS,
        "--host", "127.0.0.1", "--port", port, "--no-webui",
    ]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            await_health(process, url)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def await_health(process, url):
    until = time.monotonic() + SERVER_START_MAX
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"llama-server ended at its start with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    sys.exit("llama-server is not ready in time")


# -- what is told ---------------------------------------------------------------------------------


def print_table(one):
    print(f"\n{one['model']}, {one['threads']} threads")
    if one["rows"]:
        print(f"{'':<38}{'kwaainet':>12}{'llama.cpp':>12}{'ratio':>9}")
    for row in one["rows"]:
        print(line(row["what"], row["ours"], row["theirs"], row["ratio"]))
    for load in one["http"] or []:
        print(f"  over HTTP, {load['streams']} streams{'':<16}{'kwaainet':>10}{'llama-server':>14}{'ratio':>7}")
        for row in load["comparison"]:
            if row["what"].split()[0] in ("tokens/s", "first_token", "gap"):
                print(line(f"  {row['what']}", row["url"], row["against"], row["ratio"]))


def line(what, ours, theirs, ratio):
    cells = [f"{ours:12.3f}" if ours < 10 else f"{ours:12.1f}"]
    cells.append(f"{'-':>12}" if theirs is None else f"{theirs:12.1f}")
    cells.append(f"{'-':>9}" if ratio is None else f"{ratio:9.3f}")
    return f"{what:<38}{''.join(cells)}"


def run(command, seconds=TOOL_MAX, variables=None):
    """Its standard output. What it says on standard error is shown when it fails."""
    command = [str(part) for part in command]
    # llama.cpp's tools print their logs on standard error; ours its progress.
    environment = os.environ | (variables or {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-4000:])
        sys.exit(f"{Path(command[0]).name} ended with {done.returncode}")
    return done.stdout


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
