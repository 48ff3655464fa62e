"""Prepare a request with a picture as a decode worker does, once for one answer and once for
several, and print what came of each.

Run by the stack's Python. The model's family is all that the preparation asks of the model here, so
none is loaded.
"""

from __future__ import annotations

import asyncio
import json
import sys

from dynamo.common.constants import DisaggregationMode
from dynamo.llm.exceptions import InvalidArgument
from dynamo.vllm.multimodal_utils.model import ModelFamily
from dynamo.vllm.multimodal_utils.request_processor import VllmMultimodalRequestProcessor

HANDOFF = {"image_grid_thw": [[1, 2, 2]], "embeddings_shape": [1, 8]}


async def prepared(answers: int) -> str:
    """Return what kinds of data a decode worker gets for that many answers, or why it refuses
    them.
    """
    processor = VllmMultimodalRequestProcessor.__new__(VllmMultimodalRequestProcessor)
    processor._model_family = ModelFamily.QWEN_VL
    request = {
        "token_ids": [1, 2, 3],
        "sampling_options": {"n": answers},
        "prefill_result": {"disaggregated_params": {"embedding_params": HANDOFF}},
    }
    try:
        result = await processor.prepare_input(
            request, "a request", None, DisaggregationMode.DECODE
        )
    except InvalidArgument as error:
        return f"refused: {error}"
    return ",".join(result.multi_modal_data)


sys.stdout.write(json.dumps({answers: asyncio.run(prepared(answers)) for answers in (1, 4)}))
