"""Write the configurations of the models that vLLM's tests name, as folders of those names, so that
nothing is looked up on a network.

Sizes are those that the models are known by; there are no weights, and the tests want none.
"""

from __future__ import annotations

from transformers import OPTConfig

OPTConfig().save_pretrained("facebook/opt-125m")  # the class's own defaults are this model
OPTConfig(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    ffn_dim=4096,
    word_embed_proj_dim=512,
    do_layer_norm_before=False,
).save_pretrained("facebook/opt-350m")
