"""A tool's schema: made of a function's text, validated, and held against a call's arguments."""
