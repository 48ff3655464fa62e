"""Facts about compiled files, without judgement: ELF, offload bundles, kernels."""
