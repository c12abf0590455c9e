"""The job kinds. A spec is light and any face may import it; the work behind it runs in the job's own process only."""
