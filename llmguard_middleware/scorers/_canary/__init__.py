"""Leaks of what only the application knows: a token in its prompt, and the prompt itself."""
