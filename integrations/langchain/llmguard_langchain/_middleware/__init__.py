"""GuardMiddleware: a guard around an agent. Nothing is imported here, since all but the state needs `langchain`."""
