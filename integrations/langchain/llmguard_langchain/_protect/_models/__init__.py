"""Guarded models. Nothing is imported here, since text models need a part of LangChain that few applications load."""
