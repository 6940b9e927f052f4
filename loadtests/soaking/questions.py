"""What the clients ask for: a few questions with one answer for ever, and all that is drawn anew each time."""

from dataclasses import dataclass

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
# Each about one token.
WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service "
    "friend father power hour game line end member law car city name team minute idea body back parent face"
).split()


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


def next_question(load, chance):
    # A slow reader comes seldom, for he stays ten times as long as others.
    shared = {exact: 20, slow_reader: 1, fresh_prefix: 4}
    kinds = shared | {fresh_chat: 4, fresh_long: 2, embedding: 4, bad: 2, too_long: 1}
    (kind,) = chance.choices(list(kinds), list(kinds.values()))
    return kind(load, chance) if kind in shared else kind(chance)


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
    return embed([words(chance, chance.randrange(1, 64)) for _ in range(chance.randrange(1, 9))])


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


def embed(texts):
    return Question("embedding", EMBEDDINGS, {"model": EMBEDDER, "input": texts})


def completion(name, prompt, tokens):
    body = {"model": CHAT_MODEL, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    return Question(name, COMPLETIONS, body)


def words(chance, count):
    return " ".join(chance.choices(WORDS, k=count))
