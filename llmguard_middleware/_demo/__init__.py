"""What `llmguard demo` runs: one scenario, the same for every framework.

An adapter takes part by an entry point `llmguard_middleware.demo` that names a function `build(scenario) -> App`.
"""
