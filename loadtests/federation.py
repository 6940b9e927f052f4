#!/usr/bin/env python3
"""What it costs to be answered by a peer, and how a node shares out what it is asked.

`latency`: one node without the model and one with it. Both are asked in turns for the same kind of thing, so every
second request takes the way over the first node. Told are the medians of the time to the first token and of the time
for each token after it.

`shares`: three nodes with the model, of different speeds (`--kernels`). Each is first asked alone, for its speed;
then one of them gets so many streams at once and gives to the others what they do sooner. Told are each node's speed
and what it did of the whole, and how many jobs it ran at once at most, of those that it admits.

Starts its own nodes on free ports of this machine, with folders that are thrown away and the models of the user's
cache. Only the standard library is needed. Figures are good only on a machine that does nothing else.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from federating.nodes import EMBEDDER, MODEL, Failed, Link, federation, models_of_user

WARM_UP = 8
LOOK_EVERY = 0.02
WORDS = "moon fox river stone cloud apple night bridge music paper garden winter letter ocean bread horse".split()


def main():
    args = arguments()
    print(f"seed {args.seed}, {args.kwaainet}", flush=True)
    try:
        return args.measure(args, random.Random(args.seed))
    except (OSError, Failed) as error:
        sys.exit(f"it could not be measured: {error}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kwaainet", type=Path, default=Path("target/release/kwaainet"), metavar="FILE")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--threads", type=int, default=1, help="of each node's engine (default: 1)")
    parser.add_argument("--prompt-words", type=int, default=48, metavar="N", help="(default: 48)")
    parser.add_argument("--max-tokens", type=int, default=64, metavar="N", help="(default: 64)")
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("latency", help="a peer's answer beside the same one asked directly")
    one.add_argument("--requests", type=int, default=200, metavar="N", help="of each way (default: 200)")
    one.set_defaults(measure=latency)
    two = kinds.add_parser("shares", help="many streams over three nodes")
    two.add_argument("--streams", type=int, default=32, metavar="N", help="(default: 32)")
    two.add_argument("--requests", type=int, default=192, metavar="N", help="in all (default: 192)")
    two.add_argument("--slots", type=int, default=16, metavar="N", help="jobs that a node admits at once (default: 16)")
    two.add_argument(
        "--kernels", default="avx2,scalar,best", metavar="A,B,C", help="of the three nodes (default: avx2,scalar,best)"
    )
    two.set_defaults(measure=shares)
    args = parser.parse_args()
    if not args.kwaainet.is_file():
        parser.error(f"{args.kwaainet} is not there")
    return args


def question(dice, words):
    """No two begin alike, so nobody has read one before."""
    return " ".join(dice.choice(WORDS) + str(dice.randrange(1000)) for _ in range(words))


def latency(args, dice):
    engine = {"engine": {"threads": args.threads}}
    with tempfile.TemporaryDirectory(prefix="kwaainet-cache-") as cache:
        embedder = Path("kwaainet") / "models" / EMBEDDER
        shutil.copytree(models_of_user() / embedder, Path(cache) / embedder)
        without = {"models": [EMBEDDER], "settings": engine, "cache": cache}
        with_it = {"models": [MODEL], "settings": engine}
        with federation(args.kwaainet, [without, with_it]) as (asker, server):
            ways = {"directly": Link(server), "over the asker": Link(asker)}
            times = {way: ([], []) for way in ways}
            for number in range(-WARM_UP, args.requests):
                for way in sorted(ways, reverse=bool(number % 2)):
                    asked = question(dice, args.prompt_words)
                    first, each, _, by = ways[way].ask(asked, args.max_tokens)
                    if by != ("local" if way == "directly" else server.id):
                        raise Failed(f"{by} served what was asked {way}")
                    if number >= 0:
                        times[way][0].append(first * 1e3)
                        times[way][1].append(each * 1e3)
            for link in ways.values():
                link.close()
    for way, (first, each) in times.items():
        spread = statistics.quantiles(first, n=20)
        print(
            f"{way:<15} first token p50 {statistics.median(first):.2f} ms, p95 {spread[18]:.2f} ms; "
            f"{statistics.median(each):.3f} ms/token"
        )
    (first, each), (first_over, each_over) = times["directly"], times["over the asker"]
    added = statistics.median(first_over) - statistics.median(first)
    pairs = statistics.median(over - direct for over, direct in zip(first_over, first, strict=True))
    ratio = statistics.median(each_over) / statistics.median(each)
    print(f"added to the first token: {added:.2f} ms p50 ({pairs:.2f} ms, the median of the pairs)")
    print(f"per token: {ratio:.3f} times")
    return 0


def shares(args, dice):
    kernels = args.kernels.split(",")
    if len(kernels) != 3:
        sys.exit("--kernels: three of them")

    def node(kernel, slots):
        environment = {} if kernel == "best" else {"KWAAINET_KERNEL": kernel}
        settings = {"engine": {"threads": args.threads}, "limits": {"slots": slots, "waiting": 256}}
        return {"models": [MODEL], "settings": settings, "environment": environment}

    # What the others do has a place at the first one too.
    slots = [args.streams + args.slots, args.slots, args.slots]
    with federation(args.kwaainet, list(map(node, kernels, slots))) as nodes:
        asker = nodes[0]
        speeds = [alone(node, args, dice) for node in nodes]
        peaks = Peaks(nodes)
        began = time.monotonic()
        tokens = together(asker, args, dice)
        took = time.monotonic() - began
        most = peaks.end()
    whole, speed = sum(tokens.values()), sum(speeds)
    print(f"{whole} tokens in {took:.1f} s, {whole / took:.0f} tokens/s; {speed:.0f} tokens/s, each asked alone")
    above = False
    for kernel, node, room, alone_speed, peak in zip(kernels, nodes, slots, speeds, most, strict=True):
        did = tokens["local" if node is asker else node.id]
        passed_on = ", those that it passed on included" if node is asker else ""
        print(
            f"{kernel:<8} {alone_speed:6.0f} tokens/s alone, {alone_speed / speed:5.1%} of all speed; "
            f"did {did / whole:5.1%}; {peak} jobs at once of {room}{passed_on}"
        )
        above |= peak > room
    if above:
        print("a node ran more than it admits")
    return 1 if above else 0


def alone(node, args, dice):
    """Tokens a second of a node that is asked for nothing else, by as many streams as it admits at once."""
    began = time.monotonic()
    tokens = ask_many(node, args.slots, args.slots * 2, args, dice, {"prefer": "local"})
    return sum(tokens.values()) / (time.monotonic() - began)


def together(asker, args, dice):
    return ask_many(asker, args.streams, args.requests, args, dice, {"prefer": "fast"})


def ask_many(node, streams, requests, args, dice, demands):
    """Keeps so many streams busy; tokens by who served them."""
    questions = iter([question(dice, args.prompt_words) for _ in range(requests)])
    tokens, lock, failures = Counter(), threading.Lock(), []

    def client():
        link = Link(node)
        try:
            while True:
                with lock:
                    text = next(questions, None)
                if text is None or failures:
                    return
                _, _, count, by = link.ask(text, args.max_tokens, demands)
                with lock:
                    tokens[by] += count
        except (OSError, Failed) as error:
            failures.append(error)
        finally:
            link.close()

    clients = [threading.Thread(target=client, daemon=True) for _ in range(streams)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    if failures:
        raise Failed(str(failures[0]))
    return tokens


class Peaks:
    """Looks all the time how many jobs each node runs."""

    def __init__(self, nodes):
        self.nodes, self.most, self.over = nodes, [0] * len(nodes), threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.over.wait(LOOK_EVERY):
            for number, node in enumerate(self.nodes):
                self.most[number] = max(self.most[number], node.jobs_running())

    def end(self):
        self.over.set()
        self.thread.join()
        return self.most


if __name__ == "__main__":
    sys.exit(main())
