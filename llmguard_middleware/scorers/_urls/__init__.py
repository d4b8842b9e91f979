"""Where texts point to: URLs as browsers and renderers read them, and the hosts that they lead to."""
