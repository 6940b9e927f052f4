#!/usr/bin/env python3
"""A node under mixed load for a long time, and what is left of it afterwards: nothing.

Starts a node of its own on a free port of this machine, with a folder that is thrown away and the models of
the user's cache; keeps a bounded number of clients busy with all that a client may do, leaving at any moment
included; and holds the node to its promises: equal questions get equal answers, whatever else is computed, and
memory, pages, slots, threads and receipts add up in the end. Must never reach another machine. Only the
standard library is needed. The exit status is 1, with the reasons, if anything was not as promised.
"""

import argparse
import http.client
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from soaking.ask import only
from soaking.load import FAILURES_SHOWN, Load, client
from soaking.node import (
    GAUGES, Gone, await_true, gauges, is_idle, note, outcomes, recorded, resident, running, threads_of,
)
from soaking.questions import chat, embed, words

# Seconds.
IDLE_MAX = 10
STOP_MAX = 35
SAMPLE_EVERY = 2
# How much of the memory of the first fifth the node may have in the end.
GROWTH_MAX = 1.1
# A full cache may end with so many pages less, for the sequence that filled it needed some at once.
PAGES_SLACK = 4
# Prompts that fill the cache at most; eight are enough.
FILLERS_MAX = 32


def main():
    args = arguments()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, {args.minutes:g} minutes, {args.clients} clients, {args.kwaainet}", flush=True)
    load = Load(seed)
    with running(args.kwaainet) as node:
        try:
            soak(node, load, args)
        except (OSError, http.client.HTTPException, sqlite3.Error, Gone) as error:
            load.fail(f"the soak could not go on: {error!r}")
        load.over.set()
        stop(node, load)
        if load.failures:
            print("the end of the node's log:", *node.log().splitlines()[-20:], sep="\n  ")
    for reason, times in load.failures.most_common(FAILURES_SHOWN):
        print(f"failed: {reason}" + (f" ({times} times)" if times > 1 else ""))
    print(f"{load.counts['errors']} failures" if load.failures else "passed")
    return 1 if load.failures else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kwaainet", type=Path, default=Path("target/release/kwaainet"), metavar="FILE")
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="(default: 30)")
    parser.add_argument("--clients", type=int, default=24, metavar="N", help="(default: 24)")
    parser.add_argument("--seed", type=int, metavar="N", help="what the clients ask for, and when they leave")
    args = parser.parse_args()
    if not args.kwaainet.is_file():
        parser.error(f"{args.kwaainet} is not there")
    if not 0 < args.minutes <= 24 * 60 or not 1 <= args.clients <= 128:
        parser.error("up to a day, and up to 128 clients")
    return args


def soak(node, load, args):
    """First alone, then together, then alone again."""
    load.expected = {name: only(node, question) for name, question in load.questions.items()}
    # The largest, since some threads begin only with work that is worth them.
    only(node, embed([words(load.chance, 64)] * 8))
    pages = fill_cache(node, load)
    await_true(lambda: is_idle(node), IDLE_MAX)
    threads = threads_of(node)
    note(f"ready: {len(load.expected)} answers noted, {pages} pages fill the cache, "
         f"{resident(node) >> 20} MiB, threads {dict(threads)}")

    clients = [threading.Thread(target=client, args=(node, load, i), daemon=True) for i in range(args.clients)]
    for thread in clients:
        thread.start()
    early, late = watch(node, load, 60 * args.minutes)
    load.end()
    ended = time.monotonic()
    idle = await_true(lambda: is_idle(node), IDLE_MAX)
    note(f"stopped: idle after {time.monotonic() - ended:.1f} s" if idle else "stopped")
    load.check(idle, f"not idle {IDLE_MAX} s after the last client left: {gauges(node)}")
    for thread in clients:
        thread.join(IDLE_MAX)
    load.check(not any(thread.is_alive() for thread in clients), "a client does not end")

    check_receipts(node, load)
    for name, question in load.questions.items():
        load.check(only(node, question) == load.expected[name], f"{name}: another answer, alone, after the load")
    left = fill_cache(node, load)
    load.check(await_true(lambda: is_idle(node), IDLE_MAX), f"pages are held by nobody: {gauges(node)}")
    load.check(left >= pages - PAGES_SLACK, f"the cache has room for {left} pages, and had for {pages}")
    same = await_true(lambda: threads_of(node) == threads, IDLE_MAX)
    load.check(same, f"threads: {dict(threads_of(node))}, and were {dict(threads)}")
    late = max(late, resident(node))
    growth = late / early
    note(f"cache: {left} pages after {pages}; memory: {late >> 20} MiB after {early >> 20} MiB, {growth:.3f} x")
    load.check(growth <= GROWTH_MAX, f"memory grew {growth:.3f} x")


def watch(node, load, seconds):
    """Tells every minute how things are. Gives the resident bytes after a fifth of the time and at its end."""
    begin = time.monotonic()
    early, minute, parked, before = None, 1, 0, Counter()
    while True:
        time.sleep(SAMPLE_EVERY)
        if node.process.poll() is not None:
            raise Gone(f"the node ended by itself with {node.process.returncode}")
        passed = time.monotonic() - begin
        metrics, memory = node.metrics(), resident(node)
        parked = max(parked, metrics["engine_sequences_parked"])
        if early is None and passed >= seconds / 5:
            early = memory
        if passed >= 60 * minute or passed >= seconds:
            counts = load.counted()
            counts["tokens"] = int(metrics["completion_tokens_total"])
            tell(node, metrics, counts - before, passed, memory, parked)
            before, parked, minute = counts, 0, minute + 1
        if passed >= seconds:
            return early, memory


def tell(node, metrics, new, passed, memory, parked):
    """One line: what came since the last one, and what is there now."""
    counted = ", ".join(
        f"{new[name]} {name}" for name in ("requests", "tokens", "compared", "cancelled", "refused", "errors")
    )
    threads = len(list(Path(f"/proc/{node.process.pid}/task").iterdir()))
    now = {name: int(metrics[name]) for name in GAUGES}
    note(
        f"{passed / 60:5.1f} min: {counted}; {memory >> 20} MiB, {threads} threads, "
        f"{now['engine_kv_tokens']} tokens held, {int(metrics['engine_cached_pages'])} pages cached; "
        f"jobs {now['jobs_running']} running {now['jobs_waiting']} waiting; "
        f"sequences {now['engine_sequences_running']} running {now['engine_sequences_queued']} queued "
        f"{int(parked)} parked at most; drafts {int(metrics['engine_accepted_tokens'])} of "
        f"{int(metrics['engine_drafted_tokens'])} right, {int(metrics['engine_cached_tokens'])} tokens from the cache"
    )


def fill_cache(node, load):
    """Asks what nobody asked before until the cache grows no more, and gives its pages then.

    Pages that were lost would not come back into it, whatever the node says about itself.
    """
    pages, unchanged = 0, 0
    for _ in range(FILLERS_MAX):
        only(node, chat("filler", words(load.chance, 1500), 1))
        await_true(lambda: is_idle(node), IDLE_MAX)
        now = int(node.metrics()["engine_cached_pages"])
        unchanged = unchanged + 1 if now <= pages else 0
        pages = max(now, pages)
        if unchanged == 2:
            return pages
    raise Gone(f"the cache still grows at {pages} pages")


def check_receipts(node, load):
    """One receipt for each job that was let in, in the metrics and in the database."""
    admitted = int(node.metrics()["jobs_admitted"])
    agree = await_true(lambda: sum(outcomes(node).values()) == admitted and recorded(node) == outcomes(node), IDLE_MAX)
    ended = outcomes(node)
    note(f"receipts: {admitted} let in, {dict(ended)}; clients: {dict(load.counts)}")
    load.check(agree, f"{admitted} let in, receipts {dict(ended)} told, {dict(recorded(node))} in the database")
    # A prompt that is too long is the one error that the clients provoke in a job.
    due = load.counts["too long"]
    load.check(ended["error"] <= due, f"{ended['error']} jobs ended in an error, and {due} prompts were too long")
    load.check(ended["cancelled"] > 0, "nobody left a job that was let in")


def stop(node, load):
    """Asks the node to end, which it has to do well and without complaints."""
    begin = time.monotonic()
    node.process.send_signal(signal.SIGTERM)
    try:
        code = node.process.wait(STOP_MAX)
        note(f"ended with {code} after {time.monotonic() - begin:.1f} s")
        load.check(code == 0, f"the node ended with {code}")
    except subprocess.TimeoutExpired:
        load.fail(f"the node did not end within {STOP_MAX} s")
    complaint = re.search(r".*(panicked|\bERROR\b).*", node.log())
    load.check(not complaint, f"in the log: {complaint and complaint[0]}")


if __name__ == "__main__":
    sys.exit(main())
