"""Let vLLM's front half take a request for three answers and cancel it, and print what the children
were given and what is left of them.

Run by the stack's Python; no engine is started.
"""

from __future__ import annotations

import json
import sys
from copy import copy

from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector
from vllm.v1.engine.parallel_sampling import ParentRequest

TRANSFER = {"do_remote_prefill": True}
sampling = SamplingParams(
    n=3,
    detokenize=False,
    output_kind=RequestOutputKind.DELTA,
    extra_args={"kv_transfer_params": TRANSFER},
)
given = {
    "request_id": "inside",
    "external_req_id": "outside",
    "prompt_token_ids": [1, 2],
    "sampling_params": sampling,
    "arrival_time": 0.0,
}
unused = ("mm_features", "pooling_params", "lora_request", "cache_salt", "data_parallel_rank")
request = EngineCoreRequest(**given, **dict.fromkeys(unused))
processor, parent = OutputProcessor(None, log_stats=False), ParentRequest(request)
answers = RequestOutputCollector(RequestOutputKind.DELTA, request.request_id)
transfers = []
for index in range(sampling.n):
    child = copy(request)
    child.request_id, child.sampling_params = parent.get_child_info(index)
    transfers.append((child.sampling_params.extra_args or {}).get("kv_transfer_params"))
    processor.add_request(child, None, parent, index, answers)
aborted = processor.abort_requests(["outside"], internal=False)
left = (
    len(processor.request_states) + len(processor.parent_requests) + len(processor.external_req_ids)
)
sys.stdout.write(json.dumps({"transfers": transfers, "aborted": sorted(aborted), "left": left}))
