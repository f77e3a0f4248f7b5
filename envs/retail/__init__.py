"""`qwq/Retail-v0`: the agent of a shop, with a policy, a database, and a customer who answers."""
