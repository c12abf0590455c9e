"""The job service from the outside: over HTTP, and the handle that people hold."""
