"""The command line: parsing and printing only. Everything heavy is imported inside the command that needs it."""
