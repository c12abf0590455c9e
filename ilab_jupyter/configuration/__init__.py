"""InstructLab's config.yaml: its sections, its text with all comments, profiles of machines, what obeys."""
