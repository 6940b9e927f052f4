"""LangChain's own standard tests of a chat model, for its OpenAI class and nothing but a URL.

Left out are the tests of what the node does not do (images, audio, documents) and those that pass or fail
by what a small model finds to say: that it calls a tool of its own accord, or takes the right argument out
of a sentence. That it calls at all where it has to, and in which form, is asked here and in `test_tools`.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from support.node import SMOL, Node

NOT_DONE = (
    "test_anthropic_inputs",
    # Would need a second chat model.
    "test_ainvoke_with_model_override",
    "test_astream_with_model_override",
    "test_invoke_with_model_override",
    "test_stream_with_model_override",
    "test_audio_inputs",
    "test_image_inputs",
    "test_image_tool_message",
    "test_pdf_inputs",
    "test_pdf_tool_message",
    "test_stream_time",
)
WIT = (
    "test_agent_loop",
    "test_bind_runnables_as_tools",
    "test_json_mode",
    "test_tool_calling",
    "test_tool_calling_async",
    # How often it calls is its own choice.
    "test_tool_calling_with_no_arguments",
    "test_unicode_tool_call_integration",
)


class TestStandard(ChatModelIntegrationTests):
    """What is set to None below is not collected; the suite's own check would complain of that."""

    test_no_overrides_DO_NOT_OVERRIDE = None

    @pytest.fixture(autouse=True)
    def _where(self, node: Node) -> None:
        self.url = f"{node.url}/v1"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        where = {"model": SMOL, "base_url": self.url, "api_key": "none"}
        # Greedy, a small model repeats itself within a text that no schema ends.
        how = {"temperature": 0, "frequency_penalty": 1.0, "max_tokens": 1000, "max_retries": 0}
        return {**where, **how, "use_responses_api": False, "stream_usage": True}

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


for name in (*NOT_DONE, *WIT):
    assert hasattr(ChatModelIntegrationTests, name), f"the suite has no {name} any more"
    setattr(TestStandard, name, None)
