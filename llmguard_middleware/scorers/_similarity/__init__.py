"""What the scorers of similarity share: the reference that an answer is compared with."""
