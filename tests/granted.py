"""What ClickHouse lets each user do: `python -m tests.granted DIRECTORY USER`, statements as JSON on stdin.

The embedded engine keeps no users of its own, and knows nobody but `default`. But it enforces what a file
grants to that one: so there is a process for each user, in which `default` has that user's rights. The answer
is a list: for each statement null, or the code of ClickHouse's error.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape

DENIED = 497  # ACCESS_DENIED
ADMINISTRATOR = "administrator"
OPERATOR = "pactstream_operator"


def ask(directory: Path, user: str, grants: Sequence[str], statements: Sequence[str]) -> list[int | None]:
    """Each statement's error code, run as a user with these grants (`SELECT ON a.b`) on one data directory."""
    users = "".join(
        f"<{name}><password></password><networks><ip>::/0</ip></networks><profile>default</profile>"
        f"<quota>default</quota><grants>{queries(rights)}</grants></{name}>"
        # Views act as the operator, who made them.
        for name, rights in (("default", grants), (OPERATOR, ["ALL ON *.*"]))
    )
    text = f"<profiles><default/></profiles><quotas><default/></quotas><users>{users}</users>"
    (directory / f"{user}.users.xml").write_text(f"<clickhouse>{text}</clickhouse>")
    config = f"<clickhouse><users_config>{directory / f'{user}.users.xml'}</users_config></clickhouse>"
    (directory / f"{user}.xml").write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "tests.granted", str(directory), user],
        input=json.dumps(statements),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[int | None] = json.loads(done.stdout.splitlines()[-1])
    return answers


def queries(rights: Sequence[str]) -> str:
    return "".join(f"<query>GRANT {escape(one)}</query>" for one in rights)


def main(directory: Path, user: str) -> None:
    import chdb

    place = f"{directory / 'data'}?config-file={directory / f'{user}.xml'}"
    with closing(chdb.connect(place)) as connection:
        answers: list[int | None] = []
        for statement in json.load(sys.stdin):
            try:
                connection.query(statement)
                answers.append(None)
            except RuntimeError as error:
                code = re.search(r"Code: (\d+)", str(error))
                answers.append(int(code[1]) if code else 0)
                sys.stderr.write(f"{statement}: {error}\n")
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
