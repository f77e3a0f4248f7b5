"""How any server is asked: what its streams and its refusals mean, and the way to it."""
