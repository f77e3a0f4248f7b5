"""What `qwq new` writes: an environment, a tool, and the test of each, as modules that run.

The name that is asked for takes the place of `template_env` and `template_tool`, and of the names
made of them. A line without a blank in front of it begins a statement; keep lines below 80, so that
they stay as a formatter would write them with a longer name.
"""
