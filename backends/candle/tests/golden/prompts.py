"""The prompts that make_llama.py continues, for each model.

They are kept apart from the script so that the list can grow without touching the
logic. Every text here was written for this test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Completion:
    name: str
    prompt: str


@dataclass(frozen=True)
class Chat:
    name: str
    messages: tuple[dict[str, str], ...]


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


FERRY = """\
The ferry to the outer islands left twice a day, once before the fog lifted and once after it had come \
back. Old Marit sold the tickets from a green booth at the end of the pier. She had done so since the \
winter when the harbour froze from wall to wall and the mail was carried over the ice in a sledge. She \
knew everyone who crossed, why they crossed, and how long they meant to stay, and she was wrong only \
about the last.

On the first morning of October a man came to her window with a wooden box under his arm. The box was \
tied with two kinds of string, as if one had not been trusted to do the work alone. He asked for a \
ticket to Skarholm and laid down a coin that had not been in use for eleven years.

"Nobody lives on Skarholm," said Marit. "There is a chapel without a roof, and there are forty sheep."

"Then I shall not be disturbed," said the man, and he smiled at the sheep that he could not see."""

FERRY_CONTINUED = (
    FERRY
    + """

She gave him the ticket and, because the coin was useless, asked him for a story instead. He thought \
about it while the ferry blew its horn. Then he told her about a clockmaker in a town far to the south, \
who had built a clock that ran slow whenever somebody lied within its hearing. At first the people were \
delighted with it. The judge carried it into the court, the priest set it on the altar, and the baker \
kept it on the counter, beside the scales. But a clock that runs slow is of little use, and within a \
year the town had fallen nine hours behind the rest of the country. Trains arrived in the night that \
had left in the night before. The cows were milked in the dark. Letters were answered a day before they \
were read, or so it seemed to those who wrote them.

"What became of the clock?" asked Marit, who had forgotten the queue that was growing behind the man.

"They sent it away," he said. "They were not angry. They only wanted somebody to take it to a place \
where nobody ever says anything." He lifted the box a little, and from inside it, very faintly, came a \
sound like a drop of water that falls into a deep well, and after a long time another one.

Marit looked at the tower of the harbour office, where the large clock said a quarter past eight. She \
looked at the small watch that her mother had left her, which said the same. Then she looked at the \
man, and she asked the question that she asked everybody, though she had never before been afraid of \
the answer. "And how long do you mean to stay?"

He opened his mouth, glanced down at the box, and closed it again. The horn blew for the second time. \
Behind him a woman with three baskets of apples began to complain about the draught. The man bowed, put \
the ticket in his hat, and walked along the wet planks to the boat without having said one more word, \
and Marit could not decide whether that was the most honest answer that she had ever been given or the \
only one that had ever been kept from her. When the fog came back that evening,"""
)


def lighthouse_log(days: int) -> str:
    """A long text that repeats its form but never its facts.

    A model that loses its far past, or mixes up positions beyond its sliding window, still
    knows the form and soon gets the day or the order of the facts wrong.
    """
    winds = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
    ships = ("the brig Anna", "two trawlers", "a grey cutter", "no ship at all", "the mail boat")
    chores = ("trimmed the wick", "painted the rail", "mended the stair", "cleaned the lens")
    lines = [
        f"Day {day}: wind from the {winds[day * 3 % 8]}, {day * 7 % 23 + 4} knots. "
        f"Saw {ships[day * 2 % 5]}. I {chores[day % 4]}."
        for day in range(1, days + 1)
    ]
    return "The log of the keeper\n\n" + "\n".join(lines) + f"\nDay {days + 1}: wind"


SMOLLM2 = (
    Chat("chat-plain", (user("What is the capital of France?"),)),
    Chat(
        "chat-system",
        (
            system("You are a pirate. Answer in one short sentence."),
            user("How is the weather today?"),
        ),
    ),
    Chat(
        "chat-multi-turn",
        (
            user("My name is Ottilie and I keep bees."),
            assistant("Nice to meet you, Ottilie! How many hives do you have?"),
            user("Seven. What was my name again?"),
        ),
    ),
    Chat(
        "chat-multi-turn-system",
        (
            system("You are a careful arithmetic tutor."),
            user("What is 7 times 8?"),
            assistant("7 times 8 is 56."),
            user("And if I add 4 to that?"),
            assistant("56 plus 4 is 60."),
            user("Now divide it by 12."),
        ),
    ),
    Chat(
        "chat-code",
        (user("Write a Python function `is_prime(n)` that returns True if n is prime. Only the code."),),
    ),
    Chat("chat-japanese", (user("日本の首都はどこですか？短く答えてください。"),)),
    Chat(
        "chat-emoji-accents",
        (user("Où est le café préféré de Zoë? 😀👩\u200d🚀 Ça va très bien, naïve façade!"),),
    ),
    Chat("chat-numbers", (user("Sort these numbers: 1024, 3.14159, -17, 0, 99999999, 1e-3"),)),
    Chat(
        "chat-ragged-whitespace",
        (user("\n\n  \tPlease list three colours.   \n - one per line\n\n\n   "),),
    ),
    Chat(
        "chat-long",
        (
            system("You summarise stories."),
            user(f"Summarise this story in one sentence.\n\n{FERRY}"),
        ),
    ),
    Completion("plain", "Once upon a time, in a small village by the sea,"),
    Completion("one-word", "Gravity"),
    Completion("trailing-space", "The three primary colours are red, "),
    Completion("counting", "1, 2, 3, 4, 5, 6, 7,"),
    Completion("python", 'def fibonacci(n):\n    """Return the n-th Fibonacci number."""\n    if n < 2:\n'),
    Completion("json", '{"name": "Ada Lovelace", "born": 1815, "languages": ['),
    Completion("markdown", "# Shopping list\n\n- apples\n- bread\n- "),
    Completion("french", "La tour Eiffel est située à"),
    Completion(
        "special-tokens",
        "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n",
    ),
    Completion("long", FERRY_CONTINUED),
)

GEMMA3 = (
    Completion("english", "The capital of France is"),
    Completion("german", "Die Donau ist ein Fluss, der"),
    Completion("french", "Il était une fois, dans un petit village,"),
    Completion("spanish", "Receta de tortilla de patatas:\n\n1. Pelar las patatas.\n2."),
    Completion("japanese", "日本で一番高い山は"),
    Completion("hindi", "भारत की राजधानी"),
    Completion("arabic", "عاصمة مصر هي"),
    Completion("rust", "/// Returns the larger of two numbers.\nfn max(a: i32, b: i32) -> i32 {\n    "),
    Completion("long-prose", FERRY_CONTINUED),
    Completion("long-log", lighthouse_log(56)),
)
