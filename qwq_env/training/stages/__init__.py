"""Stages: the parts of a run, each of which reads one sealed policy and writes one.

`stage.py` says where each lies and what it starts from, without loading anything; `gates.py` what
it may cost; `watch.py` evaluates while it trains. `training/run.py` runs one.
"""
