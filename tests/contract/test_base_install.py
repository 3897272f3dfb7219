"""`pip install pactstream` and nothing else: a counterparty has all it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.journal_tools import sent
from tests.published_ledger import published, write
from tests.trust_oracle import AGENT, ENTRIES, ISSUER, serving

LOG = published(ENTRIES[:300], ())
# What is installed beside the base install cannot be imported: its absence is what this is about.
ALONE = """
import json, sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
FORBIDDEN = frozenset(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Absent())
"""
CLIENT = """
from pactstream.trust import Policy, TrustClient, decide
issuer, url, agent, keys, state = sys.argv[2:]
with TrustClient(issuer=issuer, url=url, jwks=json.loads(keys), state_dir=Path(state)) as client:
    decision = decide(client.get(agent), Policy.parse({"minTier": "silver", "minConfidence": 0.5}))
print(json.dumps([decision.allow, decision.reasons]))
"""
JOURNAL = """
from pactstream.journal.journal import Journal
path, event, event_id = sys.argv[2:]
Journal(Path(path), 1 << 20).note([(event.encode(), event_id)], 0)
"""
COMMANDS = """
from pactstream.cli.app import main
sys.argv = ["pactstream", *sys.argv[2:]]
main()
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def base() -> set[str]:
    """The distributions that the base install brings, dependencies of dependencies included."""
    found: set[str] = set()
    waiting = ["pactstream"]
    while waiting:
        name = normal(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            wanted = requires(name) or []
        except PackageNotFoundError:
            continue  # not for this platform or version of Python
        for one in map(Requirement, wanted):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                waiting.append(one.name)
    return found


def absent() -> str:
    ours = base()
    names = packages_distributions()
    return json.dumps([top for top, owners in names.items() if not ours & set(map(normal, owners))])


def alone(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", ALONE + code, absent(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_services_are_not_in_the_base_install() -> None:
    assert {"msgspec", "urllib3", "joserfc"} <= base()
    assert {"fastapi", "confluent_kafka", "clickhouse_connect", "aiohttp"} <= set(json.loads(absent()))


def test_a_counterparty_verifies_and_decides(tmp_path: Path) -> None:
    with serving(tmp_path) as oracle:
        oracle.show(LOG, recent_violations=())
        keys = json.dumps(oracle.jwks)
        said = json.loads(alone(CLIENT, ISSUER, oracle.url, str(AGENT), keys, str(tmp_path / "seen")))
        assert said == [True, []]
        oracle.show(LOG, standing="paused", recent_violations=())
        said = json.loads(alone(CLIENT, ISSUER, oracle.url, str(AGENT), keys, str(tmp_path / "seen")))
        assert said == [False, ["the agent is paused"]]


def test_a_command_says_which_extra_it_needs() -> None:
    command = [sys.executable, "-c", ALONE + COMMANDS, absent(), "mcp", "--key", "k", "--agent", str(AGENT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.endswith("pip install 'pactstream[mcp]'\n")


def test_its_commands_are_there(tmp_path: Path) -> None:
    with serving(tmp_path) as oracle:
        oracle.show(LOG, recent_violations=())
        (tmp_path / "keys.json").write_text(json.dumps(oracle.jwks))
        (tmp_path / "policy.json").write_text('{"minTier": "silver"}')
        where = ["--url", oracle.url, "--issuer", ISSUER]
        pinned = ["--jwks", str(tmp_path / "keys.json"), "--policy", str(tmp_path / "policy.json")]
        assert alone(COMMANDS, "trust", "decide", str(AGENT), *where, *pinned) == "allowed\n"
        assert "gold, confidence 0.81" in alone(COMMANDS, "score", "explain", str(AGENT), *where)


def test_a_sender_keeps_a_journal_and_compares_it(tmp_path: Path) -> None:
    write(LOG.files, tmp_path / "files")
    journal, event = str(tmp_path / "sent.jsonl"), sent(1)
    alone(JOURNAL, journal, json.dumps(event), event["eventId"])
    where = ["--url", str(tmp_path / "files"), "--state", str(tmp_path / "seen")]
    said = alone(COMMANDS, "verify", "sent", journal, *where, "--at", "1970-01-01T00:00:01Z")
    assert said.startswith("1 event acknowledged: 0 in the ledger as sent")
