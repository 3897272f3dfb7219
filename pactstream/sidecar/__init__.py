"""`pactstream sidecar`: takes events on this machine, keeps them on disk, sends them on to the gateway."""
