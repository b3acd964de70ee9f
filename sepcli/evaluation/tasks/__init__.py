"""Tasks of ``sepcli.evaluation.run``; ``choice.task_of`` chooses one by the data."""
