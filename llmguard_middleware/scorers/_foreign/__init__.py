"""Evaluators of other libraries as scorers, one library a file."""
