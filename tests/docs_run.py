"""Runs the documentation's commands on a demo that is up, as somebody would who reads along."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from pactstream import atlas
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack.onboarding import TENANT_ID
from pactstream.devstack.services import DEPLOYMENT
from pactstream.fetch import fetch
from pactstream.kafka import topics
from pactstream.settings import ClickHouseSettings
from tests.cli_tools import Run
from tests.docs_commands import ROOT, Command
from tests.stack import eventually

NOT_ZERO: Final = {"pact diff": 1, "pact test": 1}
"""What ends with another code than 0 in the pages' own examples: pacts differ, a call is not as expected."""
MORE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    # One broker, and topics that are there already.
    "topics apply": {"--partitions": ("4",), "--replication": ("1",)},
    # Where a person would be asked.
    "pages accept": {"--yes": ()},
    "erase": {"--yes": ()},
    # The demo's oracle has another name than its address.
    "trust get": {"--issuer": (DEPLOYMENT,)},
    "audit verify": {"--issuer": (DEPLOYMENT,)},
    "verify disclosure": {"--issuer": (DEPLOYMENT,)},
    "score explain": {"--issuer": (DEPLOYMENT,)},
    "verify agent": {"--issuer": (DEPLOYMENT,)},
    "trust decide": {"--url": ("https://oracle.example",)},
}
"""Options that this demo needs beside those of the page."""
_OTHER_SESSION = """
SELECT DISTINCT session_id FROM room_events WHERE agent_id = {agent:UUID} AND session_id != ''
AND session_id NOT IN (SELECT session_id FROM room_events WHERE event_id = {event:UUID}) LIMIT 1
"""
"""One that the pages can erase, and still have the event of their examples."""


@dataclass
class Reader:
    """Somebody with a demo: where it is, and what it printed; files of the examples are in `folder`."""

    shown: str
    folder: Path
    run: Run
    patch: pytest.MonkeyPatch
    done: set[tuple[str, ...]] = field(default_factory=set)
    words: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gateway = self._printed(r"ingest docs +(\S+)/docs")
        self.oracle = self._printed(r"trust report +(\S+)/api/")
        self.agent_key = self._printed(r"send as Atlas +(pk_live_\S+)")
        self.key = self._printed(r"log in with +(pk_live_\S+)")
        self.admin_key = self._printed(r"admin key +(adm_\S+)")
        for name, value in re.findall(r"(PACTSTREAM_\w+)=(\S+)", self._printed(r"operate it +export (.*)")):
            self.patch.setenv(name, value)
        self.patch.setenv("PACTSTREAM_API_KEY", self.key)
        self.patch.setenv("PACTSTREAM_GATEWAY_URL", self.gateway)
        self.patch.setenv("PACTSTREAM_ORACLE_URL", self.oracle)
        self.patch.setenv("PACTSTREAM_VERIFY_STATE", str(self.folder / "seen"))

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.shown)
        assert found, pattern
        return found[1]

    def prepare(self) -> None:
        """The files and names that the pages take for granted."""
        document = json.loads(atlas.pact_document())
        document["conditions"][0]["parameterBinding"]["rules"][1]["maxAmount"]["amount"] = "2000"
        calls = re.search(r"```json\n(\{\"tool\".*?)```", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL)
        assert calls
        policy = {"minConfidence": 0.0, "minSampleSize": 1}
        violation = self._violation()
        for name, content in {
            "old.json": atlas.pact_document().encode(),
            "new.json": json.dumps(document).encode(),
            "calls.jsonl": calls[1].encode(),
            "policy.json": json.dumps(policy).encode(),
            "keys.json": fetch(f"{self.oracle}/.well-known/jwks.json"),
            "ledger-keys": fetch(f"{self.oracle}/ledger/keys"),
            "event.proof": fetch(f"{self.oracle}/api/v1/ledger/events/{violation}/proof"),
        }.items():
            (self.folder / name).write_bytes(content)
        with ClickHouse(ClickHouseSettings()) as database:
            ((session,),) = database.rows(_OTHER_SESSION, {"agent": atlas.AGENT_ID, "event": violation})
        self.words = {
            "AGENT": atlas.AGENT_ID,
            "$AGENT": atlas.AGENT_ID,
            "TENANT": TENANT_ID,
            "EVENT": violation,
            "SESSION": str(session),
            # Four partitions on one broker, in place of twelve on three.
            "12": "4",
            "3": "1",
            "oracle.example": DEPLOYMENT,
            "pactstream.example": DEPLOYMENT,
            "https://oracle.example": self.oracle,
            "https://trust.example.org": self.oracle,
            "http://127.0.0.1:8071": self.oracle,
            "/var/lib/auditor": str(self.folder / "auditor"),
            "http://127.0.0.1:8090": self.oracle,
            "http://127.0.0.1:8080": self.gateway,
            "http://127.0.0.1:9101": self.gateway,
        }
        self._spoil()

    def _violation(self) -> str:
        url = f"{self.oracle}/api/v1/trust/{atlas.AGENT_ID}/violations"
        return str(json.loads(fetch(url))["violations"][0]["eventId"])

    def _spoil(self) -> None:
        """A record in each of two partitions that nobody can read: dead letters."""
        producer = Producer({"bootstrap.servers": os.environ["PACTSTREAM_KAFKA_BOOTSTRAP"]})
        for partition in (0, 1):
            producer.produce(topics.BATCHES, b"\xff", partition=partition)
        producer.flush(10)
        eventually(lambda: len(self._letters()) == 2, timeout=30)

    def _letters(self) -> list[str]:
        """Where open letters are."""
        lines = self.run("dlq", "list").out.splitlines()
        return [line.split()[1] for line in lines if " open " in line]

    def _live(self, word: str, path: str) -> str:
        """What a placeholder stands for by now."""
        match word:
            case "PAGE":
                pages = [one["pageId"] for one in self._ask("/api/v1/pages")["pages"]]
                page = str(next(one for one in sorted(pages) if one not in self.answered))
                if path in ("pages accept", "pages block", "pages rotate"):
                    self.answered.add(page)
                return page
            case "ROUTE":
                return str(self._ask("/api/v1/paging/routes")["routes"][-1]["routeId"])
            case "0:17" | "1:3":
                return eventually(self._letters, timeout=30)[0]
            case "KEY-ID":
                self.run("keys", "rotate", "--for", "ledger")
                return next((self.folder / "scratch" / "retired").glob("ledger.*")).name.split(".")[1]
        return self.words.get(word, word)

    def _ask(self, path: str) -> Any:
        """The gateway's answer to who is on call."""
        return json.loads(fetch(self.gateway + path, headers={"X-Pact-Key": self.key}))

    def _scratch_keys(self) -> Path:
        """Rotate a copy: the demo's own keys are to go on signing."""
        copy = self.folder / "scratch"
        if not copy.exists():
            shutil.copytree(os.environ["PACTSTREAM_KEY_DIR"], copy)
        return copy

    def curl(self, command: Command) -> str:
        """Run it in a shell, as it stands; what is wrong, such as a status of 400 or more, or nothing."""
        # Where curl looks for its configuration: a page need not say how a test wants it.
        (self.folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nmax-time = 20\n")
        names = {
            "CURL_HOME": str(self.folder),
            "GATEWAY": self.gateway,
            "ORACLE": self.oracle,
            "ADMIN_KEY": self.admin_key,
            "TENANT": "11111111-1111-4111-8111-111111111111",
            "AGENT": "22222222-2222-4222-8222-222222222222",
            "ISSUER": "33333333-3333-4333-8333-333333333333",
            "ID": "1",  # of a schema
        }
        ran = subprocess.run(
            ["/bin/sh", "-c", command.text],
            cwd=self.folder,
            env=os.environ | names,
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if ran.returncode == 0 else f"{command}: {ran.returncode}: {ran.stdout}{ran.stderr}"

    def follow(self, command: Command, path: str) -> str:
        """Run it, unless the same command was run with the same options; what is wrong, or nothing."""
        words = command.words[1:]
        options = tuple(word for word in words if word.startswith("--"))
        if (path, *options) in self.done:
            return ""
        self.done.add((path, *options))
        more = [
            one for name, rest in MORE.get(path, {}).items() if name not in options for one in (name, *rest)
        ]
        with self.patch.context() as only_here:
            for name, value in command.variables.items():
                only_here.setenv(name, value)
            if path.startswith(("keys ", "witness ", "mirror ")):
                only_here.setenv("PACTSTREAM_KEY_DIR", str(self._scratch_keys()))
            code, out, err = self.run(*[self._live(word, path) for word in (*words, *more)])
        if command.target:
            (self.folder / command.target).write_text(out)
        return "" if code == NOT_ZERO.get(path, 0) else f"{command}: {code}: {out}{err}"
