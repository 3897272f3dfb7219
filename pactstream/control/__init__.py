"""The control plane as every process sees it: tenants with their agents and keys, and pacts."""
