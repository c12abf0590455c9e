"""Inference: the engine that answers, and the OpenAI API it speaks."""
