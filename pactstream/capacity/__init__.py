"""What a deployment of a given size needs, from measured costs."""
