"""What each service may do on Kafka, and no more: the access control lists of a secured cluster.

A service that is broken into can do what stands here under its name. The oracle, which strangers talk to,
writes nothing that is judged or sealed; the gateway cannot read what was judged; nobody but the gateway writes
tenants, pacts and issuers. A test runs the pipeline on a broker that enforces this.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config
from pactstream.kafka import topics as t
from pactstream.settings import KafkaSettings

USER_PREFIX: Final = "pactstream-"

_TIMEOUT_SECONDS: Final = 30.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rights:
    """Topics, groups and transactional ids, without prefix.

    `transactions` are beginnings: a worker's id ends with its instance's name. So are groups that end with an
    asterisk. `describes` are groups that the service looks at without being a member.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    describes: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()


RIGHTS: Final = {
    "gateway": Rights(
        reads=(t.TENANTS, t.PACTS, t.ISSUERS, t.PAGES, t.PAGING_ROUTES, t.PAGING_MARKS),
        writes=(
            t.BATCHES,
            t.TENANTS,
            t.PACTS,
            t.ISSUERS,
            t.PAGING_ROUTES,
            t.PAGING_MARKS,
            t.PAGE_DELIVERIES,
        ),
        describes=("evaluator",),
        transactions=("control-plane", "page-control"),
    ),
    "evaluator": Rights(
        reads=(t.BATCHES, t.PACTS, t.EVALUATOR_STATE, t.HOLDS),
        writes=(t.EVALUATED, t.EVALUATOR_STATE, t.HOLDS, t.BATCHES + ".dlq"),
        groups=("evaluator",),
        transactions=("evaluator-",),
    ),
    "behaviour": Rights(
        reads=(t.EVALUATED, t.BEHAVIOUR_STATE),
        writes=(t.WINDOWS, t.BEHAVIOUR_STATE, t.EVALUATED + ".dlq"),
        groups=("behaviour",),
        transactions=("behaviour-",),
    ),
    "anomaly": Rights(
        reads=(t.WINDOWS, t.ANOMALY_STATE, t.ANOMALIES),
        writes=(t.ANOMALY_STATE, t.ANOMALIES),
        groups=("anomaly", "anomaly-projector"),
    ),
    "sealer": Rights(
        reads=(t.EVALUATED, t.CHECKPOINTS, t.SEALER_STATE, t.PACTS),
        writes=(t.CHECKPOINTS, t.SEALER_STATE, t.EVALUATED + ".dlq"),
        groups=("ledger-sealer", "ledger-projector", "ledger-publisher"),
        transactions=("ledger-sealer-",),
    ),
    "aggregator": Rights(
        reads=(t.EVALUATED, t.SCORES, t.AGGREGATOR_STATE),
        writes=(t.SCORES, t.AGGREGATOR_STATE, t.EVALUATED + ".dlq"),
        groups=("score-aggregator", "score-projector", "score-nightly"),
        transactions=("score-aggregator-",),
    ),
    "oracle": Rights(
        reads=(t.TENANTS, t.SUBSCRIPTIONS),
        writes=(t.SUBSCRIPTIONS, t.SAMPLES),
        transactions=("oracle-subscriptions",),
    ),
    "console": Rights(reads=(t.TENANTS, t.CONSOLE_ENDED), writes=(t.CONSOLE_ENDED,)),
    "push": Rights(
        reads=(t.SCORES, t.TENANTS, t.SUBSCRIPTIONS, t.SAMPLES, t.DELIVERIES, t.WEBHOOK_STATE),
        writes=(t.DELIVERIES, t.DELIVERIES + ".dlq", t.WEBHOOK_STATE, t.SCORES + ".dlq", t.TENANTS + ".dlq"),
        groups=("webhook-scores", "webhook-statuses", "webhook-deliverer", "oracle-samples"),
        transactions=("webhook-scores-", "webhook-statuses-"),
    ),
    "paging": Rights(
        reads=(
            t.EVALUATED,
            t.PACTS,
            t.TENANTS,
            t.PAGES,
            t.PAGE_DELIVERIES,
            t.PAGING_STATE,
            t.PAGING_ROUTES,
            t.PAGING_MARKS,
        ),
        writes=(
            t.BATCHES,
            t.PAGES,
            t.PAGE_DELIVERIES,
            t.PAGE_DELIVERIES + ".dlq",
            t.EVALUATED + ".dlq",
            t.PAGING_STATE,
            t.PAGING_MARKS,
        ),
        groups=("paging", "page-deliverer", "page-projector"),
        transactions=("paging-", "page-notices"),
    ),
    # Its name follows: one group a destination.
    "otlp": Rights(reads=(t.EVALUATED,), groups=("otlp-*",)),
    "external": Rights(
        reads=(t.EVALUATED, t.PACTS, t.ISSUERS),
        writes=(t.BATCHES, t.EVALUATED + ".dlq"),
        groups=("external-evaluators",),
        transactions=("external-evaluators-",),
    ),
}
"""By service. To read or write a topic is also to describe it; to write is also to be idempotent (KIP-679)."""


class Right(NamedTuple):
    """One line of an access control list: this user, from any host, may do `operation` to what is named so."""

    user: str
    operation: AclOperation
    kind: ResourceType
    name: str
    prefixed: bool = False

    def __str__(self) -> str:
        """As a person reads it."""
        star = "*" if self.prefixed else ""
        kind = self.kind.name.lower().replace("_", " ")
        return f"{self.user}  {self.operation.name.lower()}  {kind} {self.name}{star}"

    def binding(self) -> AclBinding:
        """As the client takes it."""
        return AclBinding(self.kind, self.name, self._pattern, *self._rest)

    def filter(self) -> AclBindingFilter:
        """What finds this and nothing else."""
        return AclBindingFilter(self.kind, self.name, self._pattern, *self._rest)

    @property
    def _pattern(self) -> ResourcePatternType:
        return ResourcePatternType.PREFIXED if self.prefixed else ResourcePatternType.LITERAL

    @property
    def _rest(self) -> tuple[str, str, AclOperation, AclPermissionType]:
        return f"User:{self.user}", "*", self.operation, AclPermissionType.ALLOW


def rights_of(user: str, rights: Rights, topic_prefix: str) -> Iterator[Right]:
    """What a user must be granted for `rights`, under a topic prefix."""
    kinds = (
        (AclOperation.READ, ResourceType.TOPIC, rights.reads),
        (AclOperation.WRITE, ResourceType.TOPIC, rights.writes),
        (AclOperation.READ, ResourceType.GROUP, rights.groups),
        (AclOperation.DESCRIBE, ResourceType.GROUP, (*rights.describes, config.READER_GROUP)),
        (AclOperation.WRITE, ResourceType.TRANSACTIONAL_ID, rights.transactions),
    )
    for operation, kind, names in kinds:
        for name in names:
            prefixed = kind is ResourceType.TRANSACTIONAL_ID or name.endswith("*")
            yield Right(user, operation, kind, topic_prefix + name.removesuffix("*"), prefixed)


def apply(settings: KafkaSettings, user_prefix: str = USER_PREFIX) -> list[str]:
    """Grant what is missing and take away what is not in `RIGHTS` any more; returns a line for each change.

    Safe to repeat. Only users of `RIGHTS` are touched, and below the topic prefix: deployments that share a
    cluster have prefixes that do not begin with each other, or other users. What is granted comes before what
    is taken away: a crash in between leaves too much for a while, never too little.

    Raises:
        Fatal: the cluster has no authoriser, or the settings' user may not alter its lists.
        Retryable: the brokers do not answer.
    """
    prefix = settings.kafka_topic_prefix
    admin = AdminClient(config.client(settings))
    users = {user_prefix + service: rights for service, rights in RIGHTS.items()}
    wanted = {right for user, rights in users.items() for right in rights_of(user, rights, prefix)}
    found = {one for one in granted(admin) if one.user in users and one.name.startswith(prefix)}
    missing, stale = sorted(wanted - found, key=str), sorted(found - wanted, key=str)
    if missing:
        made = admin.create_acls([one.binding() for one in missing], request_timeout=_TIMEOUT_SECONDS)
        for done in made.values():
            _result(done)
    if stale:
        gone = admin.delete_acls([one.filter() for one in stale], request_timeout=_TIMEOUT_SECONDS)
        for deleted in gone.values():
            _result(deleted)
    return [f"granted  {one}" for one in missing] + [f"revoked  {one}" for one in stale]


def granted(admin: AdminClient) -> set[Right]:
    """All lines of the cluster that are of this form. Raises as `apply`."""
    # A null stands for any: the client takes it, its annotations do not.
    any_name: Any = None
    everything = AclBindingFilter(
        ResourceType.ANY,
        any_name,
        ResourcePatternType.ANY,
        any_name,
        any_name,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    found = _result(admin.describe_acls(everything, request_timeout=_TIMEOUT_SECONDS))
    rights = {
        Right(
            one.principal.removeprefix("User:"),
            AclOperation(one.operation),
            ResourceType(one.restype),
            one.name,
            one.resource_pattern_type == ResourcePatternType.PREFIXED,
        ): one
        for one in found
    }
    return {right for right, one in rights.items() if right.binding() == one}


def _result(done: Future[T]) -> T:
    try:
        return done.result(_TIMEOUT_SECONDS)
    except KafkaException as error:
        fault = error.args[0]
        if fault.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            # The broker's own words are its whole request.
            raise Fatal("this user may not change access control lists: be the cluster's operator") from error
        kind = Retryable if fault.retriable() else Fatal
        raise kind(f"access control lists cannot be changed: {fault.str()}") from error
    except TimeoutError as error:
        raise Retryable("access control lists cannot be changed: no answer in time") from error
