"""How far a consumer group is, asked from outside."""

from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import GroupIdNotFoundError, KafkaError

from pipeline.settings import Settings


class Group:
    """The group of a test's workers and what it has committed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def forget(self) -> bool:
        """Has the broker forget what was committed; False while the group has members."""
        try:
            self._admin.delete_groups([self._settings.topic_prefix])
        except GroupIdNotFoundError:
            return True
        except KafkaError:
            self.close()
            return False
        return self.committed() == 0

    def committed(self) -> int:
        """Records before the committed offsets, of all partitions together; 0 while nobody can say."""
        prefix, sources = self._settings.topic_prefix, self._settings.topics.sources
        try:
            found = self._admin.list_group_offsets({prefix: None})[prefix]
        except KafkaError:
            # The broker is away, or nobody has asked for this group yet.
            self.close()
            return 0
        return sum(max(said.offset, 0) for partition, said in found.items() if partition.topic in sources)

    def members(self, of: str = "") -> int:
        """How many the broker counts in the group, or in the one with that suffix; 0 during a rebalance."""
        group = self._settings.topic_prefix + of
        try:
            found = self._admin.describe_groups([group])[group]
        except KafkaError:
            self.close()
            return 0
        return len(found["members"]) if found["group_state"] == "Stable" else 0

    def sent(self) -> int:
        """Records in all source topics."""
        partitions = {
            TopicPartition(topic, number): OffsetSpec.LATEST
            for topic in self._settings.topics.sources
            for number in range(self._settings.partitions)
        }
        return sum(said.offset for said in self._admin.list_partition_offsets(partitions).values())

    @property
    def _admin(self) -> Any:
        self._client = self._client or KafkaAdminClient(bootstrap_servers=self._settings.bootstrap)
        return self._client
