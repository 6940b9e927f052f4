"""Clients that come again and again, judge what they get, and leave when they like."""

import http.client
import random
import socket
import threading
from collections import Counter

from soaking.ask import ANSWER_MAX, ask
from soaking.node import note
from soaking.questions import fixed_questions, next_question, words

FAILURES_SHOWN = 20


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
