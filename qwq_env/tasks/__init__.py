"""Where tasks come from: what `tasks=` may name, and the rows of published data sets."""
