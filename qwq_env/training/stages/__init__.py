"""Stages: the parts of a run, each of which reads one sealed policy and writes one.

`stage.py` says where each lies and what it starts from, without loading anything. What one does,
in this order: `reward_phase.py`, `reinforcement.py`, and in between `evaluations.py`, with
`watch.py` while it trains and `gates.py` for what it may cost; `context.py` has what these share.
`training/run.py` runs one.
"""
