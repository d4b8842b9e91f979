"""What the LlamaIndex benchmarks share."""
