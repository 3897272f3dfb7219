"""What the gateway asks the evaluator that holds an agent's state: before a call, as of now."""
