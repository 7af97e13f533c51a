import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { Code, ConnectError } from "@connectrpc/connect";

import { Continuity, type Range } from "./continuity.js";
import {
  type Envelope,
  Instance,
  Kind,
  type PushRequest,
  PushRequestSchema,
  PushResponseSchema,
} from "../gen/penstock/raw/v1/raw_pb.js";

type Response = MessageInitShape<typeof PushResponseSchema>;

/** Acknowledgements are cumulative and rare: one is due after so long, or so many envelopes. */
const ACK_EVERY_MS = 500;
const ACK_EVERY_ENVELOPES = 10_000;

/** What a consumer is for, and where its envelopes and its remarks go. */
export interface Setup {
  readonly provider: string;
  readonly instance: Instance;
  /** Beginnings of the channels of which this consumer keeps a state, so that it needs a snapshot after a loss. */
  readonly state: readonly string[];
  /** Resolves when these envelopes and all before them are done with: they are acknowledged then and not before. */
  readonly write: (epoch: bigint, envelopes: readonly Envelope[]) => Promise<void>;
  readonly log: (event: string, fields: Record<string, unknown>) => void;
}

/** Everything known of one epoch. Streams hold on to theirs, so a late write cannot acknowledge anything of the next. */
class Epoch {
  /** The last sequence that is done with. */
  done = 0n;
  /** Channels to snapshot again. */
  readonly lost = new Set<string>();
  readonly continuity: Continuity;
  /** Whether any channel may be lost: we came late, or something is missing. The next heartbeat says which there are. */
  ignorant = false;

  constructor(
    readonly number: bigint,
    readonly joined: boolean,
  ) {
    this.continuity = new Continuity(joined);
  }
}

/** RawService.Push of one provider and instance. One stream is served at a time: the newest of the highest epoch. */
export class Consumer {
  stopping = false;
  /** Streams being served. */
  streams = 0;
  #epoch = new Epoch(0n, false);
  #owner: symbol | undefined;
  readonly #validator = createValidator();

  constructor(private readonly setup: Setup) {}

  /** One stream. Ends with FAILED_PRECONDITION, ABORTED or INVALID_ARGUMENT where raw.proto says so. */
  async *push(batches: AsyncIterable<PushRequest>): AsyncGenerator<Response> {
    const stream = Symbol();
    let epoch: Epoch | undefined;
    let [ackedAt, unacked] = [0, 0];
    this.streams += 1;
    try {
      for await (const batch of batches) {
        this.#admit(batch);
        if (epoch === undefined) {
          epoch = this.#begin(batch.epoch);
          this.#owner = stream;
          this.setup.log("stream_opened", { epoch: epoch.number, acked: epoch.done });
          yield { ackedSequence: epoch.done };
          ackedAt = Date.now();
        }
        this.#stillServed(stream, epoch, batch);
        await this.#consume(epoch, batch.envelopes);
        unacked += batch.envelopes.length;
        if (epoch.lost.size > 0 || unacked >= ACK_EVERY_ENVELOPES || Date.now() - ackedAt >= ACK_EVERY_MS) {
          [ackedAt, unacked] = [Date.now(), 0];
          yield acknowledgement(epoch);
        }
        if (this.stopping) break;
      }
      if (epoch !== undefined && unacked > 0 && this.#owner === stream) yield acknowledgement(epoch);
    } catch (error) {
      this.setup.log("stream_ended", { reason: error instanceof Error ? error.message : String(error) });
      throw error;
    } finally {
      this.streams -= 1;
    }
  }

  /** Refuse a batch that breaks raw.proto's rules, is another session's, or of an epoch that is over. */
  #admit(batch: PushRequest): void {
    const { provider, instance } = this.setup;
    const checked = this.#validator.validate(PushRequestSchema, batch);
    if (checked.kind !== "valid") throw new ConnectError(String(checked.error), Code.InvalidArgument);
    if (batch.provider !== provider || batch.instance !== instance) {
      const theirs = `${batch.provider} ${Instance[batch.instance]}`;
      throw new ConnectError(`${theirs} sent to ${provider} ${Instance[instance]}`, Code.InvalidArgument);
    }
    if (batch.epoch < this.#epoch.number) {
      const text = `stale epoch: ${batch.epoch} is below ${this.#epoch.number}`;
      throw new ConnectError(text, Code.FailedPrecondition);
    }
    let before = 0n;
    for (const envelope of batch.envelopes) {
      check(envelope, before);
      before = envelope.sequence;
    }
  }

  #begin(number: bigint): Epoch {
    if (number > this.#epoch.number) this.#epoch = new Epoch(number, this.#epoch.number === 0n);
    return this.#epoch;
  }

  /** A stream that stays after a newer one began ends at its next batch; it never changes its epoch. */
  #stillServed(stream: symbol, epoch: Epoch, batch: PushRequest): void {
    if (batch.epoch !== epoch.number) throw new ConnectError("epoch changed within a stream", Code.InvalidArgument);
    if (this.#owner !== stream) throw new ConnectError("superseded by a newer stream", Code.Aborted);
  }

  /** Take what is new of a batch, write it, and only then count it as done. */
  async #consume(epoch: Epoch, envelopes: readonly Envelope[]): Promise<void> {
    const fresh = envelopes.filter((envelope) => this.#isNew(epoch, envelope));
    const reached = epoch.continuity.last;
    // Even where nothing is new: what a superseded stream is still writing is counted in, and ends before this.
    await this.setup.write(epoch.number, fresh);
    if (reached > epoch.done) epoch.done = reached;
  }

  /** Whether an envelope comes for the first time; notes what it says about losses. */
  #isNew(epoch: Epoch, envelope: Envelope): boolean {
    const { sequence, kind, channel } = envelope;
    if (kind === Kind.DROPPED) {
      if (!epoch.continuity.declare(dropped(envelope))) return false;
      if (this.#hasState(channel)) epoch.lost.add(channel);
      return true;
    }
    if (kind === Kind.CONNECTED || kind === Kind.DISCONNECTED) return epoch.continuity.mark(sequence);
    epoch.ignorant ||= epoch.joined && epoch.continuity.last === 0n && sequence > 1n;
    const consumed = epoch.continuity.consume(sequence);
    if (typeof consumed !== "boolean") {
      this.setup.log("gap", { epoch: epoch.number, ...consumed });
      epoch.ignorant = true;
    }
    if (consumed !== false && kind === Kind.HEARTBEAT) this.#alive(epoch, envelope);
    return consumed !== false;
  }

  /** A heartbeat names what is alive: the only list of channels there is for a consumer that came late. */
  #alive(epoch: Epoch, envelope: Envelope): void {
    if (!epoch.ignorant) return;
    for (const channel of alive(envelope)) if (this.#hasState(channel)) epoch.lost.add(channel);
    epoch.ignorant = false;
  }

  #hasState(channel: string): boolean {
    return this.setup.state.some((beginning) => channel.startsWith(beginning));
  }
}

function acknowledgement(epoch: Epoch): Response {
  const resyncChannels = [...epoch.lost];
  epoch.lost.clear();
  return create(PushResponseSchema, { ackedSequence: epoch.done, resyncChannels });
}

/** raw.proto's rules for the envelopes of a batch, which it leaves to the consumer that reads them anyway. All of them
 * are checked before any is taken, so a refused batch has changed nothing. */
function check(envelope: Envelope, before: bigint): void {
  const { sequence, tsRecv, kind, channel } = envelope;
  // An enum of proto3 is open: it may hold a number that this program's raw.proto does not name.
  const known = kind !== Kind.UNSPECIFIED && Kind[kind] !== undefined;
  if (sequence <= before || tsRecv === 0n || !known || channel === "" || [...channel].length > 512) {
    const text = `envelope ${sequence} after ${before}: ts_recv ${tsRecv}, kind ${kind}, channel ${channel.slice(0, 40)}`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  if (kind === Kind.DROPPED) dropped(envelope);
  if (kind === Kind.HEARTBEAT) alive(envelope);
}

/** The payload of a KIND_DROPPED envelope. */
function dropped(envelope: Envelope): Range {
  const { first, last, count } = payload(envelope) as Record<string, unknown>;
  if (![first, last, count].every((value) => Number.isSafeInteger(value))) throw unreadable(envelope);
  return { first: BigInt(first as number), last: BigInt(last as number), count: BigInt(count as number) };
}

/** The payload of a KIND_HEARTBEAT envelope: the channels of all connections that are alive. */
function alive(envelope: Envelope): string[] {
  const { connections } = payload(envelope) as { connections?: unknown };
  const lists = typeof connections === "object" && connections !== null ? Object.values(connections) : [undefined];
  const channels = lists.flat() as unknown[];
  if (!channels.every((channel) => typeof channel === "string")) throw unreadable(envelope);
  return channels;
}

function payload(envelope: Envelope): object {
  try {
    const value: unknown = JSON.parse(Buffer.from(envelope.payload).toString("utf8"));
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // falls through to the same refusal
  }
  throw unreadable(envelope);
}

function unreadable(envelope: Envelope): ConnectError {
  return new ConnectError(`envelope ${envelope.sequence}: payload of ${Kind[envelope.kind]}`, Code.InvalidArgument);
}
