"""Where every tensor lies: lifetimes, offsets in an arena, and a verifier of both."""
