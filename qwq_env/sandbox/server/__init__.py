"""The code-execution server: the sandbox over HTTP, for machines that have none of their own."""
