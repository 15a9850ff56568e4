"""libwhisper in this process: found, tested, loaded, and asked for the text of one chunk."""
