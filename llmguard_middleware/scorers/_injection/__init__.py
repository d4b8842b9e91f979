"""Attempts to override an application's instructions: what they look like, and how they are disguised."""
