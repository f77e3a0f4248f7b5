"""`qwq/FunctionCall-v0`: see `environment`."""
