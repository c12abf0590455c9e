"""InstructLab's config.yaml: sections, text with comments, hardware profiles, and resolution of arguments."""
