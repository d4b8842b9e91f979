"""What the LangChain benchmarks share."""
