"""A policy small enough to learn tool use on a laptop in minutes, made from nothing."""
