"""The job kinds. A spec is light, any face may import it; the work behind it runs in the job's process."""
