"""Stored episodes as other tools read them: Hugging Face, Inspect, agent trajectories (ATIF)."""
