"""Jobs, chunks, transcripts, audio and storage: everything that knows no engine, no queue worker and no HTTP."""
