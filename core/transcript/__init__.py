"""From the chunks' texts to one transcript, and to what it can be written as."""
