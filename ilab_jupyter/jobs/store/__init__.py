"""The rows of the jobs, in SQLite or PostgreSQL: tables, migrations, transactions."""
