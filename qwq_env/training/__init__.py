"""From an environment to a trained policy: rollouts for TRL, recipes, whole runs."""
