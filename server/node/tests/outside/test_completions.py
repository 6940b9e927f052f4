"""Text completions, the older endpoint, through the official SDK."""

from __future__ import annotations

import pytest
from openai import BadRequestError

from support.ask import COUNT, complete, tokens
from support.node import SMOL


def test_a_continuation_has_openais_shape_and_makes_sense(client):
    answer = complete(client)
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert answer.model == SMOL
    (choice,) = answer.choices
    assert choice.text.startswith(" four, five")
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.prompt_tokens == len(tokens(client, COUNT, add_special_tokens=True))


def test_without_a_limit_there_are_sixteen_tokens(client):
    answer = client.completions.create(model=SMOL, prompt=COUNT, temperature=0)
    assert answer.usage.completion_tokens == 16


def test_several_prompts_are_answered_in_order_as_if_alone(client):
    prompts = [COUNT, "Monday, Tuesday,"]
    alone = [complete(client, prompt=prompt) for prompt in prompts]
    together = complete(client, prompt=prompts)
    assert [choice.index for choice in together.choices] == [0, 1]
    assert [c.text for c in together.choices] == [a.choices[0].text for a in alone]
    assert together.usage.prompt_tokens == sum(a.usage.prompt_tokens for a in alone)
    assert together.usage.completion_tokens == sum(a.usage.completion_tokens for a in alone)


def test_several_prompts_share_a_stream(client):
    options = {"prompt": [COUNT, "Monday, Tuesday,"], "n": 2, "temperature": 1, "seed": 3}
    whole = complete(client, **options)
    texts, reasons, usage = [""] * 4, [None] * 4, []
    stream = complete(client, **options, stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        usage.append(chunk.usage)
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = reasons[choice.index] or choice.finish_reason
    assert texts == [choice.text for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert usage[-1] == whole.usage
    assert not any(usage[:-1])


def test_a_prompt_of_token_ids_is_the_same_prompt(client):
    ids = tokens(client, COUNT, add_special_tokens=True)
    assert complete(client, prompt=ids).choices == complete(client).choices
    assert complete(client, prompt=[ids, ids]).choices[1].text == complete(client).choices[0].text


def test_stop_texts_end_a_continuation(client):
    whole = complete(client).choices[0].text
    assert ", five" in whole
    choice = complete(client, stop=["never said", ", five"]).choices[0]
    assert (choice.text, choice.finish_reason) == (" four", "stop")


def test_a_stop_text_at_the_very_start_leaves_nothing(client):
    choice = complete(client, stop=" four").choices[0]
    assert (choice.text, choice.finish_reason) == ("", "stop")


def test_n26_the_prompt_comes_first_if_it_is_asked_for(client):
    plain = complete(client)
    whole = complete(client, echo=True)
    assert whole.choices[0].text == COUNT + plain.choices[0].text
    assert whole.usage == plain.usage
    pieces = complete(client, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == whole.choices[0].text


def test_n26_an_echoed_prompt_is_scored(client):
    """As its tokens were when the model said them itself."""
    made = complete(client, logprobs=2, max_tokens=16).choices[0]
    # Token ids, so that the text is not cut into other tokens than it was made of.
    said = [id for token in made.logprobs.tokens for id in tokens(client, token)]
    assert len(said) == 16
    prompt = tokens(client, COUNT, add_special_tokens=True) + said
    answer = complete(client, prompt=prompt, echo=True, logprobs=2, max_tokens=0)
    (scored,) = answer.choices
    assert scored.text == COUNT + made.text == "".join(scored.logprobs.tokens)
    assert scored.finish_reason == "length"
    assert answer.usage.completion_tokens == 0
    assert answer.usage.prompt_tokens == len(prompt) == len(scored.logprobs.tokens)
    assert scored.logprobs.token_logprobs[0] is None
    assert scored.logprobs.top_logprobs[0] is None
    assert all(score <= 0 for score in scored.logprobs.token_logprobs[1:])
    assert scored.logprobs.tokens[-16:] == made.logprobs.tokens
    assert scored.logprobs.token_logprobs[-16:] == made.logprobs.token_logprobs
    assert sum(scored.logprobs.token_logprobs[-16:]) == sum(made.logprobs.token_logprobs)
    assert scored.logprobs.top_logprobs[-16:] == made.logprobs.top_logprobs
    for token, offset in zip(scored.logprobs.tokens, scored.logprobs.text_offset, strict=True):
        assert scored.text[offset:].startswith(token)


def test_n26_an_echo_may_be_scored_streamed_and_said_by_several(client):
    options = {"prompt": f"{COUNT} <|im_end|> é\U0001f600", "echo": True, "logprobs": 1, "n": 2}
    options |= {"temperature": 1, "seed": 5, "max_tokens": 4}
    whole = complete(client, **options)
    texts, lists = ["", ""], [[], []]
    for chunk in complete(client, **options, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.logprobs:
                found = choice.logprobs
                lists[choice.index] += zip(
                    found.tokens, found.token_logprobs, found.text_offset, strict=True
                )
    for choice, text, items in zip(whole.choices, texts, lists, strict=True):
        assert text == choice.text
        assert text.startswith(options["prompt"])
        found = choice.logprobs
        expected = zip(found.tokens, found.token_logprobs, found.text_offset, strict=True)
        assert items == list(expected)
        assert [i for i, item in enumerate(items) if item[1] is None] == [0]
    # Only what is generated is drawn at random.
    size = whole.usage.prompt_tokens
    first, second = (choice.logprobs for choice in whole.choices)
    assert first.token_logprobs[:size] == second.token_logprobs[:size]


def test_n26_without_scores_nothing_is_computed(client):
    alone = complete(client, echo=True, max_tokens=0)
    assert alone.choices[0].text == COUNT
    assert alone.choices[0].finish_reason == "length"
    assert alone.usage.completion_tokens == 0


def test_n26_the_best_of_several_is_given_and_all_are_counted(client):
    options = {"temperature": 1.5, "seed": 11, "logprobs": 0, "max_tokens": 6}
    every = complete(client, n=4, **options)
    best = complete(client, n=2, best_of=4, **options)

    def mean(choice):
        scores = choice.logprobs.token_logprobs
        return sum(scores) / len(scores)

    ranked = sorted(every.choices, key=mean, reverse=True)
    assert [c.text for c in best.choices] == [c.text for c in ranked[:2]]
    assert [c.index for c in best.choices] == [0, 1]
    assert best.usage == every.usage


def test_n26_a_suffix_needs_fill_in_tokens(client):
    """This model has none, and says so instead of continuing."""
    with pytest.raises(BadRequestError) as refused:
        complete(client, suffix="five.")
    assert refused.value.param == "suffix"
