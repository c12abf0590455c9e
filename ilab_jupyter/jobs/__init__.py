"""The job engine: a job is a directory with a row in a database. No machine learning, no Jupyter."""
