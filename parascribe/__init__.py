"""The command line and the wiring of settings to parts."""
