"""Looking at environments and policies from outside: audits, benchmarks, reports."""
