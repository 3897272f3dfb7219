"""Pages: what an agent's owners are called for, where that goes, and what they may answer."""
