"""What each agent did for each tenant in each minute: `telemetry.evaluated` to `behaviour.windows`."""
