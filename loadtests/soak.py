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
import json
import math
import os
import random
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"

# Small, so that the prefix cache is full before the load begins.
KV_MIB = 256
# Seconds.
READY_MAX = 120
ANSWER_MAX = 300
IDLE_MAX = 10
STOP_MAX = 35
# So long a slow reader takes two pieces a second, and then the rest.
SLOW_FOR = 30
SAMPLE_EVERY = 2
# How much of the memory of the first fifth the node may have in the end.
GROWTH_MAX = 1.1
# A full cache may end with so many pages less, for the sequence that filled it needed some at once.
PAGES_SLACK = 4
# Prompts that fill the cache at most; eight are enough.
FILLERS_MAX = 32
FAILURES_SHOWN = 20
# Threads that come and go: of the database, and of the runtime one for each core and those for blocking work.
POOLS = {"sqlx-sqlite": 5, "tokio-rt-worker": (os.cpu_count() or 1) + 48}

READY = re.compile(r"is ready on http://([0-9.]+):(\d+) ")
GAUGES = ("jobs_running", "jobs_waiting", "engine_sequences_running", "engine_sequences_queued")
GAUGES += ("engine_sequences_parked", "engine_kv_tokens")
# Each about one token.
WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service "
    "friend father power hour game line end member law car city name team minute idea body back parent face"
).split()


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
    only(node, embedding(load.chance))
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


# -- the load -------------------------------------------------------------------------------------


@dataclass
class Question:
    """One request, and what has to come of it."""

    name: str
    path: str
    body: object
    # The name of the answer it has to get, if that is known.
    expected: str | None = None
    status: int = 200
    # Whether it is read slowly.
    slow: bool = False


class Load:
    """What the clients share: the questions with fixed answers, the counts, and the end."""

    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.prefix = words(self.chance, 300)
        self.questions = {question.name: question for question in fixed_questions(self.chance, self.prefix)}
        self.expected = {}
        self.over = threading.Event()
        self.counts = Counter()
        self.failures = Counter()
        self._sockets = set()
        self._lock = threading.Lock()

    def count(self, name):
        with self._lock:
            self.counts[name] += 1

    def counted(self):
        with self._lock:
            return self.counts.copy()

    def fail(self, reason):
        with self._lock:
            self.counts["errors"] += 1
            self.failures[reason] += 1
            if self.counts["errors"] <= FAILURES_SHOWN:
                note(f"  failure: {reason}")

    def check(self, is_so, otherwise):
        if not is_so:
            self.fail(otherwise)

    def connected(self, link):
        with self._lock:
            self._sockets.add(link)

    def left(self, link):
        with self._lock:
            self._sockets.discard(link)

    def end(self):
        """All clients hang up at once."""
        self.over.set()
        with self._lock:
            links = list(self._sockets)
        for link in links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It left by itself a moment ago.


def client(node, load, number):
    """Comes again and again until the end; a third of the times it leaves before it has its answer."""
    chance = random.Random(f"{load.seed}/{number}")
    while not load.over.is_set():
        question = next_question(load, chance)
        leaves = chance.random() < 1 / 3
        # Mostly early, sometimes after ten seconds.
        patience = 10 ** chance.uniform(-3, 1) if leaves else ANSWER_MAX
        load.count("requests")
        if question.name == "too long":
            load.count("too long")
        try:
            answer = ask(node, question, patience, leaves=leaves, chance=chance, load=load)
        except TimeoutError:
            if leaves:
                load.count("cancelled")
            else:
                load.fail(f"{question.name}: no answer in {ANSWER_MAX} s")
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            # In the end the connections are cut under the clients.
            if not load.over.is_set():
                load.fail(f"{question.name}: {error!r}")
                load.over.wait(1)
        else:
            # What was cut in the end looks like an answer that breaks off.
            if not load.over.is_set():
                judge(load, question, answer)


def judge(load, question, answer):
    if answer.status == 503 and answer.retry_after:
        load.count("refused")
        load.over.wait(min(answer.retry_after, 5))
    elif answer.status != question.status:
        load.fail(f"{question.name}: status {answer.status} where {question.status} was due")
    elif answer.error:
        load.fail(f"{question.name}: {answer.error}")
    elif question.expected:
        due = load.expected[question.expected].choices
        # Of several choices all are the same where nothing is drawn.
        given = answer.choices if question.body["temperature"] == 0 else answer.choices[:1]
        load.check(all((choice,) == due for choice in given), f"{question.name}: another answer than alone")
        load.count("compared")
    load.count("answered")


def next_question(load, chance):
    kinds = {exact: 10, slow_reader: 1, fresh_chat: 2, fresh_prefix: 2, fresh_long: 1, embedding: 2, bad: 1, too_long: 1}
    (kind,) = chance.choices(list(kinds), list(kinds.values()))
    return kind(load, chance) if kind in (exact, slow_reader, fresh_prefix) else kind(chance)


def fixed_questions(chance, prefix):
    """Each has one answer for ever: all are greedy but the last, which draws by a seed."""
    song = "Row, row, row your boat, gently down the stream. "
    count = "1 2 3 4 5 6 7 8 9 10\n"
    yield chat("echo", "Repeat after me: one, two, three.", 16)
    yield chat("story", "Write a story about a lighthouse and a storm.", 192)
    yield chat("song", f"Copy this text word by word: {song * 6}", 128)
    yield chat("prefix a", f"{prefix}\nWhat is this list about?", 32)
    yield chat("prefix b", f"{prefix}\nWhich of these words is the longest?", 32)
    yield completion("count", count * 8, 96)
    yield completion("long", words(chance, 1500), 24)
    yield completion("plain", "The capital of France is", 24)
    yield chat("drawn", "Tell me about the sea.", 64, temperature=1, seed=7)


def exact(load, chance):
    """A question whose answer is known, in one of the ways in which it may be asked."""
    known = chance.choice(list(load.questions.values()))
    body = known.body | {"stream": chance.random() < 0.8}
    if chance.random() < 0.2:
        body["n"] = 2
    if chance.random() < 0.2:
        body |= {"logprobs": True, "top_logprobs": 3} if known.path == CHAT else {"logprobs": 2}
    return Question(known.name, known.path, body, expected=known.name)


def slow_reader(load, chance):
    """Much to read, and more than the system keeps for one who does not."""
    known = load.questions["story"]
    body = known.body | {"stream": True, "n": 4, "logprobs": True, "top_logprobs": 20}
    return Question("slow", known.path, body, expected="story", slow=True)


def fresh_chat(chance):
    question = chat("fresh", words(chance, chance.randrange(4, 64)), chance.choice((8, 64, 256)), temperature=1)
    question.body["stream"] = True
    return question


def fresh_prefix(load, chance):
    question = chat("fresh prefix", f"{load.prefix}\n{words(chance, 8)}", 16)
    question.body["stream"] = chance.random() < 0.5
    return question


def fresh_long(chance):
    question = chat("fresh long", words(chance, 1500), 16, temperature=chance.choice((0, 1)))
    question.body["stream"] = True
    return question


def embedding(chance):
    texts = [words(chance, chance.randrange(1, 64)) for _ in range(chance.randrange(1, 9))]
    return Question("embedding", EMBEDDINGS, {"model": EMBEDDER, "input": texts})


def bad(chance):
    good = chat("bad", "Hello", 8).body
    wrong = ({"temperature": 9}, {"messages": []}, {"n": 0}, {"stop": ""}, {"top_k": -1})
    bodies = [good | change for change in wrong]
    return Question("bad", CHAT, chance.choice([*bodies, "no object"]), status=400)


def too_long(chance):
    """More than the context has, which shows only after the job was let in."""
    question = chat("too long", words(chance, 9_000), 8)
    question.status = 400
    return question


def chat(name, said, tokens, **options):
    messages = [{"role": "user", "content": said}]
    body = {"model": CHAT_MODEL, "messages": messages, "max_tokens": tokens, "temperature": 0}
    return Question(name, CHAT, body | options)


def completion(name, prompt, tokens):
    body = {"model": CHAT_MODEL, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    return Question(name, COMPLETIONS, body)


def words(chance, count):
    return " ".join(chance.choices(WORDS, k=count))


# -- one request ----------------------------------------------------------------------------------


@dataclass
class Answer:
    """What came: (text, reason of its end) for each choice, or what was wrong with it."""

    status: int
    retry_after: int = 0
    choices: tuple = ()
    error: str | None = None


def only(node, question):
    """The answer of a node that does nothing else."""
    answer = ask(node, question, ANSWER_MAX)
    if answer.status != 200 or answer.error:
        raise Gone(f"{question.name}: {answer}")
    return answer


def ask(node, question, patience, leaves=False, chance=None, load=None):
    """One request on a connection of its own. Raises TimeoutError when patience is over."""
    until = time.monotonic() + patience
    data = json.dumps(question.body).encode()
    head = f"POST {question.path} HTTP/1.1\r\nHost: {node.host}:{node.port}\r\nContent-Type: application/json\r\n"
    data = f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data
    with socket.socket() as link:
        if question.slow:
            # The system keeps megabytes for a connection within the machine, unless its segments are small.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        if load:
            load.connected(link)
        try:
            wait_until(link, until)
            link.connect((node.host, node.port))
            if leaves and chance.random() < 0.1:
                link.sendall(data[: chance.randrange(len(data))])
                time.sleep(min(patience, 1))
                raise TimeoutError
            link.sendall(data)
            with closing(http.client.HTTPResponse(link, method="POST")) as response:
                response.begin()
                return read(response, link, until, question)
        except TimeoutError:
            if leaves and chance.random() < 0.5:
                # Some go without a word: what is on the way to them is answered by a reset.
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
        finally:
            if load:
                load.left(link)


def wait_until(link, until):
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    link.settimeout(left)


def read(response, link, until, question):
    streams = (response.headers["content-type"] or "").startswith("text/event-stream")
    answer = Answer(response.status, int(response.headers["retry-after"] or 0))
    if not streams:
        wait_until(link, until)
        value = json.loads(response.read())
        if response.status == 200:
            answer.choices, answer.error = whole(value, question)
        return answer
    begin, parts, ends, is_done = time.monotonic(), {}, {}, False
    while True:
        wait_until(link, until)
        line = response.readline()
        if not line:
            break
        if not line.startswith(b"data: "):
            continue
        is_done = line == b"data: [DONE]\n"
        chunk = {} if is_done else json.loads(line[6:])
        if "error" in chunk:
            answer.error = f"an error in the stream: {chunk['error']}"
            return answer
        for choice in chunk.get("choices", ()):
            text = choice["delta"].get("content") if "delta" in choice else choice["text"]
            parts.setdefault(choice["index"], []).append(text or "")
            ends[choice["index"]] = choice["finish_reason"] or ends.get(choice["index"])
        if question.slow and time.monotonic() - begin < SLOW_FOR:
            time.sleep(0.5)
    answer.choices = tuple(("".join(parts[i]), ends[i]) for i in sorted(parts))
    answer.error = wrong_count(answer.choices, question) or (None if is_done else "the stream has no end")
    return answer


def whole(value, question):
    """The choices of an answer that is no stream, and what is wrong with it."""
    if question.path == EMBEDDINGS:
        vectors = [one["embedding"] for one in value["data"]]
        is_sound = len(vectors) == len(question.body["input"]) and all(map(math.isfinite, sum(vectors, [])))
        return (), None if is_sound else "vectors are missing or not finite"
    choices = tuple(
        (choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"])
        for choice in value["choices"]
    )
    return choices, wrong_count(choices, question)


def wrong_count(choices, question):
    due = question.body.get("n", 1)
    return None if len(choices) == due and all(end for _, end in choices) else f"not {due} whole choices"


# -- the node -------------------------------------------------------------------------------------


class Gone(Exception):
    """The node is not there, or not as it has to be for the soak to begin."""


class Node:
    """A node as a child process."""

    def __init__(self, binary, folder):
        self.folder = folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KWAAINET_", "XDG_")) and not name.lower().endswith("_proxy")
        }
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        ours = {"HOME": str(folder), "XDG_CACHE_HOME": cache, "KWAAINET_ENGINE_KV_MIB": str(KV_MIB)}
        command = [binary.resolve(), "serve", "--listen", "127.0.0.1:0", "--data-dir", folder / "data"]
        command += ["--model", CHAT_MODEL, "--model", EMBEDDER]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=kept | ours, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.host, self.port = "", 0

    def await_ready(self):
        found = await_true(lambda: READY.search(self.log()) or self.process.poll() is not None, READY_MAX)
        if not isinstance(found, re.Match):
            raise Gone(f"it did not get ready:\n{self.log()}")
        self.host, self.port = found[1], int(found[2])

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def metrics(self):
        """Each line of /metrics, its labels part of its name."""
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as link:
            link.request("GET", "/metrics")
            reply = link.getresponse()
            text = reply.read().decode()
        if reply.status != 200:
            raise Gone(f"/metrics answers {reply.status}")
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        pairs = (line.rsplit(" ", 1) for line in lines)
        return {name.removeprefix("kwaainet_"): float(value) for name, value in pairs}


@contextmanager
def running(binary):
    with tempfile.TemporaryDirectory(prefix="kwaainet-soak-") as folder:
        node = Node(binary, Path(folder))
        try:
            node.await_ready()
            yield node
        except Gone as error:
            sys.exit(str(error))
        finally:
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait(10)


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


def outcomes(node):
    found = Counter()
    for name, value in node.metrics().items():
        if name.startswith("jobs_total{"):
            found[name.split('outcome="')[1].split('"')[0]] += int(value)
    return found


def recorded(node):
    with closing(sqlite3.connect(node.folder / "data" / "node.db")) as database:
        return Counter(dict(database.execute("SELECT outcome, count(*) FROM receipts GROUP BY outcome")))


def gauges(node):
    metrics = node.metrics()
    return {name: int(metrics[name]) for name in GAUGES}


def is_idle(node):
    """Whether no job is anywhere inside, and no sequence holds a page."""
    return not any(gauges(node).values())


def resident(node):
    status = Path(f"/proc/{node.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


def threads_of(node):
    """Threads by name; those of a pool count as one, or as what they are where they are too many."""
    names = Counter()
    for task in Path(f"/proc/{node.process.pid}/task").iterdir():
        try:
            names[(task / "comm").read_text(encoding="ascii").strip()] += 1
        except OSError:
            pass  # It ended while we looked.
    for pool, size in POOLS.items():
        members = [name for name in names if name.startswith(pool)]
        count = sum(names.pop(name) for name in members)
        names[pool] = 1 if count <= size else count
    return names


def await_true(look, seconds):
    """Looks again and again until it sees something true, and gives that; or what it saw last."""
    until = time.monotonic() + seconds
    while True:
        seen = look()
        if seen or time.monotonic() >= until:
            return seen
        time.sleep(0.1)


def note(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
