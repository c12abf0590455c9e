"""The job kinds. Declarations are light to import; heavy libraries load in the job's process only."""
