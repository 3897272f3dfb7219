"""What the OpenAPI page shows of each answer."""

from __future__ import annotations

from typing import Any

NOTE = (
    "pactstream.example/ledger/0\n40\nSf3s5mTzWc5hZJ2m8mMhyQ2m4t0s0f8m5mB0aLr7m1U=\n\n"
    "— pactstream.example/ledger/0 GSm/7fEXOiO5dzzlsJfr1I3m2xXs2bUfZBqE7DlyA9lgvAxg188+cr2f…\n"
)
STREAM = """event: events
id: 41
data: [{"sequence":41,"type":"tool_call","tool":"transfer_funds","valid":true,"bound":true,…}]

event: summary
data: {"composite":96.0,"confidence":0.81,"bound":25,"valid":24,"treeSize":41,…}
"""
REPORT: dict[str, Any] = {
    "agentId": "76cf31d6-ffe3-4a5c-8748-021114aa8066",
    "agentStatus": "active",
    "version": 1,
    "reportId": "0196d2a4-f8ac-7c3e-9b21-5e0d4c3b2a19",
    "issuer": "pactstream.example",
    "issuedAt": "2026-05-13T10:00:41.500000Z",
    "expiresAt": "2026-05-13T10:05:41.500000Z",
    "score": {
        "composite": 78.5,
        "points": 785,
        "confidence": 0.62,
        "coveredWeight": 57,
        "tier": "gold",
        "sampleSize": 61.2,
        "method": 1,
        "windowDays": 90,
        "computedAt": "2026-05-13T10:00:41.000000Z",
        "dimensions": [
            {
                "name": "accuracy",
                "weight": 14,
                "score": 81.5,
                "confidence": 0.7,
                "sampleSize": 12,
                "inputs": {"evaluations": 12},
            }
        ],
        "attestations": [
            {
                "id": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b21",
                "kind": "bond_posting",
                "issuer": "bank.example",
                "issuedAt": "2026-05-01T00:00:00.000000Z",
                "expiresAt": "2026-08-01T00:00:00.000000Z",
                "sequence": 12,
                "claim": {"usd": 5000},
            }
        ],
    },
    "pactCompliance": {"bound": 25, "valid": 24, "rate": 0.96, "violationsBySeverity": {"critical": 1}},
    "sampleSize": 25,
    "observation": {
        "from": "2026-05-13T10:00:01.000000Z",
        "to": "2026-05-13T10:00:40.000000Z",
        "throughSequence": 40,
        "sessions": 5,
        "toolCalls": 25,
    },
    "recentViolations": [
        {
            "eventId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
            "sequence": 20,
            "occurredAt": "2026-05-13T10:00:20.000000Z",
            "receivedAt": "2026-05-13T10:00:20.140000Z",
            "tool": "transfer_funds",
            "severity": "critical",
            "violations": [{"paramPath": "destination", "rule": "allowList", "severity": "critical"}],
            "omitted": 0,
        }
    ],
    "ledger": {
        "head": {
            "log": "pactstream.example/ledger/0",
            "leafIndex": 39,
            "sequence": 40,
            "leafHash": "b99b315f6905030582d1e7f7a3f1b2f2d112570480b322d5c961f6eb802d3fbd",
        },
        "checkpoint": NOTE,
        "inclusionProof": ["6f1c2d…"],
    },
    "freshness": {
        "asOf": "2026-05-13T10:00:40.000000Z",
        "sequence": 40,
        "secondsSinceLastEvent": 1.5,
        "scoreLagSeconds": 0,
    },
    "signatures": [{"protected": "eyJhbGciOiJFUzI1NiIs…", "signature": "TZCTFy5EvznjR4_9…"}],
}
