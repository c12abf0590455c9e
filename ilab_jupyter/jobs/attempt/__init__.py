"""One run of a job: its supervisor and worker as processes, and what their end means."""
