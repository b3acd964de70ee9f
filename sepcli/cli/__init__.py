"""The command line: options, progress, printing and exit codes. The one room that talks to a person."""
