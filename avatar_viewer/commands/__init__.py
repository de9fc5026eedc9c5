"""What the command line offers; nothing heavy is imported before a command runs."""
