"""The Jupyter server extension: the native API, live streams, the OpenAI-compatible door to served models."""
