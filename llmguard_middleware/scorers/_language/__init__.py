"""Which languages a text is in: by its script where that tells, else by py3langid's model."""
