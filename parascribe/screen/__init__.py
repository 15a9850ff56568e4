"""What people see: tables, progress, transcripts on stdout or in files."""
