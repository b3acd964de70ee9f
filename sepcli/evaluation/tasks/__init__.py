"""What ``sepcli.evaluation.run`` evaluates; see its ``Task``."""
