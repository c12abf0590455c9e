"""The Jupyter server extension: the native API, live streams, the OpenAI-compatible API of served models."""
