import { AlarmEntity, AlarmRuleEntity, AlarmRuleSetEntity, AlarmStateEntity } from './alarms.ts';
import {
  BoardScheduleListEntity,
  FleetBoardEntity,
  FleetEntity,
  ScheduleEntity,
  ScheduleRunEntity,
} from './automation.ts';
import {
  BoardCredentialEntity,
  BoardEntity,
  BoardLabelEntity,
  BoardSessionEntity,
  DeletedBoardEntity,
  EnrolmentCodeEntity,
  StoredContractEntity,
} from './boards.ts';
import { BoardModuleEntity, BoardSourceEntity } from './modules.ts';
import {
  ArtifactEntity,
  BoardQueueEntity,
  OperationEntity,
  OperationEventEntity,
  OperationTargetEntity,
  RolloutEntity,
} from './operations.ts';
import { OutboxDeliveryEntity, ReadingConsumerEntity, ReadingOutboxEntity } from './outbox.ts';
import { ConductorEntity, LeaseEntity, RouterEntity, TaskRunEntity, WampAgentEntity } from './processes.ts';
import { BoardBacklogEntity, BoardSpoolEntity, ReadingGapEntity, StreamEntity } from './readings.ts';
import { AuditEventEntity, EventEntity, IdempotencyKeyEntity } from './records.ts';
import { SinkDeadLetterEntity, SinkEntity } from './sinks.ts';
import {
  ApiKeyEntity,
  MembershipEntity,
  TenantEntity,
  TenantUsageEntity,
  UserEntity,
  UserSessionEntity,
} from './tenants.ts';
import { EventCursorEntity, WebhookDeliveryEntity, WebhookEntity } from './webhooks.ts';

export const entities = [
  TenantEntity,
  UserEntity,
  UserSessionEntity,
  MembershipEntity,
  ApiKeyEntity,
  BoardEntity,
  BoardLabelEntity,
  BoardCredentialEntity,
  EnrolmentCodeEntity,
  BoardSessionEntity,
  DeletedBoardEntity,
  StoredContractEntity,
  BoardModuleEntity,
  BoardSourceEntity,
  RouterEntity,
  WampAgentEntity,
  ConductorEntity,
  LeaseEntity,
  TaskRunEntity,
  StreamEntity,
  BoardSpoolEntity,
  BoardBacklogEntity,
  ReadingGapEntity,
  EventEntity,
  IdempotencyKeyEntity,
  AuditEventEntity,
  OperationEntity,
  OperationTargetEntity,
  BoardQueueEntity,
  OperationEventEntity,
  RolloutEntity,
  ArtifactEntity,
  FleetEntity,
  FleetBoardEntity,
  ScheduleEntity,
  ScheduleRunEntity,
  BoardScheduleListEntity,
  WebhookEntity,
  WebhookDeliveryEntity,
  EventCursorEntity,
  TenantUsageEntity,
  AlarmRuleSetEntity,
  AlarmRuleEntity,
  AlarmStateEntity,
  AlarmEntity,
  ReadingConsumerEntity,
  ReadingOutboxEntity,
  OutboxDeliveryEntity,
  SinkEntity,
  SinkDeadLetterEntity,
];
