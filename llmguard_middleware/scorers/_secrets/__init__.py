"""Credentials: the formats of those who issue them, private keys, and what the words around a value say of it."""
