"""One run of a job: the supervisor and worker processes, and how their exit becomes an outcome."""
