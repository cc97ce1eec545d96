"""The schema: one class a table."""

from ccdtasks.db.models.base import Base
from ccdtasks.db.models.discord import (
    DiscordChannel,
    DiscordInteraction,
    DiscordMessage,
    DiscordThread,
    PushoverNotification,
)
from ccdtasks.db.models.interventions import Intervention, SessionMessage
from ccdtasks.db.models.metrics import Cleanup, MetricRollup, RunValue
from ccdtasks.db.models.people import ApiToken, AuditEntry, InstanceFact, UserSettings
from ccdtasks.db.models.runs import Artifact, Profile, RunEvent, Session, TaskRun, VncAccess
from ccdtasks.db.models.tasks import (
    ScheduleHistory,
    Task,
    TaskDependency,
    TaskTemplate,
    TemplateRating,
    TemplateVersion,
)

__all__ = [
    "ApiToken",
    "Artifact",
    "AuditEntry",
    "Base",
    "Cleanup",
    "DiscordChannel",
    "DiscordInteraction",
    "DiscordMessage",
    "DiscordThread",
    "InstanceFact",
    "Intervention",
    "MetricRollup",
    "Profile",
    "PushoverNotification",
    "RunEvent",
    "RunValue",
    "ScheduleHistory",
    "Session",
    "SessionMessage",
    "Task",
    "TaskDependency",
    "TaskRun",
    "TaskTemplate",
    "TemplateRating",
    "TemplateVersion",
    "UserSettings",
    "VncAccess",
]
