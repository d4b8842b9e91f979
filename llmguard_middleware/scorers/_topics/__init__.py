"""What a text is about: words that tell it, in English and Korean, and how much each says."""
