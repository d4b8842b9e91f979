"""What the scorers that ask a vendor's service share: one client per process, texts in pieces, failures in words."""
