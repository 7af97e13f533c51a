/**
 * A raw consumer: a session manager dials it and pushes everything it receives, as to a normalizer or a batch processor.
 * Prints one JSON line per envelope on stdout and one per event on stderr. Line by line: docs/other_languages.md.
 */
import * as http2 from "node:http2";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";

import { connectNodeAdapter } from "@connectrpc/connect-node";

import { Consumer, type Setup } from "./consumer.js";
import { address, listen } from "./listener.js";
import { type Envelope, Instance, Kind, RawService } from "../gen/penstock/raw/v1/raw_pb.js";

const USAGE = `Usage: node dist/src/main.js --provider NAME --instance PRIMARY|REPLICA --listen unix:/path.sock|host:port
                             [--state PREFIX[,PREFIX]]

--state   beginnings of the channels of which a state is kept: after a loss, a new snapshot is asked for`;

/** What a session manager's frames may be at most, as in the services. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** Streams end after their next batch, and there is a heartbeat each second. */
const STOP_MS = 2000;

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text where they are, else in base64: nothing is changed on the way through JSON. */
function body(payload: Uint8Array): { payload: string } | { payload_base64: string } {
  try {
    return { payload: text.decode(payload) };
  } catch {
    return { payload_base64: Buffer.from(payload).toString("base64") };
  }
}

/** 64 bits do not fit a JavaScript number, so they are written as text. */
function json(fields: Record<string, unknown>): string {
  return `${JSON.stringify(fields, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))}\n`;
}

function line(epoch: bigint, envelope: Envelope): string {
  const { sequence, tsRecv, connection, channel, kind, payload } = envelope;
  return json({ epoch, sequence, ts_recv: tsRecv, connection, channel, kind: Kind[kind], ...body(payload) });
}

/** Write a batch's lines; resolves when the operating system has them. */
function write(epoch: bigint, envelopes: readonly Envelope[]): Promise<void> {
  const lines = envelopes.map((envelope) => line(epoch, envelope)).join("");
  return new Promise((resolve, reject) => {
    process.stdout.write(lines, (error) => (error ? reject(error) : resolve()));
  });
}

function log(event: string, fields: Record<string, unknown> = {}): void {
  process.stderr.write(json({ event, ...fields }));
}

function options(): { setup: Setup; listen: string } {
  const { values } = parseArgs({
    options: {
      provider: { type: "string" },
      instance: { type: "string" },
      listen: { type: "string" },
      state: { type: "string", default: "" },
    },
  });
  const instance = { PRIMARY: Instance.PRIMARY, REPLICA: Instance.REPLICA }[values.instance ?? ""];
  if (!values.provider || instance === undefined || !values.listen) {
    throw new Error(`--provider, --instance (PRIMARY or REPLICA) and --listen are needed\n\n${USAGE}`);
  }
  const state = values.state.split(",").filter((beginning) => beginning !== "");
  return { setup: { provider: values.provider, instance, state, write, log }, listen: values.listen };
}

async function main(): Promise<void> {
  const { setup, listen: where } = options();
  const consumer = new Consumer(setup);
  const handler = connectNodeAdapter({
    routes: (router) => router.service(RawService, { push: (batches) => consumer.push(batches) }),
    connect: false,
    grpcWeb: false,
    readMaxBytes: MAX_MESSAGE_BYTES,
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer((request, response) => {
    // gRPC names a Unix socket by its escaped path, of which Connect cannot make the URL it wants; nothing reads it.
    request.headers[":authority"] = "localhost";
    handler(request, response);
  });
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  await listen(server, address(where));
  log("listening", { address: where });

  const stop = async (): Promise<void> => {
    consumer.stopping = true;
    server.close();
    const end = Date.now() + STOP_MS;
    while (consumer.streams > 0 && Date.now() < end) await setTimeout(20);
    for (const session of sessions) session.close();
    await setTimeout(50);
    for (const session of sessions) session.destroy();
    log("stopped");
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that goes away (head, a closed terminal) is the end of the work; a full disk is not.
  if (error.code !== "EPIPE") log("write_failed", { reason: error.message });
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
