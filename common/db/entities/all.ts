import {
  BoardCredentialEntity,
  BoardEntity,
  BoardLabelEntity,
  BoardModuleEntity,
  BoardSessionEntity,
  DeletedBoardEntity,
  EnrolmentCodeEntity,
  StoredContractEntity,
} from './boards.ts';
import { ConductorEntity, LeaseEntity, RouterEntity, TaskRunEntity, WampAgentEntity } from './processes.ts';
import { BoardSpoolEntity, ReadingGapEntity, StreamEntity } from './readings.ts';
import { AuditEventEntity, EventEntity, IdempotencyKeyEntity } from './records.ts';
import { ApiKeyEntity, MembershipEntity, TenantEntity, UserEntity, UserSessionEntity } from './tenants.ts';

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
  RouterEntity,
  WampAgentEntity,
  ConductorEntity,
  LeaseEntity,
  TaskRunEntity,
  StreamEntity,
  BoardSpoolEntity,
  ReadingGapEntity,
  EventEntity,
  IdempotencyKeyEntity,
  AuditEventEntity,
];
